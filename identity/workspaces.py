"""The door to workspaces: the one a key belongs to, and those of its organization."""

from __future__ import annotations

from kernel.db import Connection
from kernel.types import Json

_SEES = "workspace_id, slug, name, settings, created_at"


async def get(conn: Connection) -> Json:
    """The workspace of this transaction."""
    row = await conn.fetchrow(f"SELECT {_SEES} FROM workspaces")  # noqa: S608
    assert row is not None
    return dict(row)


async def change(conn: Connection, *, name: str | None) -> Json:
    """Renames the workspace of this transaction."""
    await conn.execute("UPDATE workspaces SET name = coalesce($1, name)", name)
    return await get(conn)


async def siblings(conn: Connection, workspace_id: str, *, cursor: str, limit: int) -> tuple[list[Json], str | None]:
    """Every workspace of the same organization, oldest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"SELECT {_SEES} FROM organization_workspaces($1) WHERE workspace_id > $2 "  # noqa: S608
        "ORDER BY workspace_id LIMIT $3 + 1",
        workspace_id,
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["workspace_id"] if len(rows) > limit else None


async def sibling(conn: Connection, workspace_id: str, named: str) -> str | None:
    """The id of the workspace that `named` (an id or a slug) means in the same organization."""
    found: str | None = await conn.fetchval(
        "SELECT workspace_id FROM organization_workspaces($1) WHERE workspace_id = $2 OR slug = $2", workspace_id, named
    )
    return found


async def add_sibling(conn: Connection, workspace_id: str, slug: str, name: str) -> tuple[str | None, bool]:
    """Makes a workspace in the same organization. Returns its id and whether it is new.

    The id is None when another organization has the slug.
    """
    row = await conn.fetchrow(
        "SELECT made.* FROM organization_of($1) AS org, create_workspace(org, $2, $3) AS made", workspace_id, slug, name
    )
    assert row is not None
    return row["workspace_id"], row["created"]
