"""Events are committed in order within a channel, many channels at once, and no more than the memory should hold."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from kernel.types import Json

Commit = Callable[[Json], Awaitable[None]]


class Lanes:
    """`put` never blocks; `room` waits while too much is queued. The first failure of `commit` ends `failed`."""

    def __init__(self, commit: Commit, *, at_once: int = 32, most: int = 5000) -> None:
        self._commit = commit
        self._at_once = asyncio.Semaphore(at_once)
        self._most = most
        self._queued = 0
        self._room = asyncio.Event()
        self._room.set()
        self._lanes: dict[str, deque[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, lane: str, update: Json) -> None:
        self._queued += 1
        if self._queued >= self._most:
            self._room.clear()
        waiting = self._lanes.get(lane)
        if waiting is not None:
            waiting.append(update)
            return
        self._lanes[lane] = deque((update,))
        task = asyncio.create_task(self._drive(lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def room(self) -> None:
        await self._room.wait()

    async def close(self, patience: float) -> None:
        """Commits what is queued, for at most `patience` seconds."""
        if self._tasks and not self.failed.done():
            await asyncio.wait(self._tasks, timeout=patience)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self.failed.cancel() and not self.failed.cancelled():
            self.failed.exception()  # looked at, whether or not it was what ended the listening

    async def _drive(self, lane: str) -> None:
        waiting = self._lanes[lane]
        try:
            while waiting:
                async with self._at_once:
                    await self._commit(waiting[0])
                waiting.popleft()
                self._queued -= 1
                if self._queued < self._most:
                    self._room.set()
            del self._lanes[lane]
        except Exception as error:
            if not self.failed.done():
                self.failed.set_exception(error)
