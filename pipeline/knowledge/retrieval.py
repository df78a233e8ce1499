"""Retrieval: the question with its history in, the best passages out."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.db import Database
from kernel.types import Json
from pipeline.embedding.lazy import LazyEmbedder


class Retriever:
    """Searches a workspace's chunks by meaning and by words."""

    def __init__(self, database: Database, embedder: LazyEmbedder) -> None:
        self._database = database
        self._embedder = embedder

    async def search(self, workspace_id: str, query: str, history: Sequence[Json], k: int) -> list[Json]:
        """Hits, best first, one a document."""
        vector = (await self._embedder.embed([query], kind="query"))[0]
        async with self._database.anywhere() as conn:
            rows = await conn.fetch("SELECT * FROM search_chunks($1, $2, $3, $4)", workspace_id, query, vector, k)
        return [dict(row) for row in rows]
