"""The door to `hook_calls`: each call that was taken, by which a repeat is known.

A call is claimed first, in the transaction that also owes its message. Whoever repeats it at the same moment waits for
that transaction at the unique index, and then finds what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.ids import new_id
from kernel.types import Json

KEPT_DAYS = 30
FORGOTTEN_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a call: outcome is "accepted" or "ignored", the latter without a message."""

    call_id: str
    outcome: str
    message_id: str
    conversation_id: str


async def claim(
    conn: Connection, workspace_id: str, hook_id: str, external_id: str, seconds: int | None
) -> str | Taken:
    """The id of a call that is new, or what came of it when it came before.

    `seconds`: how long a call is the same under one external id, None for as long as it is kept. A call that was
    ignored is judged again, since nothing was said and its template may have changed.
    """
    call_id = new_id("call")
    claimed: str | None = await conn.fetchval(
        """
        INSERT INTO hook_calls AS c (workspace_id, hook_id, external_id, call_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (workspace_id, hook_id, external_id) DO UPDATE SET call_id = excluded.call_id, outcome = '',
            message_id = '', conversation_id = '', created_at = now()
        WHERE c.outcome = 'ignored' OR c.created_at < now() - make_interval(secs => $5)
        RETURNING c.call_id
        """,
        workspace_id,
        hook_id,
        external_id,
        call_id,
        seconds,
    )
    if claimed is not None:
        return claimed
    row = await conn.fetchrow(
        """
        SELECT call_id, outcome, message_id, conversation_id FROM hook_calls
        WHERE workspace_id = $1 AND hook_id = $2 AND external_id = $3
        """,
        workspace_id,
        hook_id,
        external_id,
    )
    if row is None:  # the hook, or what was kept of the call, was removed at this very moment
        raise NotFound("there is no such hook")
    return Taken(**row)


async def settle(conn: Connection, workspace_id: str, hook_id: str, external_id: str, taken: Taken) -> None:
    """To be called in the transaction that claimed it."""
    await conn.execute(
        """
        UPDATE hook_calls SET outcome = $4, message_id = $5, conversation_id = $6
        WHERE workspace_id = $1 AND hook_id = $2 AND external_id = $3
        """,
        workspace_id,
        hook_id,
        external_id,
        taken.outcome,
        taken.message_id,
        taken.conversation_id,
    )


async def list_calls(
    conn: Connection, workspace_id: str, hook_id: str, *, cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """A hook's calls, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        """
        SELECT call_id, external_id, outcome, message_id, conversation_id, created_at FROM hook_calls
        WHERE workspace_id = $1 AND hook_id = $2 AND ($3 = '' OR call_id < $3) ORDER BY call_id DESC LIMIT $4 + 1
        """,
        workspace_id,
        hook_id,
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["call_id"] if len(rows) > limit else None


async def forget_old(conn: Connection, most: int = FORGOTTEN_AT_ONCE) -> int:
    """Removes calls of more than KEPT_DAYS days ago, in whatever workspace. Returns how many went."""
    gone: int = await conn.fetchval(f"SELECT forget_hook_calls(interval '{KEPT_DAYS} days', $1)", most)
    return gone
