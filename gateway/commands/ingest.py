"""parley ingest: files, folders, standard input and .jsonl corpora become knowledge; what has not changed is skipped.

A file's external id is its path as a file: URI, so the same file again is an update. A .jsonl corpus holds one
{"id", "title", "text"} a line and names its documents itself.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.client import Client, connect, find_target
from gateway.commands.reading import Document, Fault, batches, name_of, read, stamps
from gateway.commands.terminal import Progress, note, out

_LOOK = 0.2
_WATCH = 1.0


@dataclass(slots=True)
class Report:
    """What became of one run over the paths."""

    documents: int = 0
    chunks_added: int = 0
    jobs: list[str] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)


async def run(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        seen = stamps(options.paths)
        report = await _send(client, options.paths, options)
        _tell(report, options)
        if not options.watch:
            return 1 if report.errors else 0
        note("watching for changes (Ctrl-C ends)")
        while True:
            await asyncio.sleep(_WATCH)
            now = stamps(options.paths)
            changed = [path for path, stamp in now.items() if seen.get(path) != stamp]
            await _forget(client, seen.keys() - now.keys())
            seen = now
            if changed:
                _tell(await _send(client, changed, options), options)


async def _forget(client: Client, removed: Collection[str]) -> None:
    """Takes files that were deleted out of the knowledge."""
    gone = {name_of(Path(path)) for path in removed}
    for source in await client.items("/api/v1/sources") if gone else []:
        if source["uri"] in gone:
            await client.delete(f"/api/v1/sources/{source['source_id']}")
            note(f"{source['uri']} removed")


async def _send(client: Client, paths: Sequence[str], options: Namespace) -> Report:
    """Hands all documents over, then waits until they are indexed."""
    report, total = Report(), {}
    bar = Progress("indexing", quiet=options.json)

    def readable() -> Any:
        for found in read(paths):
            if isinstance(found, Fault):
                report.errors.append({"external_id": found.path, "message": found.why})
            else:
                yield found

    for batch in batches(readable()):
        made = await client.post("/api/v1/ingest/text", {"documents": [_body(d, options.collection) for d in batch]})
        report.documents += len(batch)
        report.jobs.append(made["job_id"])
        total[made["job_id"]] = len(batch)
        bar.show(0, report.documents)
    finished = 0
    for job_id in report.jobs:
        job = await _settled(client, job_id, bar, finished, report.documents)
        finished += total[job_id]
        report.chunks_added += job.get("chunks_added", 0)
        report.errors += job["errors"]
        if job["status"] != "done" and not job["errors"]:
            report.errors.append({"external_id": job_id, "message": f"the job {job['status']}"})
    bar.clear()
    return report


def _body(document: Document, collection: str | None) -> dict[str, Any]:
    body = {
        "external_id": document.external_id,
        "title": document.title,
        "text": document.text,
        "format": document.format,
        "metadata": document.metadata,
    }
    return body | ({"collection": collection} if collection else {})


async def _settled(client: Client, job_id: str, bar: Progress, before: int, total: int) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = await client.get(f"/api/v1/jobs/{job_id}")
        bar.show(before + job["progress"]["done"], total)
        if job["status"] not in ("queued", "running"):
            return job
        await asyncio.sleep(_LOOK)


def _tell(report: Report, options: Namespace) -> None:
    if options.json:
        out(json.dumps({f: getattr(report, f) for f in ("documents", "chunks_added", "jobs", "errors")}))
        return
    for error in report.errors:
        note(f"{error.get('external_id', '')}: {error.get('message', '')}")
    failed = f", {len(report.errors)} failed" if report.errors else ""
    out(f"{report.documents} documents read, {report.chunks_added} passages added{failed}")
