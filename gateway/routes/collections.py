"""Collections: a workspace's named indexes, and which places may see them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from gateway.web import Call, Listed, Paging, Route, Shape, View, page
from kernel.errors import Conflict, NotFound, Unavailable
from kernel.types import Json
from pipeline.embedding.minilm import ModelError
from pipeline.knowledge import collections

Visibility = Literal["public", "private"]
_SEEN = "private: never used in groups and channels, only in one-to-one chats and for API callers"


class Collection(View):
    collection_id: str
    name: str
    model: str = Field(description="What its vectors come from")
    chunks: int
    visibility: Visibility = Field(description=_SEEN)
    created_at: datetime


class NewCollection(Shape):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$")
    visibility: Visibility = Field("public", description=_SEEN)


class CollectionChange(Shape):
    visibility: Visibility = Field(examples=["private"], description=_SEEN)


async def make(call: Call) -> Json:
    """Not needed before ingestion, which makes what is missing: but so a collection is private before anything is in
    it."""
    asked: NewCollection = call.body
    ground = call.services.ground
    try:
        embedder = await ground.embedder.warm()
    except ModelError as error:
        raise Unavailable(f"the embedding model cannot be loaded: {error}") from error
    async with call.database() as conn:
        return await collections.create(
            conn, call.workspace_id, asked.name, ground.embedder.model, embedder.dimension, asked.visibility
        )


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await collections.list_all(conn, cursor=asked.cursor, limit=asked.limit))


async def change(call: Call) -> Json:
    asked: CollectionChange = call.body
    async with call.database() as conn:
        return await collections.show_to(conn, call.path["collection_id"], asked.visibility)


_BASE = "/api/v1/collections"

ROUTES = [
    Route(
        "POST",
        _BASE,
        make,
        "write",
        "Make an empty collection",
        "knowledge",
        request=NewCollection,
        response=Collection,
        status=201,
        errors=(Conflict, Unavailable),
    ),
    Route("GET", _BASE, listed, "read", "List collections", "knowledge", query=Paging, response=Listed[Collection]),
    Route(
        "PATCH",
        _BASE + "/{collection_id}",
        change,
        "write",
        "Say which places may see a collection",
        "knowledge",
        request=CollectionChange,
        response=Collection,
        errors=(NotFound,),
    ),
]
