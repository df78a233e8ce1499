"""Ingestion: a job's items become searchable documents, a batch at a time, each batch in one transaction.

A worker that dies in between costs the batch it was working on; the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace

import orjson

from kernel import log
from kernel.db import Database
from kernel.errors import InvalidRequest
from kernel.events import publish
from kernel.types import Json
from pipeline.embedding.lazy import LazyEmbedder
from pipeline.knowledge import documents, jobs
from pipeline.knowledge.chunking import Chunk, chunk_document
from pipeline.knowledge.documents import Document
from pipeline.knowledge.jobs import Item, Job, Pending
from pipeline.knowledge.sections import html_to_markdown

_log = log.get("ingest")

_LEASE = 120.0
_ITEMS = 32
_CHARACTERS = 60_000
_TRIES = 3
FORMATS = {".txt": "text", ".text": "text", ".log": "text", ".md": "markdown", ".markdown": "markdown",
           ".html": "html", ".htm": "html"}  # fmt: skip


def decode(data: bytes, name: str) -> str:
    """A file's text: UTF-8, or UTF-16 with its mark, or Latin-1. Raises InvalidRequest for what is no text."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if "\x00" in text:
        raise InvalidRequest(f"{name} is not a text file", details=[{"field": "files", "message": f"{name}: no text"}])
    return text


class Ingester:
    """Works on jobs with one embedder. `work` is for a wake-up, `work_due` for the sweep."""

    def __init__(self, database: Database, embedder: LazyEmbedder) -> None:
        self._database = database
        self._embedder = embedder
        self._stopping = False

    async def work(self, job_id: str | None) -> None:
        """Works on this job, if it is open and nobody holds it."""
        async with self._database.anywhere() as conn:
            held = await jobs.claim(conn, job_id, 1, _LEASE)
        for job in held:
            await self._run(job)

    async def work_due(self) -> None:
        """Works on one job that waits, if there is one."""
        await self.work(None)

    async def close(self) -> None:
        self._stopping = True

    async def _run(self, job: Job) -> None:
        try:
            while not self._stopping:
                async with self._database.workspace(job.workspace_id) as conn:
                    batch = await jobs.waiting(conn, job, _ITEMS, _CHARACTERS)
                if not batch:
                    async with self._database.workspace(job.workspace_id) as conn:
                        await jobs.finish(conn, job)
                    return
                if not await self._batch(job, batch):
                    return
        except BaseException:
            await asyncio.shield(self._hand_back(job))
            raise
        await self._hand_back(job)

    async def _hand_back(self, job: Job) -> None:
        try:
            async with self._database.workspace(job.workspace_id) as conn:
                await jobs.release(conn, job)
        except Exception as error:
            _log.warning("ingest.release_failed", job=job.job_id, error=str(error))

    async def _batch(self, job: Job, batch: Sequence[Pending]) -> bool:
        """Indexes a batch; when it fails, each item alone, so that one bad document does not hold up the others."""
        try:
            return await self._index(job, [pending for pending in batch if pending.tries <= _TRIES], _spent(batch))
        except _Fenced:
            _log.warning("ingest.fenced", job=job.job_id)
            return False
        except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            if len(batch) > 1:
                for pending in batch:
                    if not await self._batch(job, [pending]):
                        return False
                return True
            return await self._index(job, [], [(batch[0], str(error) or type(error).__name__)])

    async def _index(self, job: Job, batch: Sequence[Pending], failed: Sequence[tuple[Pending, str]]) -> bool:
        """Stores these documents and writes their items off. False when another worker has the job."""
        async with self._database.workspace(job.workspace_id) as conn:
            known = await documents.known_hashes(conn, job.collection_id, [p.item.external_id for p in batch])
        latest = {pending.item.external_id: pending.item for pending in batch}
        changed = [item for item in latest.values() if known.get(item.external_id) != content_hash(item)]
        ready = await self._prepare(changed)
        errors: list[Json] = [{"external_id": p.item.external_id, "message": cause} for p, cause in failed]
        async with self._database.workspace(job.workspace_id) as conn:
            written = await documents.put(conn, job.workspace_id, job.collection_id, ready) if ready else 0
            for pending, cause in failed:
                told = {"external_id": pending.item.external_id, "collection_id": job.collection_id, "reason": cause}
                await publish(conn, job.workspace_id, "document.failed", {**told, "job_id": job.job_id})
            positions = [p.position for p in (*batch, *(p for p, _ in failed))]
            held = await jobs.progress(conn, job, positions, written, errors, _LEASE)
            if not held:
                raise _Fenced
        return True

    async def _prepare(self, items: Sequence[Item]) -> list[Document]:
        """Cuts and embeds; both away from the event loop."""
        cut = await asyncio.to_thread(lambda: [_cut(item) for item in items])
        views = [view for _, chunks in cut for chunk in chunks for view in chunk.views]
        vectors = await self._embedder.embed(views, kind="passage") if views else None
        ready, start = [], 0
        for item, (read, chunks) in zip(items, cut, strict=True):
            count = sum(len(chunk.views) for chunk in chunks)
            assert vectors is not None
            ready.append(
                Document(
                    external_id=item.external_id,
                    title=read.title,
                    kind=item.kind,
                    uri=item.uri or item.external_id,
                    content=read.content,
                    content_hash=content_hash(item),
                    metadata=item.metadata,
                    chunks=chunks,
                    vectors=vectors[start : start + count],
                )
            )
            start += count
        return ready


class _Fenced(Exception):
    """Another worker has the job: what this one was about to write is rolled back."""


def content_hash(item: Item) -> bytes:
    """What decides whether a document has changed."""
    parts = [item.title, item.format, item.content, orjson.dumps(item.metadata, option=orjson.OPT_SORT_KEYS).decode()]
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "replace"), digest_size=16).digest()


def _spent(batch: Sequence[Pending]) -> list[tuple[Pending, str]]:
    return [(pending, "gave up: every worker that tried it ended") for pending in batch if pending.tries > _TRIES]


def _cut(item: Item) -> tuple[Item, list[Chunk]]:
    """The readable form of an item and its chunks. Raises ValueError when nothing can be read in it."""
    if item.format == "html":
        title, content = html_to_markdown(item.content)
        item = replace(item, content=content, title=item.title or title)
    chunks = chunk_document(item.content, title=item.title, format="text" if item.format == "text" else "markdown")
    if not chunks:
        raise ValueError("nothing to read in it")
    return item, chunks
