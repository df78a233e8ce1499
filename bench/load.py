"""Load from one event loop, lean enough not to be the bottleneck: composed requests on raw connections.

`closed` keeps connections busy, each with one request at a time. `paced` sends at a fixed rate whatever the answers
do, and counts latency from the moment a request was due, so that a slow server cannot hide behind its own slowness.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from bench.process import Program

Compose = Callable[[], bytes]
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(slots=True)
class Cost:
    """What a window of load came to: answers, seconds on the clock and of the server's CPU, seconds of each answer."""

    count: int
    wall: float
    cpu: float
    latencies: list[float] = field(repr=False)
    failures: int = 0

    @property
    def micros(self) -> float:
        """CPU of the server for one request, in microseconds."""
        return self.cpu / max(1, self.count) * 1e6

    @property
    def rate(self) -> float:
        return self.count / self.wall


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST request."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Answers(asyncio.Protocol):
    """One connection. `done(status, connection)` is called for each whole answer."""

    __slots__ = ("_held", "_known", "done", "since", "transport")

    def __init__(self, done: Callable[[int, Answers], None]) -> None:
        self.done = done
        self.since = 0.0
        self.transport: asyncio.Transport
        self._held = b""
        self._known = 0  # length of the last whole answer: most are alike

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.since:
            self.since = 0.0
            self.done(0, self)

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        if len(data) != self._known:
            whole = answer_length(data)
            if whole is None or len(data) < whole:
                self._held = data
                return
            self._known = whole
        self._held = b""
        status = int(data[9:12])
        self.done(status, self)


def answer_length(data: bytes) -> int | None:
    """Length of the HTTP answer that `data` begins with, None while its head is incomplete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    found = _LENGTH.search(data, 0, head)
    return head + 4 + (int(found[1]) if found else 0)


async def connect(
    url: str, done: Callable[[int, Answers], None], count: int, hosts: Iterator[str] | None = None
) -> list[Answers]:
    """`hosts`: the address that each connection comes from."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    assert parts.hostname and parts.port
    made = []
    for _ in range(count):
        source = (next(hosts), 0) if hosts else None
        made.append(await loop.create_connection(lambda: Answers(done), parts.hostname, parts.port, local_addr=source))
    return [protocol for _, protocol in made]


async def closed(
    program: Program,
    compose: Compose,
    *,
    connections: int = 64,
    seconds: float = 1.5,
    warm: float = 0.3,
    hosts: Iterator[str] | None = None,
) -> Cost:
    """`connections` requests in flight all the time; counts from `warm` seconds on."""
    window = Cost(0, 0.0, 0.0, [])
    stopping = False

    def done(status: int, connection: Answers) -> None:
        now = time.perf_counter()
        window.latencies.append(now - connection.since)
        if not 200 <= status < 300:
            window.failures += 1
        if stopping or status == 0:
            connection.since = 0.0
            return
        connection.send(compose(), now)

    pool = await connect(program.url, done, connections, hosts)
    for connection in pool:
        connection.send(compose(), time.perf_counter())
    await asyncio.sleep(warm)
    window.latencies.clear()
    cpu, begun = program.cpu(), time.perf_counter()
    await asyncio.sleep(seconds)
    window.wall, window.cpu, window.count = time.perf_counter() - begun, program.cpu() - cpu, len(window.latencies)
    window.latencies = window.latencies[: window.count]
    stopping = True
    await _idle(pool)
    return window


async def paced(
    program: Program, compose: Compose, *, rate: float, connections: int = 256, seconds: float = 4.0
) -> Cost:
    """`rate` requests a second, in steps of a millisecond, on whichever connection is free."""
    window = Cost(0, 0.0, 0.0, [])
    due: deque[float] = deque()

    def done(status: int, connection: Answers) -> None:
        window.latencies.append(time.perf_counter() - connection.since)
        connection.since = 0.0
        if status != 200:
            window.failures += 1
        if due:
            connection.send(compose(), due.popleft())
        else:
            free.append(connection)

    free = await connect(program.url, done, connections)
    pool = list(free)
    cpu, begun = program.cpu(), time.perf_counter()
    sent = 0
    while (elapsed := time.perf_counter() - begun) < seconds:
        while sent < elapsed * rate:
            due.append(begun + sent / rate)
            sent += 1
        while due and free:
            free.pop().send(compose(), due.popleft())
        await asyncio.sleep(0.001)
    await _idle(pool, due)
    window.wall, window.cpu, window.count = time.perf_counter() - begun, program.cpu() - cpu, len(window.latencies)
    return window


async def _idle(pool: list[Answers], due: deque[float] | None = None) -> None:
    """Waits for answers under way, then hangs up."""
    async with asyncio.timeout(30):
        while due or any(connection.since for connection in pool):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    for connection in pool:
        connection.transport.close()
