"""A receiver in a process of its own, lean enough not to be what is measured: `python -m bench.webhooks.sink`.

    /hook    200 at once
    /timed   200 at once, and noted with the time
    /slow    noted, 200 after 50 ms
    /flaky   noted; 500 to the first try of every third event, else 200
    /dead    taken and never answered

`GET /arrivals` tells what was noted since it was asked last, `GET /count` how many requests came in all.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import aiohttp
import uvloop

SLOW = 0.05
_EVENT = re.compile(rb"(?i)\r\nwebhook-id: *(\w+)")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_FAILED = b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\noops"


class Arrival(NamedTuple):
    """`at` is epoch seconds, `try_` counts from 1."""

    path: str
    event_id: str
    at: float
    try_: int


class _Notes:
    def __init__(self) -> None:
        self.requests = 0
        self.arrivals: list[tuple[str, str, float, int]] = []
        self.tries: Counter[tuple[str, str]] = Counter()

    def note(self, path: str, head: bytes) -> int:
        found = _EVENT.search(head)
        event_id = found[1].decode() if found else ""
        self.tries[path, event_id] += 1
        self.arrivals.append((path, event_id, time.time(), self.tries[path, event_id]))
        return self.tries[path, event_id]

    def take(self) -> bytes:
        taken, self.arrivals = self.arrivals, []
        return json.dumps(taken).encode()


class _Receiver(asyncio.Protocol):
    def __init__(self, notes: _Notes) -> None:
        self._notes = notes
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            low = head.lower()
            size = int(low.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in low else 0
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._answer(head.split(b" ", 2)[1].decode(), head)

    def _answer(self, path: str, head: bytes) -> None:
        kind = path.split("/", 2)[1]
        if kind in ("arrivals", "count"):
            body = self._notes.take() if kind == "arrivals" else str(self._notes.requests).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        self._notes.requests += 1
        if kind == "hook":
            self._transport.write(_OK)
        elif kind == "timed":
            self._notes.note(path, head)
            self._transport.write(_OK)
        elif kind == "slow":
            self._notes.note(path, head)
            asyncio.get_running_loop().call_later(SLOW, self._transport.write, _OK)
        elif kind == "flaky":
            fails = self._notes.note(path, head) == 1 and fated(self._notes.arrivals[-1][1])
            self._transport.write(_FAILED if fails else _OK)


def fated(event_id: str) -> bool:
    """Whether the first try of this event fails at /flaky."""
    return zlib.crc32(event_id.encode()) % 3 == 0


async def _serve() -> None:
    notes, loop = _Notes(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Receiver(notes), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True, slots=True)
class Sink:
    url: str
    _http: aiohttp.ClientSession

    async def arrivals(self) -> list[Arrival]:
        """What came since the last call."""
        return [Arrival(*one) for one in await self._get("arrivals")]

    async def count(self) -> int:
        return int(await self._get("count"))

    async def _get(self, what: str) -> Any:
        async with self._http.get(f"{self.url}/{what}") as response:
            return json.loads(await response.read())


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """Runs it for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout and process.stdin
    try:
        async with aiohttp.ClientSession() as http:
            yield Sink((await process.stdout.readline()).decode().strip(), http)
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
