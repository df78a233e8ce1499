"""Retrieval: a question with its history in, the best passages out. One statement searches by meaning and by words."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.db import Database
from kernel.types import Json
from pipeline.embedding.lazy import LazyEmbedder
from pipeline.knowledge import collections
from pipeline.knowledge.search_plan import combine, plan_search


class Retriever:
    """Searches a workspace's chunks."""

    def __init__(self, database: Database, embedder: LazyEmbedder) -> None:
        self._database = database
        self._embedder = embedder

    async def search(
        self,
        workspace_id: str,
        query: str,
        history: Sequence[Json],
        k: int,
        *,
        collection: str | None = None,
        filter: Json | None = None,
        by_document: bool = True,
        public: bool = False,
    ) -> list[Json]:
        """Up to `k` hits, best first, one a document unless told otherwise. Raises NotFound for an unknown collection.

        A hit: chunk_id, document_id, external_id, title, heading, text, score (0 to 1, fused), dense_score (cosine),
        bm25_score and the document's metadata. `filter` is contained in that metadata. With `public` the database
        looks at public collections only.
        """
        plan = plan_search(query, history)
        vectors = await self._embedder.embed([part.text for part in plan.dense], kind="query")
        async with self._database.workspace(workspace_id) as conn:
            ids = await collections.searchable(conn, self._embedder.model, collection)
            rows = await conn.fetch(
                "SELECT * FROM search_chunks($1, $2, $3, $4, $5, $6, $7, $8, $9, public_only => $10)",
                workspace_id,
                ids,
                [part.text for part in plan.lexical],
                [part.weight for part in plan.lexical],
                combine(vectors, plan.dense),
                plan.alpha,
                k,
                by_document,
                filter,
                public,
            )
        return [_hit(dict(row)) for row in rows]


def _hit(row: Json) -> Json:
    row["text"] = row.pop("content")
    del row["char_start"], row["char_end"]
    return row
