"""Encoding off the event loop, in natural micro-batches: what waits leaves when the last batch has returned.

Queries and passages have a lane each, that is a queue and one thread, so that a question never waits behind a
bulk of documents. There is no timer: an idle lane encodes at once, a busy one gathers.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.embedding.minilm import MODEL, Precision

Vectors = npt.NDArray[np.float32]
Kind = Literal["query", "passage"]


class Encoder(Protocol):
    """A loaded model. `encode` blocks, and is called by two threads at most."""

    model: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors: ...


class Embedder(Protocol):
    """What the rest of the pipeline sees of a model."""

    model: str
    dimension: int

    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors: ...

    async def close(self) -> None: ...


class EmbedderClosed(RuntimeError):
    """The embedder was closed before or while the texts waited."""


class BatchingEmbedder:
    """Embedder over an Encoder. Belongs to one event loop."""

    def __init__(self, encoder: Encoder, *, batch_size: int = 32) -> None:
        self.model = encoder.model
        self.dimension = encoder.dimension
        self._lanes: dict[Kind, _Lane] = {
            "query": _Lane("embed-query", encoder.encode, batch_size),
            "passage": _Lane("embed-passage", encoder.encode, batch_size),
        }

    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        """Float32 (len(texts), dimension), rows of length one, in the order of `texts`.

        Raises EmbedderClosed, or whatever the model raised for the batch that held one of the texts.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.stack(await self._lanes[kind].encode(texts))

    async def close(self) -> None:
        """Refuse new texts, fail the waiting ones, and wait for the batches under way. May be repeated."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))


@dataclass(slots=True)
class _Waiting:
    text: str
    vector: asyncio.Future[Vectors]


class _Lane:
    def __init__(self, name: str, encode: Callable[[Sequence[str]], Vectors], batch_size: int) -> None:
        self._encode = encode
        self._batch_size = batch_size
        self._queue: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def encode(self, texts: Sequence[str]) -> list[Vectors]:
        if self._closed:
            raise EmbedderClosed("the embedder is closed")
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(text, loop.create_future()) for text in texts]
        self._queue.extend(waiting)
        if self._running is None:
            self._running = loop.create_task(self._drain())
        try:
            return await asyncio.gather(*(item.vector for item in waiting))
        finally:
            for item in waiting:  # one failed or the caller left: nobody reads the others
                item.vector.cancel()

    async def close(self) -> None:
        self._closed = True
        while self._queue:
            _settle(self._queue.popleft(), EmbedderClosed("the embedder was closed"))
        if self._running is not None:
            await self._running
        self._thread.shutdown(wait=False)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                try:
                    vectors = await loop.run_in_executor(self._thread, self._encode, [i.text for i in batch])
                    for item, vector in zip(batch, vectors, strict=True):
                        _settle(item, vector)
                except Exception as error:
                    for item in batch:
                        _settle(item, error)
        finally:
            self._running = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queue and len(batch) < self._batch_size:
            item = self._queue.popleft()
            if not item.vector.done():
                batch.append(item)
        return batch


def _settle(item: _Waiting, outcome: Vectors | Exception) -> None:
    if item.vector.done():
        return
    if isinstance(outcome, Exception):
        item.vector.set_exception(outcome)
    else:
        item.vector.set_result(outcome)


def open_embedder(
    model: str,
    directory: Path,
    *,
    batch_size: int = 32,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> BatchingEmbedder:
    """Load `model` and put it behind a BatchingEmbedder. Blocks for up to seconds: call it in a thread.

    all-MiniLM-L6-v2 (also under its name on the hub) runs on ONNX Runtime, with its graph kept in `directory`;
    any other name or folder goes to sentence-transformers. `threads` bounds the threads of one encoding, by
    default two or the number of processors if that is less. Raises ModelError.
    """
    threads = threads or min(2, os.cpu_count() or 1)
    if model.removeprefix("sentence-transformers/") == MODEL:
        from pipeline.embedding.onnx_backend import OnnxModel

        return BatchingEmbedder(OnnxModel(directory, precision=precision, threads=threads), batch_size=batch_size)
    from pipeline.embedding.st_backend import SentenceTransformerModel

    return BatchingEmbedder(SentenceTransformerModel(model, threads=threads), batch_size=batch_size)
