"""Streams of conversations: however many are open, one statement a second asks for all of them whether there is news.

A stream that is woken (by that, or at once by a turn in this process) fetches its messages through a batch shared with
the others. So an idle stream costs its connection, a queue and a timer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import asyncpg

from gateway.hub import Hub
from kernel import log
from kernel.batcher import NaturalBatcher
from kernel.db import AWAY, Database, row_fault
from kernel.errors import RateLimited, Unavailable
from kernel.types import Json
from pipeline import conversations
from pipeline.conversations import Reading
from pipeline.turns import Place

_log = log.get("streams")

_EVERY = 1.0
_MOST = 10_000
_TOGETHER = 2_000
_AT_ONCE = 100

News = Literal["news", "live", "beat", "end"]
InForce = Callable[[], Awaitable[bool]]


class Reader:
    """One open stream: what it has seen, and the queue that wakes it. `live` gathers what the hub told of a turn."""

    __slots__ = ("caller", "in_force", "live", "queue", "reading", "woken")

    def __init__(self, caller: Hashable, in_force: InForce, reading: Reading, queue: asyncio.Queue[Json]) -> None:
        self.caller = caller
        self.in_force = in_force
        self.reading = reading
        self.queue = queue
        self.live: list[Json] | None = None
        self.woken = False

    def wake(self, why: str = "news") -> None:
        if not self.woken or why == "end":
            self.woken = True
            if self.queue.full():
                self.queue.get_nowait()
            self.queue.put_nowait({"type": why})

    async def wait(self, seconds: float) -> News:
        """Until there may be something new, until the stream has to end, or for `seconds`. "live": nothing but pieces
        of an answer, which are told only to a reader that has set `live` to a list."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    told = [await self.queue.get()]
                    while not self.queue.empty():
                        told.append(self.queue.get_nowait())
                    kinds = {event["type"] for event in told}
                    if self.live is not None:
                        self.live += told
                    if "end" in kinds:
                        return "end"
                    if kinds & {"news", "opened", "finished"}:
                        self.woken = False
                        return "news"
                    if self.live is not None:
                        return "live"
        except TimeoutError:
            return "beat"


class Streams:
    """The open streams of this process. `run` has to be running while there are any."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._open: set[Reader] = set()
        self._shares: Counter[Hashable] = Counter()
        self._closing = False
        self._reads: NaturalBatcher[Reading, list[Json]] = NaturalBatcher(self._read, splits=row_fault, limit=500)

    @contextmanager
    def reader(
        self,
        caller: Hashable,
        in_force: InForce,
        place: Place,
        reading: Reading,
        shares: Mapping[Hashable, int] | None = None,
    ) -> Iterator[Reader]:
        """`in_force` tells, again and again, whether the caller may still read; `shares` how many streams at once each
        of those named in it may have. Raises Unavailable when there are too many or the gateway is stopping, and
        RateLimited when a share is used up."""
        if self._closing or len(self._open) >= _MOST:
            raise Unavailable("no more streams at the moment", retry_after=5.0, code="overloaded")
        with self._counted(shares or {}), self._hub.listen(place) as queue:
            reader = Reader(caller, in_force, reading, queue)
            self._open.add(reader)
            try:
                yield reader
            finally:
                self._open.discard(reader)

    @contextmanager
    def _counted(self, shares: Mapping[Hashable, int]) -> Iterator[None]:
        if any(self._shares[name] >= most for name, most in shares.items()):
            raise RateLimited("too many streams are open; close one", retry_after=5.0)
        self._shares.update(shares.keys())
        try:
            yield
        finally:
            self._shares.subtract(shares.keys())
            for name in shares:
                if not self._shares[name]:
                    del self._shares[name]

    async def unseen(self, reader: Reader) -> tuple[list[Json], bool]:
        """The next messages for this reader, and whether there may be more at once."""
        found = await self._reads.submit(reader.reading)
        return found, len(found) == _AT_ONCE

    async def run(self) -> None:
        """Looks for news until cancelled. An unreachable database is waited for."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self._look()
            except (*AWAY, asyncpg.PostgresError) as error:
                _log.warning("streams.look_failed", error=type(error).__name__)

    async def _look(self) -> None:
        readers = list(self._open)
        for start in range(0, len(readers), _TOGETHER):
            some = readers[start : start + _TOGETHER]
            async with self._database.anywhere() as conn:
                fresh = await conversations.with_news(conn, [reader.reading for reader in some])
            for n in fresh:
                some[n].wake()
        for caller, in_force in {reader.caller: reader.in_force for reader in readers}.items():
            if not await in_force():
                self._end(reader for reader in readers if reader.caller == caller)

    def close(self) -> None:
        """Ends every stream; clients come back with Last-Event-ID."""
        self._closing = True
        self._end(self._open)

    def _end(self, readers: Iterator[Reader] | set[Reader]) -> None:
        for reader in readers:
            reader.wake("end")

    async def _read(self, readings: Sequence[Reading]) -> list[list[Json]]:
        async with self._database.anywhere() as conn:
            return await conversations.unseen(conn, readings, _AT_ONCE)
