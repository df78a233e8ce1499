"""What people do about themselves from a chat: link, unlink, ask to be let in. Codes are kept as hashes only."""

from __future__ import annotations

import asyncio
from datetime import datetime

from identity import codes, linking, pairings
from identity.linking import Linked, Offered
from kernel.db import Database
from kernel.errors import Conflict, RateLimited
from kernel.ratelimit import Rate, RateLimiter
from kernel.secrets import KeyRing
from kernel.types import Json, Sender

ISSUED = Rate(5, 600, 5)  # codes of one person
TRIED = Rate(5, 600, 5)  # codes that one identity enters
TRIED_TOGETHER = Rate(100, 600, 100)  # codes that a workspace's people enter

_IN_FLIGHT = 2.0  # seconds that a turn may take to open; a longer transaction is not one


class People:
    """Takes part in turns by the names of `pipeline.people.People`. Who acts is named by account and external id."""

    def __init__(self, database: Database, ring: KeyRing, limiter: RateLimiter) -> None:
        self._database = database
        self._pepper = codes.pepper(ring)
        self._limiter = limiter

    def _hash(self, workspace_id: str, code: str) -> bytes:
        return codes.digest(self._pepper, workspace_id, code)

    async def issue(self, workspace_id: str, account_id: str, external_id: str) -> str | None:
        """A new code for this person; None when they have made too many."""
        async with self._database.workspace(workspace_id) as conn:
            who = await linking.known(conn, account_id, external_id)
        try:
            return (await self.issue_for(workspace_id, who.user_id))[0]
        except RateLimited:
            return None

    async def issue_for(self, workspace_id: str, user_id: str) -> tuple[str, datetime]:
        """A new code and when it expires. Raises NotFound and RateLimited."""
        wait = await self._limiter.take("link-issue", f"{workspace_id}:{user_id}", ISSUED)
        if wait:
            raise RateLimited("too many codes for this person", retry_after=wait)
        code = codes.mint()
        async with self._database.workspace(workspace_id) as conn:
            await linking.lock(conn)
            issued = await linking.issue(conn, user_id, self._hash(workspace_id, code))
        return code, issued["expires_at"]

    async def redeem(self, workspace_id: str, account_id: str, external_id: str, typed: str) -> Json:
        """What a typed code offers. Too many tries are answered like wrong ones."""
        code = codes.read(typed)
        tries = (
            await self._limiter.take("link-try", f"{workspace_id}:{account_id}:{external_id}", TRIED),
            await self._limiter.take("link-try-all", workspace_id, TRIED_TOGETHER),
        )
        if code is None or any(tries):
            return _told("invalid")
        async with self._database.workspace(workspace_id) as conn:
            await linking.lock(conn)
            who = await linking.known(conn, account_id, external_id)
            return _told(await linking.redeem(conn, who, self._hash(workspace_id, code)))

    async def revoke(self, workspace_id: str, typed: str) -> None:
        """Puts a code out of force that was shown where others read."""
        code = codes.read(typed)
        if code:
            async with self._database.workspace(workspace_id) as conn:
                await linking.lock(conn)
                await linking.revoke(conn, self._hash(workspace_id, code))

    async def confirm(self, workspace_id: str, account_id: str, external_id: str, origin: str) -> Json:
        """Agrees to what was offered, in the turn `origin`."""
        async with self._database.workspace(workspace_id) as conn:
            await linking.lock(conn)
            who = await linking.known(conn, account_id, external_id)
            outcome = await linking.confirm(conn, who, origin)
        if isinstance(outcome, Linked):
            await self._gather(workspace_id, outcome)
        return _told(outcome)

    async def _gather(self, workspace_id: str, linked: Linked) -> None:
        """Turns that were being opened meanwhile still name the person that is gone. Waits until they are committed."""
        async with self._database.workspace(workspace_id) as conn:
            mark = await conn.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        deadline = asyncio.get_running_loop().time() + _IN_FLIGHT
        while True:
            async with self._database.workspace(workspace_id) as conn:
                oldest = await conn.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
                if oldest >= mark or asyncio.get_running_loop().time() > deadline:
                    await linking.stragglers(conn, linked)
                    return
            await asyncio.sleep(0.02)

    async def cancel(self, workspace_id: str, account_id: str, external_id: str) -> bool:
        async with self._database.workspace(workspace_id) as conn:
            await linking.lock(conn)
            return await linking.cancel(conn, await linking.known(conn, account_id, external_id))

    async def unlink(self, workspace_id: str, account_id: str, external_id: str) -> bool:
        """Whether there was anything to take apart."""
        async with self._database.workspace(workspace_id) as conn:
            await linking.lock(conn)
            who = await linking.known(conn, account_id, external_id)
            try:
                await linking.unlink(conn, who.identity_id)
            except Conflict:
                return False
        return True

    async def ask_in(self, workspace_id: str, account_id: str, sender: Sender, conversation_id: str) -> str | None:
        """The code with which an operator lets this stranger in; None when too many have asked."""
        async with self._database.workspace(workspace_id) as conn:
            return await pairings.ask(conn, account_id, sender, conversation_id)


def _told(outcome: Linked | Offered | str) -> Json:
    if isinstance(outcome, Offered):
        return {"outcome": "offered", **outcome._asdict()}
    return {"outcome": "linked" if isinstance(outcome, Linked) else outcome}
