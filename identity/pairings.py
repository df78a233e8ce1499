"""The door to pairings: the people whom an operator has let in to a bot, and those who have asked."""

from __future__ import annotations

from identity import codes
from kernel.db import Connection
from kernel.errors import NotFound
from kernel.ids import new_id
from kernel.types import Json, Sender

MINUTES = 60  # that a code is good for; a stranger who writes again meanwhile is told the same one
_MOST_WAITING = 200  # strangers of one bot who are given a code at the same time

_SEES = """
    pairing_id, account_id, external_id, name, username, CASE WHEN paired_at IS NULL THEN 'waiting' ELSE 'paired' END
    AS status, created_at, expires_at, paired_at
"""


async def is_paired(conn: Connection, account_id: str, external_id: str) -> bool:
    """Whether an operator has let this person in. Needs no workspace: it is asked on the way in."""
    paired: bool = await conn.fetchval("SELECT is_paired($1, $2)", account_id, external_id)
    return paired


async def ask(conn: Connection, account_id: str, sender: Sender, conversation_id: str) -> str | None:
    """The code with which an operator can let this stranger in: the same for an hour, then a new one.

    None when too many wait for this bot already. In a transaction of the workspace.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"pairing:{account_id}")
    known: str | None = await conn.fetchval(
        "SELECT code FROM pairings WHERE account_id = $1 AND external_id = $2 AND expires_at > now()",
        account_id,
        sender.external_id,
    )
    if known:
        return known
    await conn.execute(
        "DELETE FROM pairings WHERE account_id = $1 AND paired_at IS NULL AND expires_at <= now()", account_id
    )
    waiting = await conn.fetchval(
        "SELECT count(*) FROM pairings WHERE account_id = $1 AND paired_at IS NULL", account_id
    )
    if waiting >= _MOST_WAITING:
        return None
    code = codes.mint()
    await conn.execute(
        """
        INSERT INTO pairings
            (workspace_id, pairing_id, account_id, external_id, conversation_id, name, username, code, expires_at)
        VALUES (current_workspace(), $1, $2, $3, $4, $5, $6, $7, now() + make_interval(mins => $8))
        ON CONFLICT (workspace_id, account_id, external_id) DO NOTHING
        """,
        new_id("pair"),
        account_id,
        sender.external_id,
        conversation_id,
        sender.name,
        sender.username,
        code,
        MINUTES,
    )
    return code


async def pair(conn: Connection, account_id: str, typed: str) -> Json:
    """Lets in whoever was given this code. Returns the pairing with the conversation to tell them in, and its address.

    Raises NotFound for a code that is wrong, used or too old.
    """
    row = await conn.fetchrow(
        f"""
        UPDATE pairings SET paired_at = now()
        WHERE account_id = $1 AND code = $2 AND paired_at IS NULL AND expires_at > now()
        RETURNING {_SEES}, conversation_id
        """,  # noqa: S608
        account_id,
        codes.read(typed) or "",
    )
    if row is None:
        raise NotFound("nobody waits with this code: it is wrong, used, or older than an hour")
    address = await conn.fetchval(
        "SELECT address FROM conversations WHERE conversation_id = $1", row["conversation_id"]
    )
    return {**row, "address": address}


async def listed(conn: Connection, account_id: str, *, cursor: str, limit: int) -> tuple[list[Json], str | None]:
    """Who is paired with a bot and who waits to be, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SEES} FROM pairings
        WHERE account_id = $1 AND ($2 = '' OR pairing_id < $2) AND (paired_at IS NOT NULL OR expires_at > now())
        ORDER BY pairing_id DESC LIMIT $3 + 1
        """,  # noqa: S608
        account_id,
        cursor,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, found[-1]["pairing_id"] if len(rows) > limit else None


async def remove(conn: Connection, account_id: str, pairing_id: str) -> None:
    """Puts somebody out again, or forgets that they asked. Raises NotFound."""
    gone = await conn.fetchval(
        "DELETE FROM pairings WHERE account_id = $1 AND pairing_id = $2 RETURNING pairing_id", account_id, pairing_id
    )
    if gone is None:
        raise NotFound("there is no such pairing")
