"""The door to collections: a workspace's named indexes, each with the model that its vectors come from."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.ids import new_id

DEFAULT = "default"


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


async def searchable(conn: Connection, model: str, name: str | None) -> list[str]:
    """Ids of the collections that can be searched with this model: all, or the named one. Raises NotFound."""
    rows = await conn.fetch(
        "SELECT collection_id FROM collections WHERE model = $1 AND ($2::text IS NULL OR name = $2)", model, name
    )
    if name is not None and not rows:
        raise NotFound(f"no collection {name!r}")
    return [row["collection_id"] for row in rows]
