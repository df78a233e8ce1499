"""The first rows of an installation."""

from __future__ import annotations

from kernel.db import Connection


async def found(conn: Connection, organization: str, workspace: str, name: str) -> tuple[str | None, bool]:
    """The workspace with this slug in this organization, both made when missing. Returns its id and whether it is new.

    The id is None when another organization has the slug.
    """
    row = await conn.fetchrow("SELECT * FROM create_workspace($1, $2, $3)", organization, workspace, name)
    assert row is not None
    return row["workspace_id"], row["created"]
