"""The door to collections: a workspace's named indexes, each with the model that its vectors come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.ids import new_id
from kernel.types import Json

DEFAULT = "default"
Visibility = Literal["public", "private"]

_SEES = "collection_id, name, model, chunk_count AS chunks, visibility, created_at"


@dataclass(frozen=True, slots=True)
class Collection:
    collection_id: str
    name: str
    model: str
    dimension: int


async def ensure(conn: Connection, workspace_id: str, name: str, model: str, dimension: int) -> Collection:
    """The collection of this name, made when missing. Raises Conflict when its vectors come from another model."""
    await conn.execute(
        "INSERT INTO collections (workspace_id, collection_id, name, model, dimension) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (workspace_id, name) DO NOTHING",
        workspace_id,
        new_id("col"),
        name,
        model,
        dimension,
    )
    row = await conn.fetchrow("SELECT collection_id, name, model, dimension FROM collections WHERE name = $1", name)
    assert row is not None
    found = Collection(**dict(row))
    if found.model != model:
        raise Conflict(f"collection {name!r} holds vectors of {found.model}, this gateway embeds with {model}")
    return found


async def create(
    conn: Connection, workspace_id: str, name: str, model: str, dimension: int, visibility: Visibility
) -> Json:
    """An empty collection. Raises Conflict when there is one of this name."""
    row = await conn.fetchrow(
        f"""
        INSERT INTO collections (workspace_id, collection_id, name, model, dimension, visibility)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, name) DO NOTHING RETURNING {_SEES}
        """,  # noqa: S608
        workspace_id,
        new_id("col"),
        name,
        model,
        dimension,
        visibility,
    )
    if row is None:
        raise Conflict(f"there is a collection {name!r} already")
    return dict(row)


async def list_all(conn: Connection, *, cursor: str, limit: int) -> tuple[list[Json], str | None]:
    """The workspace's collections, oldest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"SELECT {_SEES} FROM collections WHERE collection_id > $1 ORDER BY collection_id LIMIT $2 + 1",  # noqa: S608
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["collection_id"] if len(rows) > limit else None


async def show_to(conn: Connection, collection_id: str, visibility: Visibility) -> Json:
    """Says who may see a collection: any place, or one-to-one chats and API callers only. Raises NotFound.

    Whoever asks from now on is answered accordingly; what was said before stays said.
    """
    row = await conn.fetchrow(
        f"UPDATE collections SET visibility = $2 WHERE collection_id = $1 RETURNING {_SEES}",  # noqa: S608
        collection_id,
        visibility,
    )
    if row is None:
        raise NotFound("there is no such collection")
    return dict(row)


async def searchable(conn: Connection, model: str, name: str | None) -> list[str]:
    """Ids of the collections that can be searched with this model: all, or the named one. Raises NotFound."""
    rows = await conn.fetch(
        "SELECT collection_id FROM collections WHERE model = $1 AND ($2::text IS NULL OR name = $2)", model, name
    )
    if name is not None and not rows:
        raise NotFound(f"no collection {name!r}")
    return [row["collection_id"] for row in rows]
