"""The built-in embedder against torch with sentence-transformers, each in a process of its own (G11, G12).

One thread each, the same weights. Both are started afresh three times for time to the first vector and for RSS; one
pair stays up and encodes in turns, so that whatever else the machine does hits both.

`python -m bench.embedding parley|torch` is such a process: it prints its first vector's time and RSS, then for each
line on standard input the milliseconds of as many queries as the line says.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import psutil  # type: ignore[import-untyped]

from bench.goals import Outcome, Verdict, below, judge, not_measured
from bench.process import MEBIBYTE, cores, spawn, stop
from bench.stores import models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# About forty characters each, as people ask.
QUERIES = [
    "how do I reset the password of my account",
    "when are you open on a Saturday morning?",
    "what does it cost to rent a bike a week",
    "can I store an image with my document",
    "is there a limit on requests per minute",
    "how long does a refund take to arrive",
    "which languages does the app support?",
    "where do I find my invoice of last month",
]
Encode = Callable[[list[str]], Awaitable[Sequence[Any]]]
_G11 = ("≥ 2 ×", "≥ 5 × (cos ≥ 0.99) or ≥ 3 × (cos ≥ 0.9999)")
_PATIENCE = 120.0


async def measure(*, rounds: int = 3, queries: int = 40) -> list[Outcome]:
    """Both goals; not met where torch is not installed."""
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("sentence_transformers")):
        why = "torch or sentence-transformers is not installed (`make test` installs them)"
        return [
            not_measured("G11", "query embedding; vs torch", why, *_G11),
            not_measured("G12", "embedder: start, RSS; vs torch", why, "≤ 2 s, ≤ 0.5 ×", "≤ 1 s, ≤ 0.3 ×"),
        ]
    async with _child("parley"):  # builds the graph where there is none yet
        pass
    starts: dict[str, list[dict[str, float]]] = {"parley": [], "torch": []}
    for n in range(rounds):
        for name in starts:
            if name == "torch" and n:  # one start tells enough: it takes many times as long
                continue
            async with _child(name) as child:
                starts[name].append(child.first)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_child("parley"))
        theirs = await stack.enter_async_context(_child("torch"))
        times: dict[str, list[list[float]]] = {"parley": [], "torch": []}
        for _ in range(rounds):
            times["parley"].append(await ours.encode(queries))
            times["torch"].append(await theirs.encode(queries))
        pairs = zip(ours.vectors, theirs.vectors, strict=True)
        cosines = [sum(a * b for a, b in zip(x, y, strict=True)) for x, y in pairs]
    return outcomes(times, starts, statistics.mean(cosines))


def outcomes(
    times: dict[str, list[list[float]]], starts: dict[str, list[dict[str, float]]], cosine: float
) -> list[Outcome]:
    """`times` in milliseconds a query, by contender and round; `starts` with "seconds" and "mib"."""
    p50 = {name: statistics.median(statistics.median(some) for some in rounds) for name, rounds in times.items()}
    pairs = zip(times["torch"], times["parley"], strict=True)
    gain = statistics.median(statistics.median(base) / statistics.median(ours) for base, ours in pairs)
    seconds = {name: statistics.median(start["seconds"] for start in some) for name, some in starts.items()}
    size = {name: statistics.median(start["mib"] for start in some) for name, some in starts.items()}
    share = size["parley"] / size["torch"]
    return [
        Outcome(
            "G11", "query embedding, 1 thread; vs torch", f"{p50['torch']:.2f} ms", f"{p50['parley']:.2f} ms", *_G11,
            quick_enough(gain, cosine), by_rate=gain, note=f"mean cosine to torch {cosine:.6f}",
        ),
        Outcome(
            "G12", "embedder: start to first vector, RSS", f"{seconds['torch']:.1f} s, {size['torch']:.0f} MiB",
            f"{seconds['parley']:.2f} s, {size['parley']:.0f} MiB ({share:.2f} ×)", "≤ 2 s, ≤ 0.5 ×", "≤ 1 s, ≤ 0.3 ×",
            judge(below(seconds["parley"], 2, 1), below(share, 0.5, 0.3)),
            by_rate=seconds["torch"] / seconds["parley"], note="the ratio by rate is of the starts",
        ),
    ]  # fmt: skip


def quick_enough(gain: float, cosine: float) -> Verdict:
    if (gain >= 5 and cosine >= 0.99) or (gain >= 3 and cosine >= 0.9999):
        return "ambition"
    return "floor met" if gain >= 2 else "BELOW"


class _Child:
    """A process with a model. `first`: seconds from spawn to the first vector, and MiB then."""

    def __init__(self, process: asyncio.subprocess.Process, seconds: float, hello: dict[str, Any]) -> None:
        self._process = process
        self.first = {"seconds": seconds, "mib": hello["mib"]}
        self.vectors: list[list[float]] = []

    async def encode(self, count: int) -> list[float]:
        """Milliseconds of each of `count` queries, one after the other."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(b"%d\n" % count)
        told = json.loads(await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE))
        self.vectors = told["vectors"]
        times: list[float] = told["times"]
        return times


@asynccontextmanager
async def _child(name: str) -> AsyncIterator[_Child]:
    begun = time.perf_counter()
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    process = await spawn("bench.embedding", name, core=cores()[0], environment=environment, limit=1 << 22)
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
        if not line:
            raise RuntimeError(f"the {name} embedder did not start")
        yield _Child(process, time.perf_counter() - begun, json.loads(line))
    finally:
        await stop(process)


async def serve(name: str) -> None:
    """Runs until standard input ends."""
    encode = _parley() if name == "parley" else _torch()
    await encode(["warm"])
    print(json.dumps({"mib": psutil.Process(os.getpid()).memory_info().rss / MEBIBYTE}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        times = []
        for n in range(int(line)):
            begun = time.perf_counter()
            await encode([QUERIES[n % len(QUERIES)]])
            times.append((time.perf_counter() - begun) * 1000)
        vectors = [[float(x) for x in row] for row in await encode(QUERIES)]
        print(json.dumps({"times": times, "vectors": vectors}), flush=True)


def _parley() -> Encode:
    from kernel.settings import Settings
    from pipeline.embedding.batcher import open_embedder
    from pipeline.embedding.minilm import MODEL, Precision

    precision = cast(Precision, Settings().rag_embedding_precision)  # as a gateway runs it when nothing is set
    embedder = open_embedder(MODEL, models(), threads=1, precision=precision)

    async def encode(texts: list[str]) -> Sequence[Any]:
        return list(await embedder.embed(texts, kind="query"))

    return encode


def _torch() -> Encode:
    from pipeline.embedding.minilm import model_directory
    from pipeline.embedding.st_backend import SentenceTransformerModel

    model = SentenceTransformerModel(str(model_directory()), threads=1)

    async def encode(texts: list[str]) -> Sequence[Any]:
        return list(model.encode(texts))

    return encode


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
