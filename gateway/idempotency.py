"""Repeats of unsafe calls: the door to `idempotency_keys`, and the rule of what a repeat gets.

While the first try runs a repeat is refused with 409; with another body it is refused with 422; a stored 2xx or 4xx is
given again for a day; after a 5xx, or when the first try died, the call is tried anew under the same origin.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from kernel.db import AWAY, Connection, Database
from kernel.errors import Conflict, InvalidRequest, MalformedRequest
from kernel.ids import new_id
from kernel.secrets import KeyRing, place

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LEASE = 30.0
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_DAY = "24 hours"


@dataclass(frozen=True, slots=True)
class Mark:
    """One keyed call: whose, which route with which path, the caller's key, and a hash of what was asked."""

    workspace_id: str
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Try:
    """The right to run the call now. `origin` stays the same over all tries."""

    mark: Mark
    origin: str
    token: str


@dataclass(frozen=True, slots=True)
class Replay:
    status: int
    body: bytes


def mark_of(workspace_id: str, route: str, key: str, body: bytes) -> Mark:
    """Raises MalformedRequest for a key that is too long or not printable."""
    if not _KEY.fullmatch(key):
        raise MalformedRequest(f"{HEADER} is 1 to 200 printable ASCII characters without blanks")
    return Mark(workspace_id, route, key, hashlib.blake2b(body, digest_size=32).digest())


async def reserve(conn: Connection, ring: KeyRing, mark: Mark) -> Try | Replay:
    """Takes the right to run, or finds what a former try came to. Raises Conflict and InvalidRequest."""
    token = new_id("tok")
    origin = await conn.fetchval(
        f"""
        INSERT INTO idempotency_keys AS i (workspace_id, route, key, fingerprint, origin, token, lease_until)
        VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
        ON CONFLICT (workspace_id, route, key) DO UPDATE SET
            token = excluded.token, lease_until = excluded.lease_until, fingerprint = excluded.fingerprint,
            status = NULL, sealed = NULL,
            origin = CASE WHEN i.created_at < now() - interval '{_DAY}' THEN excluded.origin ELSE i.origin END,
            created_at = CASE WHEN i.created_at < now() - interval '{_DAY}' THEN now() ELSE i.created_at END
        WHERE i.created_at < now() - interval '{_DAY}'
            OR (i.status IS NULL AND i.lease_until < now() AND i.fingerprint = excluded.fingerprint)
        RETURNING origin
        """,  # noqa: S608
        mark.workspace_id,
        mark.route,
        mark.key,
        mark.fingerprint,
        new_id("call"),
        token,
        LEASE,
    )
    if origin:
        return Try(mark, origin, token)
    return await _former(conn, ring, mark)


async def _former(conn: Connection, ring: KeyRing, mark: Mark) -> Replay:
    row = await conn.fetchrow(
        "SELECT fingerprint, status, sealed FROM idempotency_keys WHERE workspace_id = $1 AND route = $2 AND key = $3",
        mark.workspace_id,
        mark.route,
        mark.key,
    )
    if row is not None and row["fingerprint"] != mark.fingerprint:
        message = "this key was used before with another request"
        raise InvalidRequest(message, code="idempotency_mismatch", details=[{"field": HEADER, "message": message}])
    if row is None or row["status"] is None:
        raise Conflict("the first request with this key still runs", code="idempotency_running", retry_after=1.0)
    return Replay(row["status"], ring.open(row["sealed"], _where(mark)))


async def settle(conn: Connection, ring: KeyRing, held: Try, status: int, body: bytes) -> None:
    """Keeps the answer for repeats; after a 5xx or a 429 the call is free to be tried again."""
    final = status < 500 and status != 429
    await conn.execute(
        """
        UPDATE idempotency_keys SET status = $5, sealed = $6, lease_until = now()
        WHERE workspace_id = $1 AND route = $2 AND key = $3 AND token = $4
        """,
        held.mark.workspace_id,
        held.mark.route,
        held.mark.key,
        held.token,
        status if final else None,
        ring.seal(body, _where(held.mark)) if final else None,
    )


async def forget_old(conn: Connection, most: int = 5_000) -> int:
    """Removes what is older than a day. Returns how many rows went."""
    gone: int = await conn.fetchval(f"SELECT forget_idempotency_keys(interval '{_DAY}', $1)", most)
    return gone


def _where(mark: Mark) -> bytes:
    return place(mark.workspace_id, "idempotency_keys", "sealed", f"{mark.route}|{mark.key}")


@asynccontextmanager
async def holding(database: Database, held: Try) -> AsyncIterator[None]:
    """Keeps the lease while the call runs, however long it waits; a process that dies lets go within the lease."""
    task = asyncio.create_task(_renew(database, held))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew(database: Database, held: Try) -> None:
    while True:
        await asyncio.sleep(LEASE / 3)
        with suppress(*AWAY):
            async with database.workspace(held.mark.workspace_id) as conn:
                await conn.execute(
                    """
                    UPDATE idempotency_keys SET lease_until = now() + make_interval(secs => $5)
                    WHERE workspace_id = $1 AND route = $2 AND key = $3 AND token = $4 AND status IS NULL
                    """,
                    held.mark.workspace_id,
                    held.mark.route,
                    held.mark.key,
                    held.token,
                    LEASE,
                )
