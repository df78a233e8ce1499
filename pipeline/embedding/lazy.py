"""A model that loads when it is first needed, so that a process is up before its model is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pipeline.embedding.batcher import BatchingEmbedder, Kind, Vectors


class LazyEmbedder:
    """Loads in a thread at the first `embed` or `warm`; concurrent callers share one load, a failed one is retried."""

    def __init__(self, model: str, load: Callable[[], BatchingEmbedder]) -> None:
        self.model = model
        self._load = load
        self._loading: asyncio.Task[BatchingEmbedder] | None = None

    async def warm(self) -> BatchingEmbedder:
        """The loaded model. Raises ModelError."""
        loading = self._loading
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception())):
            loading = self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(loading)

    @property
    def loaded(self) -> bool:
        return self._loading is not None and self._loading.done()

    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors:
        return await (await self.warm()).embed(texts, kind=kind)

    async def close(self) -> None:
        if self._loading:
            outcome = (await asyncio.gather(self._loading, return_exceptions=True))[0]
            if isinstance(outcome, BatchingEmbedder):
                await outcome.close()
