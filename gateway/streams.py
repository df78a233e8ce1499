"""Streams of conversations: however many are open, one statement a second asks for all of them whether there is news.

A stream that is woken (by that, or at once by a turn in this process) fetches its messages through a batch shared with
the others. So an idle stream costs its connection, a queue and a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import asyncpg

from gateway.auth import Auth, Caller
from gateway.hub import Hub
from kernel import log
from kernel.batcher import NaturalBatcher
from kernel.db import AWAY, Database, row_fault
from kernel.errors import Unavailable
from kernel.types import Json
from pipeline import conversations
from pipeline.conversations import Reading
from pipeline.turns import Place

_log = log.get("streams")

_EVERY = 1.0
_MOST = 10_000
_TOGETHER = 2_000
_AT_ONCE = 100

News = Literal["news", "beat", "end"]


class Reader:
    """One open stream: what it has seen, and the queue that wakes it."""

    __slots__ = ("caller", "queue", "reading", "woken")

    def __init__(self, caller: Caller, reading: Reading, queue: asyncio.Queue[Json]) -> None:
        self.caller = caller
        self.reading = reading
        self.queue = queue
        self.woken = False

    def wake(self, why: str = "news") -> None:
        if not self.woken or why == "end":
            self.woken = True
            if self.queue.full():
                self.queue.get_nowait()
            self.queue.put_nowait({"type": why})

    async def wait(self, seconds: float) -> News:
        """Until there may be something new, until the stream has to end, or for `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    kinds = {(await self.queue.get())["type"]}
                    while not self.queue.empty():
                        kinds.add(self.queue.get_nowait()["type"])
                    if "end" in kinds:
                        return "end"
                    if kinds & {"news", "opened", "finished"}:
                        self.woken = False
                        return "news"
        except TimeoutError:
            return "beat"


class Streams:
    """The open streams of this process. `run` has to be running while there are any."""

    def __init__(self, database: Database, hub: Hub, auth: Auth) -> None:
        self._database = database
        self._hub = hub
        self._auth = auth
        self._open: set[Reader] = set()
        self._closing = False
        self._reads: NaturalBatcher[Reading, list[Json]] = NaturalBatcher(self._read, splits=row_fault, limit=500)

    @contextmanager
    def reader(self, caller: Caller, place: Place, reading: Reading) -> Iterator[Reader]:
        """Raises Unavailable when there are too many streams or the gateway is stopping."""
        if self._closing or len(self._open) >= _MOST:
            raise Unavailable("no more streams at the moment", retry_after=5.0, code="overloaded")
        with self._hub.listen(place) as queue:
            reader = Reader(caller, reading, queue)
            self._open.add(reader)
            try:
                yield reader
            finally:
                self._open.discard(reader)

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
        for caller in {reader.caller for reader in readers}:
            if not await self._auth.in_force(caller):
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
