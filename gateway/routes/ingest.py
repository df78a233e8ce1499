"""Ingestion: texts and files go in as a job, whose progress can be followed."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.parts import MAX_FILES, Form
from gateway.reading import validated
from gateway.web import MEBIBYTE, Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel import queue
from kernel.errors import Conflict, InvalidRequest, NotFound, Unavailable, Unsupported
from kernel.types import Json
from pipeline.embedding.minilm import ModelError
from pipeline.knowledge import collections, jobs
from pipeline.knowledge.jobs import Item

_LOOK = 0.1
_TEXT_LIMIT = 32 * MEBIBYTE
_FILES_LIMIT = 64 * MEBIBYTE
NAME = r"^[\w][\w .-]{0,99}$"


class Text(Shape):
    text: str = Field(min_length=1, max_length=5_000_000, examples=["We open at nine."])
    title: str = Field("", max_length=500)
    external_id: str | None = Field(None, min_length=1, max_length=500, description="The same again is an update")
    format: Literal["text", "markdown", "html"] = "text"
    metadata: dict[str, Any] = Field({}, description="Searches can filter by it")
    collection: str | None = Field(None, pattern=NAME)


class Texts(Shape):
    """One text, or `documents`: up to 1,000 of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "We open at nine.", "title": "Opening hours"}]})

    text: str | None = Field(None, min_length=1, max_length=5_000_000)
    title: str = Field("", max_length=500)
    external_id: str | None = Field(None, min_length=1, max_length=500, description="The same again is an update")
    format: Literal["text", "markdown", "html"] = "text"
    metadata: dict[str, Any] = Field({}, description="Searches can filter by it")
    collection: str | None = Field(None, pattern=NAME)
    documents: list[Text] | None = Field(None, min_length=1, max_length=1000)

    @model_validator(mode="after")
    def one_or_many(self) -> Self:
        if (self.text is None) == (self.documents is None):
            raise ValueError("either text or documents is needed")
        return self

    def each(self) -> list[Text]:
        if self.documents is not None:
            return self.documents
        given = self.model_dump(exclude={"documents"})
        return [Text(**given)]


class Fields(Shape):
    collection: str | None = Field(None, pattern=NAME)


class Waiting(Shape):
    wait: float = Field(0, ge=0, le=120, description="Seconds to wait until everything is indexed")


class Ingested(View):
    message: str
    chunks_added: int = Field(description="0 while the job still runs")
    job_id: str


class Progress(View):
    done: int
    total: int


class Job(View):
    job_id: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: Progress
    chunks_added: int
    errors: list[dict[str, Any]]
    created_at: datetime
    finished_at: datetime | None


async def text(call: Call) -> Answer:
    """202 with the job; with `wait` 200 when everything was indexed in time."""
    asked: Texts = call.body
    found: dict[str | None, list[Item]] = {}
    for given in asked.each():
        item = Item(
            external_id=given.external_id or _name(given.text),
            title=given.title,
            content=given.text,
            format=given.format,
            metadata=given.metadata,
        )
        found.setdefault(given.collection or asked.collection, []).append(item)
    if len(found) > 1:
        raise _fault("collection", "one request fills one collection")
    [(collection, items)] = found.items()
    return await _ingest(call, collection, items)


def _name(content: str) -> str:
    return f"text:{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}"


async def files(call: Call) -> Answer:
    """Fields: `files` (up to 20 of 20 MB each: .txt, .md, .html), and `collection`.

    A file's name names its document: the same again is an update.
    """
    form: Form = call.body
    if not form.files:
        raise _fault("files", f"1 to {MAX_FILES} files are needed")
    asked = validated(Fields, form.fields, "form")
    names = [file.name for file in form.files]
    if len(set(names)) < len(names):
        raise _fault("files", "every file needs a name of its own")
    items = [_item(file.name, file.data) for file in form.files]
    return await _ingest(call, asked.collection, items)


def _item(name: str, data: bytes) -> Item:
    """Raises Unsupported for a type that is not read, InvalidRequest for what is no text."""
    from pipeline.knowledge.ingest import FORMATS, decode  # brings the text splitter along: not for every start

    path = PurePath(name)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        message = f"{name}: only {', '.join(sorted(FORMATS))} are read"
        raise Unsupported(message, details=[{"field": "files", "message": message}])
    content = decode(data, name)
    return Item(
        external_id=name,
        title="" if kind == "html" else path.stem,
        content=content,
        format=kind,  # type: ignore[arg-type]
        kind="file",
        uri=name,
    )


def _fault(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", details=[{"field": field, "message": message}])


async def _ingest(call: Call, collection: str | None, items: Sequence[Item]) -> Answer:
    ground = call.services.ground
    try:
        embedder = await ground.embedder.warm()
    except ModelError as error:
        raise Unavailable(f"the embedding model cannot be loaded: {error}") from error
    async with call.database() as conn:
        name = collection or collections.DEFAULT
        into = await collections.ensure(conn, call.workspace_id, name, ground.embedder.model, embedder.dimension)
        job_id = await jobs.create(conn, call.workspace_id, into.collection_id, items)
    await queue.wake(ground.redis, "ingest", job_id)
    job = await _settled(call, job_id, call.query.wait)
    many = f"{len(items)} document{'s' if len(items) > 1 else ''}"
    if job is None:
        return Answer({"message": f"{many} will be indexed", "chunks_added": 0, "job_id": job_id}, status=202)
    failed = len(job["errors"])
    message = f"{many} indexed" if not failed else f"{many} handled, {failed} failed"
    return Answer({"message": message, "chunks_added": job["chunks_added"], "job_id": job_id}, status=200)


async def _settled(call: Call, job_id: str, seconds: float) -> Json | None:
    """The job once it is over, None when that takes longer or the client is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not call.gone:
        async with call.database() as conn:
            found = await jobs.get(conn, job_id)
        if found["status"] not in ("queued", "running"):
            return found
        await asyncio.sleep(_LOOK)
    return None


async def list_jobs(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        rows = await jobs.list_all(conn, asked.limit + 1, asked.cursor or None)
    return page((rows[: asked.limit], rows[asked.limit - 1]["job_id"] if len(rows) > asked.limit else None))


async def job(call: Call) -> Json:
    async with call.database() as conn:
        return await jobs.get(conn, call.path["job_id"])


_READY = {200: "Everything was indexed in time"}

ROUTES = [
    Route(
        "POST",
        "/api/v1/ingest/text",
        text,
        "write",
        "Add or update texts",
        "knowledge",
        request=Texts,
        query=Waiting,
        response=Ingested,
        status=202,
        also=_READY,
        errors=(Conflict, Unavailable),
        limit=_TEXT_LIMIT,
    ),
    Route(
        "POST",
        "/api/v1/ingest/files",
        files,
        "write",
        "Add or update files",
        "knowledge",
        request=Fields,
        query=Waiting,
        response=Ingested,
        status=202,
        also=_READY,
        errors=(Conflict, Unavailable),
        parts=True,
        limit=_FILES_LIMIT,
    ),
    Route(
        "GET",
        "/api/v1/jobs",
        list_jobs,
        "read",
        "List ingestion jobs, newest first",
        "knowledge",
        query=Paging,
        response=Listed[Job],
    ),
    Route(
        "GET", "/api/v1/jobs/{job_id}", job, "read", "One job's progress", "knowledge", response=Job, errors=(NotFound,)
    ),
]
