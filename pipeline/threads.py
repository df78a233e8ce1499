"""What was said at one place, for a reader who sees nothing but that place. It need not be a conversation yet."""

from __future__ import annotations

from kernel.db import Connection
from kernel.types import Json
from pipeline.turns import Place

_MESSAGE = """seq, message_id, turn_id, role, text, citations, message_files(workspace_id, message_id) AS files,
    coalesce(retrieval -> 'choices', '[]') AS choices, created_at"""
_RATING = """(SELECT f.rating FROM feedback f
    WHERE f.workspace_id = messages.workspace_id AND f.message_id = messages.message_id
        AND f.user_id = messages.user_id) AS rating"""
_AT = """conversation_id = (SELECT c.conversation_id FROM conversations c
    WHERE c.workspace_id = current_workspace() AND c.account_id = $1 AND c.conversation_key = $2)"""


async def conversation_at(conn: Connection, place: Place) -> str | None:
    found: str | None = await conn.fetchval(
        """
        SELECT conversation_id FROM conversations
        WHERE workspace_id = current_workspace() AND account_id = $1 AND conversation_key = $2
        """,
        *place,
    )
    return found


async def latest(conn: Connection, place: Place, *, before: int | None, limit: int) -> tuple[list[Json], bool]:
    """What was said last at a place, or last before a seq, oldest first; and whether more was said before that. With
    the `rating` that the person answered gave to an answer."""
    rows = await conn.fetch(
        f"""
        SELECT {_MESSAGE}, {_RATING} FROM messages
        WHERE workspace_id = current_workspace() AND ($3::bigint IS NULL OR seq < $3) AND {_AT}
        ORDER BY seq DESC LIMIT $4 + 1
        """,  # noqa: S608
        *place,
        before,
        limit,
    )
    return [dict(row) for row in reversed(rows[:limit])], len(rows) > limit


async def since(conn: Connection, place: Place, *, after: int, limit: int) -> tuple[list[Json], bool]:
    """What was said at a place after a seq, oldest first; and whether there is more. A new place has nothing."""
    rows = await conn.fetch(
        f"""
        SELECT {_MESSAGE}, {_RATING} FROM messages
        WHERE workspace_id = current_workspace() AND seq > $3 AND {_AT}
        ORDER BY seq LIMIT $4 + 1
        """,  # noqa: S608
        *place,
        after,
        limit,
    )
    return [dict(row) for row in rows[:limit]], len(rows) > limit


async def answered(conn: Connection, place: Place, message_id: str) -> bool:
    """Whether this is an answer that was given at this place."""
    found: bool = await conn.fetchval(
        f"""
        SELECT EXISTS (SELECT FROM messages
                       WHERE workspace_id = current_workspace() AND message_id = $3 AND role = 'assistant' AND {_AT})
        """,  # noqa: S608
        *place,
        message_id,
    )
    return found
