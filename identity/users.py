"""The door to people and to their identities on channels, for reading."""

from __future__ import annotations

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.types import Json

_SEES = """
    user_id, display_name, language, created_at,
    (SELECT l.into_user FROM identity_links l
     WHERE l.from_user = users.user_id AND l.unlinked_at IS NULL
        AND NOT EXISTS (SELECT FROM identities i WHERE i.user_id = users.user_id)
     ORDER BY l.link_id DESC LIMIT 1) AS joined_to
    """


async def list_users(conn: Connection, *, cursor: str = "", limit: int = 50) -> tuple[list[Json], str | None]:
    """The workspace's people, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"SELECT {_SEES} FROM users WHERE $1 = '' OR user_id < $1 ORDER BY user_id DESC LIMIT $2 + 1",  # noqa: S608
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["user_id"] if len(rows) > limit else None


async def get(conn: Connection, user_id: str) -> Json:
    """Raises NotFound."""
    row = await conn.fetchrow(f"SELECT {_SEES} FROM users WHERE user_id = $1", user_id)  # noqa: S608
    if row is None:
        raise NotFound("there is no such user")
    return dict(row)


async def identities(conn: Connection, user_id: str) -> list[Json]:
    """Where this person is known, oldest first. Raises NotFound."""
    await get(conn, user_id)
    rows = await conn.fetch(
        """
        SELECT i.identity_id, i.account_id, a.kind AS channel, i.external_id, i.username, i.created_at
        FROM identities i JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE i.user_id = $1 ORDER BY i.identity_id LIMIT 200
        """,
        user_id,
    )
    return [dict(row) for row in rows]
