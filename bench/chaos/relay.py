"""A relay for HTTP/1.1, with WebSockets and event streams, that lets whoever watches cut it at any point.

Fault runs put one in front of the gateways, where it spreads the platforms' calls over them, and one behind each of
them, on its way to the platforms. So whoever watches knows which process every request belongs to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from bench.chaos.frames import Frames, unpacking

WHOLE = -1  # all of an answer is handed back
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_EVENTS = re.compile(rb"(?i)\r\ncontent-type: *text/event-stream")
_LIMIT = 1 << 24
_BROKEN = (OSError, EOFError, asyncio.LimitOverrunError, ValueError)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Exchange:
    """One request and its answer. `gateway` is the process it belongs to, `outward` whether that one asked; `tag` is
    for whoever watches."""

    gateway: str
    outward: bool
    method: str
    path: str
    head: bytes
    body: bytes
    status: int = 0
    answer: bytes = b""
    tag: str = ""


class Watch(Protocol):
    async def asked(self, exchange: Exchange) -> bool:
        """Before a request is handed on. False: it never arrives, and its connection is cut."""
        ...

    async def answered(self, exchange: Exchange) -> int:
        """Before an answer is handed back: how many of its bytes, WHOLE for all; otherwise the connection is cut."""
        ...

    async def passing(self, exchange: Exchange, piece: bytes, back: bool) -> int:
        """The same for a piece of a stream, or a frame of a socket; `back` to whoever made the request."""
        ...


Pick = Callable[[bytes, bytes], Sequence[tuple[str, int]]]


class Relay:
    """`pick(head, body)` names where a request may go, in order of preference, as (gateway, port)."""

    def __init__(self, watch: Watch, pick: Pick, *, outward: bool) -> None:
        self._watch = watch
        self._pick = pick
        self._outward = outward

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until it or the other side goes."""
        there: dict[int, Stream] = {}
        try:
            while await self._one((reader, writer), there):
                pass
        except _BROKEN:
            pass
        finally:
            for _, other in (*there.values(), (reader, writer)):
                if other.transport:
                    other.transport.abort()

    async def _one(self, client: Stream, there: dict[int, Stream]) -> bool:
        """One exchange. False when the connection is to be cut."""
        reader, writer = client
        head = await reader.readuntil(b"\r\n\r\n")
        body = await _body(reader, head)
        upstream = await self._reach(head, body, there)
        if upstream is None:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return True
        gateway, stream = upstream
        method, path = head.split(b" ", 2)[:2]
        made = Exchange(gateway, self._outward, method.decode(), path.decode(), head, body)
        if not await self._watch.asked(made):
            return False
        stream[1].write(head + body)
        answer = await stream[0].readuntil(b"\r\n\r\n")
        made.status = int(answer[9:12])
        if made.status == 101 or _EVENTS.search(answer):
            return await self._stream(made, client, stream, answer)
        if method != b"HEAD" and made.status not in (204, 304):
            made.answer = await _body(stream[0], answer)
        whole = answer + made.answer
        kept = await self._watch.answered(made)
        writer.write(whole if kept < 0 else whole[:kept])
        await writer.drain()
        return kept < 0

    async def _reach(self, head: bytes, body: bytes, there: dict[int, Stream]) -> tuple[str, Stream] | None:
        for gateway, port in self._pick(head, body):
            known = there.get(port)
            if known and not known[0].at_eof() and not known[1].is_closing():
                return gateway, known
            with suppress(OSError):
                there[port] = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
                return gateway, there[port]
        return None

    async def _stream(self, made: Exchange, client: Stream, stream: Stream, answer: bytes) -> bool:
        if await self._watch.answered(made) >= 0:
            return False
        client[1].write(answer)
        socket = made.status == 101
        unpack = unpacking(made.path) if socket else None
        back = asyncio.ensure_future(self._copy(made, stream[0], client[1], True, Frames(unpack) if socket else None))
        forth = asyncio.ensure_future(self._copy(made, client[0], stream[1], False, Frames() if socket else None))
        try:
            await asyncio.wait((back, forth), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (back, forth):
                task.cancel()
            await asyncio.gather(back, forth, return_exceptions=True)
        return False

    async def _copy(
        self,
        made: Exchange,
        source: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        back: bool,
        frames: Frames | None,
    ) -> None:
        with suppress(*_BROKEN):
            while data := await source.read(1 << 16):
                for piece in frames.feed(data) if frames else [data]:
                    kept = await self._watch.passing(made, piece, back)
                    if kept >= 0:
                        to.write(data[:kept])
                        await to.drain()
                        return
                to.write(data)
                await to.drain()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """A body as it stands on the wire."""
    if found := _LENGTH.search(head):
        return await reader.readexactly(int(found[1]))
    if not _CHUNKED.search(head):
        return b""
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        rest = await reader.readexactly(int(size.split(b";")[0], 16) + 2)
        body += size + rest
        if rest == b"\r\n":
            return body


@asynccontextmanager
async def relaying(relay: Relay, port: int) -> AsyncIterator[None]:
    """Listens on a port of this machine for as long as the block lasts."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=_LIMIT, backlog=1024)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
