"""The door to ingestion jobs: what is to be indexed, kept until it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.ids import new_id
from kernel.types import Json

Format = Literal["text", "markdown", "html"]


@dataclass(frozen=True, slots=True)
class Item:
    """One document to be indexed. `external_id` names it: the same again is an update."""

    external_id: str
    title: str
    content: str
    format: Format = "text"
    kind: Literal["text", "file"] = "text"
    uri: str = ""
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job that this worker holds."""

    workspace_id: str
    job_id: str
    collection_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Pending:
    """An item that waits, with its place in the job and how often it was begun."""

    position: int
    tries: int
    item: Item


async def create(conn: Connection, workspace_id: str, collection_id: str, items: Sequence[Item]) -> str:
    """Stores a job with its items. Returns its id."""
    job_id = new_id("job")
    await conn.execute(
        "INSERT INTO ingest_jobs (workspace_id, job_id, collection_id, total) VALUES ($1, $2, $3, $4)",
        workspace_id,
        job_id,
        collection_id,
        len(items),
    )
    await conn.execute(
        """
        INSERT INTO ingest_items (workspace_id, job_id, position, kind, uri, external_id, title, format, content,
                                  metadata)
        SELECT $1, $2, n, kind, uri, external_id, title, format, content, metadata
        FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[])
            WITH ORDINALITY AS t (kind, uri, external_id, title, format, content, metadata, n)
        """,
        workspace_id,
        job_id,
        [item.kind for item in items],
        [_storable(item.uri or item.external_id) for item in items],
        [_storable(item.external_id) for item in items],
        [_storable(item.title) for item in items],
        [item.format for item in items],
        [_storable(item.content) for item in items],
        [item.metadata for item in items],
    )
    return job_id


def _storable(text: str) -> str:
    """Postgres holds every character but NUL."""
    return text.replace("\x00", "")


async def claim(conn: Connection, job_id: str | None, most: int, lease: float) -> list[Job]:
    """Takes open jobs that nobody holds, over all workspaces."""
    token = new_id("tok")
    rows = await conn.fetch("SELECT * FROM claim_jobs($1, $2, $3, $4)", job_id, most, token, lease)
    return [Job(row["workspace_id"], row["job_id"], row["collection_id"], token) for row in rows]


async def waiting(conn: Connection, job: Job, most: int, characters: int) -> list[Pending]:
    """The job's next items, `most` of them or about so many characters, each counted as begun."""
    rows = await conn.fetch(
        """
        UPDATE ingest_items i SET tries = i.tries + 1
        FROM (SELECT position, sum(length(content)) OVER (ORDER BY position) - length(content) AS before_it
              FROM (SELECT position, content FROM ingest_items
                    WHERE job_id = $1 ORDER BY position LIMIT $2) AS next) AS n
        WHERE i.job_id = $1 AND i.position = n.position AND n.before_it < $3
        RETURNING i.*
        """,
        job.job_id,
        most,
        characters,
    )
    return [
        Pending(
            row["position"],
            row["tries"],
            Item(
                external_id=row["external_id"],
                title=row["title"],
                content=row["content"],
                format=row["format"],
                kind=row["kind"],
                uri=row["uri"],
                metadata=row["metadata"],
            ),
        )
        for row in sorted(rows, key=lambda row: int(row["position"]))
    ]


async def progress(
    conn: Connection, job: Job, positions: Sequence[int], chunks: int, errors: Sequence[Json], lease: float
) -> bool:
    """Writes off items, done or failed, and renews the lease. False when the job is not the caller's any more."""
    held = await conn.fetchval(
        """
        UPDATE ingest_jobs
        SET done = done + $3, chunks = chunks + $4, errors = errors || $5::jsonb,
            lease_until = now() + make_interval(secs => $6)
        WHERE job_id = $1 AND token = $2 AND status = 'running' RETURNING job_id
        """,
        job.job_id,
        job.token,
        len(positions),
        chunks,
        list(errors),
        lease,
    )
    if held is None:
        return False
    await conn.execute(
        "DELETE FROM ingest_items WHERE job_id = $1 AND position = ANY ($2)", job.job_id, list(positions)
    )
    return True


async def finish(conn: Connection, job: Job) -> None:
    """Closes a job that has no items left: failed when none of them could be indexed."""
    await conn.execute(
        """
        UPDATE ingest_jobs SET finished_at = now(), lease_until = '-infinity',
            status = CASE WHEN total > 0 AND jsonb_array_length(errors) >= total THEN 'failed' ELSE 'done' END
        WHERE job_id = $1 AND token = $2 AND status = 'running'
            AND NOT EXISTS (SELECT FROM ingest_items i WHERE i.job_id = $1)
        """,
        job.job_id,
        job.token,
    )


async def release(conn: Connection, job: Job) -> None:
    """Hands a job back, to be gone on with by anybody at once."""
    await conn.execute(
        "UPDATE ingest_jobs SET lease_until = '-infinity' WHERE job_id = $1 AND token = $2", job.job_id, job.token
    )


async def get(conn: Connection, job_id: str) -> Json:
    """A job as the API shows it. Raises NotFound."""
    row = await conn.fetchrow("SELECT * FROM ingest_jobs WHERE job_id = $1", job_id)
    if row is None:
        raise NotFound(f"no job {job_id}")
    return _shown(row)


async def list_all(conn: Connection, limit: int, before: str | None) -> list[Json]:
    """Jobs, newest first; `before` is a job id."""
    rows = await conn.fetch(
        "SELECT * FROM ingest_jobs WHERE $2::text IS NULL OR job_id < $2 ORDER BY job_id DESC LIMIT $1", limit, before
    )
    return [_shown(row) for row in rows]


def _shown(row: Any) -> Json:
    return {
        "job_id": row["job_id"],
        "status": row["status"],
        "progress": {"done": row["done"], "total": row["total"]},
        "chunks_added": row["chunks"],
        "errors": row["errors"],
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
    }
