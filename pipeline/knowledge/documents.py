"""The door to sources, documents and their chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgvector import HalfVector

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.events import publish_many
from kernel.ids import new_id
from kernel.types import Json
from pipeline.embedding.batcher import Vectors
from pipeline.knowledge.chunking import Chunk


@dataclass(frozen=True, slots=True)
class Document:
    """A text ready to be indexed. `vectors` has a row for each view of each chunk, in their order."""

    external_id: str
    title: str
    kind: str
    uri: str
    content: str
    content_hash: bytes
    metadata: Json
    chunks: Sequence[Chunk]
    vectors: Vectors


async def known_hashes(conn: Connection, collection_id: str, external_ids: Sequence[str]) -> dict[str, bytes]:
    """Content hashes of those documents that the collection has, by external id."""
    rows = await conn.fetch(
        "SELECT external_id, content_hash FROM documents WHERE collection_id = $1 AND external_id = ANY ($2)",
        collection_id,
        list(external_ids),
    )
    return {row["external_id"]: row["content_hash"] for row in rows}


async def put(conn: Connection, workspace_id: str, collection_id: str, documents: Sequence[Document]) -> int:
    """Writes documents in place of those with the same external id, chunks and all. Returns the chunks written."""
    placed = [await _put_one(conn, workspace_id, collection_id, document) for document in documents]
    ids = [document_id for document_id, _ in placed]
    await conn.execute("DELETE FROM chunks WHERE workspace_id = $1 AND document_id = ANY ($2)", workspace_id, ids)
    pairs = [
        (document_id, position, chunk)
        for document_id, document in zip(ids, documents, strict=True)
        for position, chunk in enumerate(document.chunks)
    ]
    chunk_ids = [new_id("chk") for _ in pairs]
    views = [
        (chunk_id, place)
        for chunk_id, (_, _, chunk) in zip(chunk_ids, pairs, strict=True)
        for place in range(len(chunk.views))
    ]
    metadata = {document_id: document.metadata for document_id, document in zip(ids, documents, strict=True)}
    await conn.execute(
        "SELECT store_chunks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        workspace_id,
        collection_id,
        chunk_ids,
        [document_id for document_id, _, _ in pairs],
        [position for _, position, _ in pairs],
        [chunk.heading for _, _, chunk in pairs],
        [chunk.text for _, _, chunk in pairs],
        [chunk.start for _, _, chunk in pairs],
        [chunk.end for _, _, chunk in pairs],
        [metadata[document_id] for document_id, _, _ in pairs],
        [chunk_id for chunk_id, _ in views],
        [place for _, place in views],
        [HalfVector(row) for document in documents for row in document.vectors],
    )
    told = [
        {
            "document_id": document_id,
            "source_id": source_id,
            "collection_id": collection_id,
            "external_id": document.external_id,
            "title": document.title,
            "chunks": len(document.chunks),
        }
        for (document_id, source_id), document in zip(placed, documents, strict=True)
    ]
    await publish_many(conn, workspace_id, [("document.indexed", data) for data in told])
    return len(pairs)


async def _put_one(conn: Connection, workspace_id: str, collection_id: str, document: Document) -> tuple[str, str]:
    """Returns the ids of the document and of its source."""
    source_id = await conn.fetchval(
        """
        INSERT INTO sources (workspace_id, source_id, collection_id, kind, uri) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (workspace_id, collection_id, uri) DO UPDATE SET kind = excluded.kind RETURNING source_id
        """,
        workspace_id,
        new_id("src"),
        collection_id,
        document.kind,
        document.uri,
    )
    document_id: str = await conn.fetchval(
        """
        INSERT INTO documents (workspace_id, document_id, collection_id, source_id, external_id, title, content,
                               content_hash, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (workspace_id, collection_id, external_id) DO UPDATE
        SET source_id = excluded.source_id, title = excluded.title, content = excluded.content,
            content_hash = excluded.content_hash, metadata = excluded.metadata, updated_at = now()
        RETURNING document_id
        """,
        workspace_id,
        new_id("doc"),
        collection_id,
        source_id,
        document.external_id,
        document.title,
        document.content,
        document.content_hash,
        document.metadata,
    )
    return document_id, source_id


async def list_sources(conn: Connection, limit: int, before: str | None) -> list[Json]:
    """Sources, newest first, each with its collection and numbers of documents and chunks. `before` is a source id."""
    rows = await conn.fetch(
        """
        SELECT s.source_id, s.kind, s.uri, c.name AS collection, s.created_at, count(d.document_id) AS documents,
            min(d.title) AS title, max(d.updated_at) AS updated_at
        FROM (SELECT * FROM sources WHERE $2::text IS NULL OR source_id < $2 ORDER BY source_id DESC LIMIT $1) s
        JOIN collections c USING (workspace_id, collection_id)
        LEFT JOIN documents d USING (workspace_id, source_id)
        GROUP BY s.source_id, s.kind, s.uri, c.name, s.created_at ORDER BY s.source_id DESC
        """,
        limit,
        before,
    )
    return [dict(row) for row in rows]


async def get_source(conn: Connection, source_id: str) -> Json:
    """One source with its documents. Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT s.source_id, s.kind, s.uri, c.name AS collection, s.created_at FROM sources s "
        "JOIN collections c USING (workspace_id, collection_id) WHERE s.source_id = $1",
        source_id,
    )
    if row is None:
        raise NotFound(f"no source {source_id}")
    documents = await conn.fetch(
        """
        SELECT d.document_id, d.external_id, d.title, d.metadata, d.updated_at, count(k.chunk_id) AS chunks
        FROM documents d LEFT JOIN chunks k USING (workspace_id, document_id)
        WHERE d.source_id = $1
        GROUP BY d.document_id, d.external_id, d.title, d.metadata, d.updated_at ORDER BY d.document_id LIMIT 1000
        """,
        source_id,
    )
    return {**dict(row), "documents": [dict(document) for document in documents]}


async def delete_source(conn: Connection, workspace_id: str, source_id: str) -> None:
    """Removes a source with its documents, from search at once. Raises NotFound."""
    gone = await conn.fetch(
        "SELECT document_id, source_id, collection_id, external_id, title FROM documents WHERE source_id = $1",
        source_id,
    )
    if await conn.fetchval("DELETE FROM sources WHERE source_id = $1 RETURNING source_id", source_id) is None:
        raise NotFound(f"no source {source_id}")
    await publish_many(conn, workspace_id, [("document.deleted", dict(row)) for row in gone])
