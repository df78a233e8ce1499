"""Who calls: keys from `X-API-Key` or `Authorization: Bearer`, remembered for a second, so a revocation is in force
everywhere within two. A session of the portal is shown the same way, and stands and falls with the key that invited."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.portal import rights, tokens
from identity import keys
from identity.keys import Known
from kernel import log
from kernel.db import AWAY, Database
from kernel.errors import Forbidden, RateLimited, Unauthorized
from kernel.ratelimit import Rate, RateLimiter
from kernel.secrets import KeyRing

_log = log.get("auth")

_FRESH = 1.0
_MOST = 10_000
_NOTE_EVERY = 60.0
_FAILURES = Rate(count=60, seconds=60, burst=30)  # refused attempts per peer; good keys are never limited here


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever showed a key, and what the key allows. `portal`: a session, good for the portal's routes alone."""

    workspace_id: str
    key_id: str
    public_id: str
    scopes: frozenset[str]
    portal: bool = False


class Auth:
    """Judges keys for one process."""

    def __init__(self, database: Database, ring: KeyRing, limiter: RateLimiter) -> None:
        self._database = database
        self._ring = ring
        self._pepper = keys.pepper(ring)
        self._limiter = limiter
        self._known: dict[str, tuple[float, Known | None]] = {}
        self._lookups: dict[str, asyncio.Task[Known | None]] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def caller(self, headers: Mapping[str, str], peer: str, scope: str, route: str) -> Caller:
        """The caller, who has `scope` and may use the route of this name.

        Raises Unauthorized, Forbidden, and RateLimited after many bad attempts.
        """
        presented = _presented(headers)
        caller = await self._judge(presented) if presented else None
        if caller is None:
            wait = await self._limiter.take("auth", peer, _FAILURES)
            if wait > 0:
                raise RateLimited("too many attempts without a valid key", retry_after=wait)
            raise Unauthorized("a valid API key is needed in X-API-Key or Authorization: Bearer")
        if caller.portal and route not in rights.ROUTES:
            raise Forbidden("a session of the portal is for its own routes only")
        if scope not in caller.scopes:
            raise Forbidden(f"this key does not have the scope {scope!r}")
        return caller

    async def _judge(self, presented: str) -> Caller | None:
        if tokens.is_session(presented):
            return await self._judge_session(presented)
        public_id = keys.public_id_of(presented)
        known = await self.find(public_id) if public_id else None
        if public_id is None or known is None:
            return None
        proven = hmac.compare_digest(keys.digest(self._pepper, presented), known.secret_hash)
        if not proven or not known.in_force(datetime.now(UTC)):
            return None
        self._note(known)
        return Caller(known.workspace_id, known.key_id, public_id, known.scopes)

    async def _judge_session(self, presented: str) -> Caller | None:
        session = tokens.read_session(self._ring, presented, time.time())
        known = await self.find(session.public_id) if session else None
        if session is None or known is None or known.workspace_id != session.workspace_id:
            return None
        if not known.in_force(datetime.now(UTC)):
            return None
        return Caller(known.workspace_id, known.key_id, session.public_id, session.scopes(known.scopes), portal=True)

    async def find(self, public_id: str) -> Known | None:
        """The key as it stood at most a second ago. Concurrent look-ups of one key share a query."""
        held = self._known.get(public_id)
        if held and held[0] > time.monotonic():
            return held[1]
        lookup = self._lookups.get(public_id)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(public_id))
            self._lookups[public_id] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(public_id, None))
        return await asyncio.shield(lookup)

    async def in_force(self, caller: Caller) -> bool:
        """Whether a caller who was let in earlier would be let in now."""
        known = await self.find(caller.public_id)
        return known is not None and known.in_force(datetime.now(UTC))

    async def _look_up(self, public_id: str) -> Known | None:
        asked = time.monotonic()
        async with self._database.anywhere() as conn:
            known = await keys.find(conn, public_id)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[public_id] = (asked + _FRESH, known)
        return known

    def forget(self, public_id: str) -> None:
        self._known.pop(public_id, None)

    def _note(self, known: Known) -> None:
        """Writes the use down in the background. Nobody is owed it, so a failure is only logged."""
        now = time.monotonic()
        if now - self._noted.get(known.key_id, -_NOTE_EVERY) < _NOTE_EVERY:
            return
        if len(self._noted) >= _MOST:
            self._noted.clear()
        self._noted[known.key_id] = now
        task = asyncio.create_task(self._write_note(known))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_note(self, known: Known) -> None:
        try:
            async with self._database.workspace(known.workspace_id) as conn:
                await keys.note_use(conn, known.key_id)
        except AWAY as error:
            _log.warning("auth.note_failed", key=known.key_id, error=str(error))

    async def close(self) -> None:
        while self._notes:
            await asyncio.gather(*self._notes, return_exceptions=True)


def _presented(headers: Mapping[str, str]) -> str:
    given = headers.get("X-API-Key", "")
    if given:
        return given
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
