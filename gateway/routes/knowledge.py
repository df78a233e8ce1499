"""What the workspace knows: its sources, and search in them without an answer."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from gateway.routes.ingest import NAME
from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel.errors import NotFound, Unavailable
from kernel.types import Json
from pipeline.embedding.minilm import ModelError


class Source(View):
    source_id: str
    kind: str
    uri: str
    collection: str
    title: str | None
    documents: int
    created_at: datetime
    updated_at: datetime | None


class Document(View):
    document_id: str
    external_id: str
    title: str
    metadata: dict[str, Any]
    chunks: int
    updated_at: datetime


class SourceWhole(View):
    source_id: str
    kind: str
    uri: str
    collection: str
    created_at: datetime
    documents: list[Document]


class Said(Shape):
    role: Literal["user", "assistant"]
    text: str = Field(max_length=32_000)


class Search(Shape):
    query: str = Field(min_length=1, max_length=8_000, examples=["When do you open?"])
    k: int | None = Field(None, ge=1, le=100)
    history: list[Said] = Field([], max_length=100, description="What was said before, oldest first")
    collection: str | None = Field(None, pattern=NAME)
    filter: dict[str, Any] | None = Field(None, description="Only documents whose metadata contain this")
    explain: bool = Field(False, description="Show the parts that the score is made of")
    group: bool = Field(True, description="One hit a document")


class Hit(View):
    model_config = ConfigDict(extra="allow")

    chunk_id: str
    document_id: str
    external_id: str
    title: str
    text: str
    score: float = Field(description="0 to 1")
    metadata: dict[str, Any]


class Hits(View):
    hits: list[Hit] = Field(description="Best first")
    took_ms: float


async def list_sources(call: Call) -> Json:
    from pipeline.knowledge import documents  # brings the text splitter along: not for every start

    asked: Paging = call.query
    async with call.database() as conn:
        rows = await documents.list_sources(conn, asked.limit + 1, asked.cursor or None)
    return page((rows[: asked.limit], rows[asked.limit - 1]["source_id"] if len(rows) > asked.limit else None))


async def source(call: Call) -> Json:
    from pipeline.knowledge import documents  # brings the text splitter along: not for every start

    async with call.database() as conn:
        return await documents.get_source(conn, call.path["source_id"])


async def delete_source(call: Call) -> Answer:
    from pipeline.knowledge import documents  # brings the text splitter along: not for every start

    async with call.database() as conn:
        await documents.delete_source(conn, call.workspace_id, call.path["source_id"])
    return Answer(None)


async def search(call: Call) -> Json:
    asked: Search = call.body
    started = time.perf_counter()
    try:
        found = await call.services.ground.retriever.search(
            call.workspace_id,
            asked.query,
            [said.model_dump() for said in asked.history],
            asked.k or call.services.ground.settings.rag_top_k,
            collection=asked.collection,
            filter=asked.filter,
            by_document=asked.group,
        )
    except ModelError as error:
        raise Unavailable(f"the embedding model cannot be loaded: {error}") from error
    hits = found if asked.explain else [{name: hit[name] for name in _SHOWN} for hit in found]
    return {"hits": hits, "took_ms": round((time.perf_counter() - started) * 1000, 1)}


_SHOWN = ("chunk_id", "document_id", "external_id", "title", "text", "score", "metadata")

ROUTES = [
    Route(
        "GET",
        "/api/v1/sources",
        list_sources,
        "read",
        "List sources, newest first",
        "knowledge",
        query=Paging,
        response=Listed[Source],
    ),
    Route(
        "GET",
        "/api/v1/sources/{source_id}",
        source,
        "read",
        "One source with its documents",
        "knowledge",
        response=SourceWhole,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        "/api/v1/sources/{source_id}",
        delete_source,
        "write",
        "Remove a source, from search at once",
        "knowledge",
        status=204,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        "/api/v1/search",
        search,
        "read",
        "Search alone, without an answer",
        "knowledge",
        request=Search,
        response=Hits,
        errors=(NotFound, Unavailable),
    ),
]
