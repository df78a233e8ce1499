"""Retrieval quality on a data folder: `python -m bench.retrieval FOLDER [--url URL --api-key KEY]`.

FOLDER holds corpus.jsonl ({"id", "title", "text"}), queries.jsonl ({"id", "text", "history"}) and qrels.tsv (query,
document, grade). The corpus is ingested through the REST API into a collection named after the folder, every query is
searched with its history, and the run is written as query, document, score and scored. Without --url a throw-away
Parley is started. nDCG is linear (trec_eval's ndcg_cut); ranks are by score, ties by document id, both descending.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.goals import percentile
from bench.process import ALL, running, spawn, stop
from bench.stores import stores
from gateway.client import Client, Target, connect

_BATCH_DOCUMENTS, _BATCH_BYTES = 1_000, 4_000_000
_SEARCHES_AT_ONCE = 4
_CUTS = (5, 10)
Run = Mapping[str, Mapping[str, float]]


def scores(run: Run, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Means of nDCG and Recall at 5 and 10 over every query with a relevant document; one without hits counts 0."""
    judged = {query: {d: g for d, g in grades.items() if g > 0} for query, grades in qrels.items()}
    judged = {query: grades for query, grades in judged.items() if grades}
    found: dict[str, list[float]] = defaultdict(list)
    for query, grades in judged.items():
        hits = run.get(query, {})
        ranked = sorted(hits, key=lambda document: (hits[document], document), reverse=True)
        best = sorted(grades.values(), reverse=True)
        for cut in _CUTS:
            found[f"nDCG@{cut}"].append(_gain([grades.get(d, 0) for d in ranked[:cut]]) / _gain(best[:cut]))
            found[f"Recall@{cut}"].append(sum(d in grades for d in ranked[:cut]) / len(grades))
    return {name: statistics.fmean(values) for name, values in found.items()}


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades))


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by query and document; a header line is skipped."""
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")
        if grade != "score":
            grades[query][document] = int(grade)
    return dict(grades)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def batches(documents: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many documents as one call takes, bounded in bytes as well."""
    batch: list[dict[str, Any]] = []
    size = 0
    for document in documents:
        length = len(json.dumps(document))
        if batch and (len(batch) == _BATCH_DOCUMENTS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += length
    if batch:
        yield batch


async def ingest(client: Client, folder: Path, collection: str) -> int:
    """Sends the corpus and waits until all of it is indexed. Returns how many documents it has."""
    documents = (
        {"external_id": row["id"], "title": row.get("title") or "", "text": row["text"], "collection": collection}
        for row in _rows(folder / "corpus.jsonl")
        if row["text"].strip()
    )
    count = 0
    jobs = []
    for batch in batches(documents):
        jobs.append((await client.post("/api/v1/ingest/text", {"documents": batch}))["job_id"])
        count += len(batch)
    for job in jobs:
        await _finished(client, job)
    return count


async def _finished(client: Client, job_id: str) -> None:
    while (job := await client.get(f"/api/v1/jobs/{job_id}"))["status"] in ("queued", "running"):  # noqa: ASYNC110
        await asyncio.sleep(0.25)
    if job["status"] != "done" or job["errors"]:
        raise RuntimeError(f"ingestion ended as {job['status']}: {job['errors'][:3]}")


async def search(
    client: Client, folder: Path, collection: str, k: int
) -> tuple[dict[str, dict[str, float]], list[float]]:
    """Every query's hits by external id, and the milliseconds that each search says it took."""
    run: dict[str, dict[str, float]] = {}
    took: list[float] = []
    queries = _rows(folder / "queries.jsonl")

    async def lane() -> None:
        for row in queries:
            body = {"query": row["text"], "history": row.get("history", []), "collection": collection, "k": k}
            found = await client.post("/api/v1/search", body)
            run[row["id"]] = {hit["external_id"]: hit["score"] for hit in found["hits"]}
            took.append(found["took_ms"])

    await asyncio.gather(*(lane() for _ in range(_SEARCHES_AT_ONCE)))
    return run, took


def write_run(run: Run, path: Path) -> None:
    lines = (f"{query}\t{document}\t{score!r}\n" for query, hits in run.items() for document, score in hits.items())
    path.write_text("".join(lines), encoding="utf-8")


@asynccontextmanager
async def throw_away() -> AsyncIterator[Target]:
    """A Parley of the bench's own: stores, gateway and worker."""
    async with stores() as on:
        api_key = await on.api_key(await on.workspace())
        async with running("bench.server", "whole", environment=on.environment(), core=ALL) as gateway:
            worker = await spawn("gateway", "work", core=ALL, environment=on.environment())
            try:
                yield Target(gateway.url, api_key)
            finally:
                await stop(worker)


async def measure(target: Target, folder: Path, output: Path, *, k: int, skip_ingest: bool) -> dict[str, float]:
    """Ingests, searches, writes the run. Returns the figures by name."""
    collection = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower())
    figures: dict[str, float] = {}
    async with connect(target) as client:
        if not skip_ingest:
            begun = time.perf_counter()
            figures["documents"] = await ingest(client, folder, collection)
            figures["ingest_seconds"] = round(time.perf_counter() - begun, 1)
        run, took = await search(client, folder, collection, k)
    write_run(run, output)
    figures |= {name: round(value, 4) for name, value in scores(run, read_qrels(folder / "qrels.tsv")).items()}
    return {**figures, "took_ms_p50": percentile(took, 0.5), "took_ms_p95": percentile(took, 0.95)}


async def _run(options: argparse.Namespace) -> dict[str, float]:
    output = options.output or Path(f"{options.folder.resolve().name}.run")
    wanted = {"k": options.k, "skip_ingest": options.skip_ingest}
    if options.url:
        return await measure(Target(options.url, options.api_key), options.folder, output, **wanted)
    async with throw_away() as target:
        return await measure(target, options.folder, output, **wanted)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.retrieval", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="a running gateway, instead of a throw-away one")
    parser.add_argument("--api-key", default="", help="its key, with read and write")
    parser.add_argument("--skip-ingest", action="store_true", help="the corpus is there already (with --url)")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--output", type=Path, help="where the run goes (default: FOLDER's name + .run, here)")
    options = parser.parse_args(argv)
    if bool(options.url) != bool(options.api_key):
        parser.error("--url and --api-key go together")
    if options.skip_ingest and not options.url:
        parser.error("--skip-ingest needs --url: a throw-away Parley knows nothing yet")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for name, value in runner.run(_run(options)).items():
            print(f"{name}\t{value:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
