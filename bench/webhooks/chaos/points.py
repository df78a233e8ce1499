"""Kill points: a worker is killed at a chosen moment of a delivery, seen from the wire on both of its sides."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import psutil  # type: ignore[import-untyped]

from bench.webhooks.chaos.stand import Run

CLAIMED = "claimed, and not yet sent"
SENDING = "being sent, and not yet answered"
ANSWERED = "answered, and not yet recorded"
RECORDED = "recorded, and not yet told"
POINTS = (CLAIMED, SENDING, ANSWERED, RECORDED)


class Points:
    """Watches workers and receivers. `hits` counts kills by point."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.hits: Counter[str] = Counter()
        self._wanted = ""
        self._struck = asyncio.Event()
        self._killing: asyncio.Task[bool] | None = None

    @property
    def complete(self) -> bool:
        """Whether every point was hit."""
        return all(self.hits[point] for point in POINTS)

    async def strike(self, patience: float) -> bool:
        """Waits for the first chance at the point that was hit least. False when none came in so many seconds."""
        self._struck.clear()
        self._wanted = min(POINTS, key=lambda point: self.hits[point])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._struck.wait()
        self._wanted = ""
        if self._killing is not None:
            await self._killing
        return self._struck.is_set()

    async def _at(self, point: str, worker: str) -> bool:
        """Kills if this is the moment that is waited for. True when all is as it was."""
        if self.run is None or self._wanted != point:
            return True
        self._wanted = ""
        # A task of its own: the connection whose relay asks ends with the worker.
        self._killing = asyncio.create_task(self._kill(point, worker))
        return not await asyncio.shield(self._killing)

    async def _kill(self, point: str, worker: str) -> bool:
        assert self.run is not None
        hit = await self.run.slay(worker, f"kill -9: {point}")
        self.hits[point] += hit
        self._struck.set()
        return hit

    async def claimed(self, worker: str, rows: int) -> bool:
        return await self._at(CLAIMED, worker)

    async def recording(self, worker: str) -> bool:
        return await self._at(ANSWERED, worker)

    async def recorded(self, worker: str) -> bool:
        return await self._at(RECORDED, worker)

    async def arrived(self, port: int) -> None:
        """A request came from this port of this machine."""
        if self.run is not None and self._wanted == SENDING and (worker := self._owner(port)):
            await self._at(SENDING, worker)

    def _owner(self, port: int) -> str:
        assert self.run is not None
        for worker in self.run.workers:
            pid = self.run.pid(worker)
            with contextlib.suppress(psutil.Error):
                if pid and any(line.laddr.port == port for line in psutil.Process(pid).net_connections("tcp")):
                    return worker
        return ""
