"""A relay between a worker and Postgres that knows a claim and a record when it sees one, and can cut either.

Reads the frontend/backend protocol just far enough: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

_CALLS = {b"claim_deliveries": "claim", b"record_deliveries": "record"}
_TOKEN = re.compile(rb"[0-9a-f]{24}")
_LIMIT = 1 << 24


class Watch(Protocol):
    """Each is asked before something is handed on; False cuts the connection in its place."""

    async def claimed(self, worker: str, rows: int) -> bool:
        """Rows were leased, and the worker does not know it yet."""
        ...

    async def recording(self, worker: str) -> bool:
        """The worker wants to note what came of some tries."""
        ...

    async def recorded(self, worker: str) -> bool:
        """They are noted, and the worker does not know it yet."""
        ...


class Messages:
    """Cuts a stream into (kind, payload, message as it stood on the wire)."""

    def __init__(self, *, startup: bool = False) -> None:
        self._held = b""
        self._startup = startup  # the first one has no kind

    def feed(self, data: bytes) -> list[tuple[bytes, bytes, bytes]]:
        self._held += data
        found: list[tuple[bytes, bytes, bytes]] = []
        while True:
            at = 0 if self._startup else 1
            if len(self._held) < at + 4:
                return found
            (size,) = struct.unpack_from("!i", self._held, at)
            if len(self._held) < at + size:
                return found
            whole, self._held = self._held[: at + size], self._held[at + size :]
            found.append((whole[:at], whole[at + 4 :], whole))
            self._startup = False


class Relay:
    """One worker's way to Postgres. `tokens` are those of its latest claims, `claiming` counts the connections on which
    it makes them: without any it is not at work."""

    def __init__(self, worker: str, watch: Watch, upstream: Path) -> None:
        self.tokens: deque[str] = deque(maxlen=1_000)
        self.claiming = 0
        self._worker = worker
        self._watch = watch
        self._upstream = upstream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side goes."""
        try:
            there, back = await asyncio.open_unix_connection(self._upstream, limit=_LIMIT)
        except OSError:
            writer.close()
            return
        line = _Line(self, self._worker, self._watch)
        ways = [
            asyncio.ensure_future(_copy(reader, back, Messages(startup=True), line.asked)),
            asyncio.ensure_future(_copy(there, writer, Messages(), line.told)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.claiming -= line.claims
            for end in (writer, back):
                end.transport.abort()


class _Line:
    """What a connection is about at the moment."""

    def __init__(self, relay: Relay, worker: str, watch: Watch) -> None:
        self._relay = relay
        self._worker = worker
        self._watch = watch
        self._statements: dict[bytes, str] = {}
        self._call = ""
        self._rows = 0
        self.claims = False

    async def asked(self, kind: bytes, payload: bytes) -> bool:
        if kind == b"P":
            name, sql, _ = payload.split(b"\0", 2)
            self._statements[name] = next((call for function, call in _CALLS.items() if function in sql), "")
        elif kind == b"B":
            _, name, rest = payload.split(b"\0", 2)
            self._call, self._rows = self._statements.get(name, ""), 0
            if self._call == "claim":
                self._relay.claiming += not self.claims
                self.claims = True
                self._relay.tokens.extend(token.decode() for token in _TOKEN.findall(rest))
            elif self._call == "record":
                return await self._watch.recording(self._worker)
        return True

    async def told(self, kind: bytes, _: bytes) -> bool:
        if kind == b"D":
            self._rows += 1
        elif kind == b"Z" and self._call:
            call, self._call = self._call, ""
            if call == "record":
                return await self._watch.recorded(self._worker)
            if self._rows:
                return await self._watch.claimed(self._worker, self._rows)
        return True


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter, messages: Messages, ask: object) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            ready = b""
            for kind, payload, whole in messages.feed(data):
                if not await ask(kind, payload):  # type: ignore[operator]
                    return
                ready += whole
            to.write(ready)
            await to.drain()


@asynccontextmanager
async def relaying(relay: Relay, path: Path) -> AsyncIterator[None]:
    """Listens on a Unix socket for as long as the block lasts."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(accept, path, limit=_LIMIT)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
