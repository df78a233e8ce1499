"""A fault injector between a client and a Unix-socket server: it can swallow answers and cut every connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Proxy:
    """Forwards TCP to a Unix socket. While `mute`, the server's answers are thrown away."""

    def __init__(self, target: Path) -> None:
        self.mute = False
        self.refusing = False
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Resets every connection, now."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, up_writer}
        pumps = {
            asyncio.create_task(self._pump(reader, up_writer, answers=False)),
            asyncio.create_task(self._pump(up_reader, writer, answers=True)),
        }
        self._tasks |= pumps
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, up_writer):
            end.transport.abort()
            self._writers.discard(end)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks -= pumps

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not (answers and self.mute):
                    writer.write(data)
                    await writer.drain()


@asynccontextmanager
async def proxy(target: Path) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy on a free port of loopback: the proxy and its port."""
    fault = Proxy(target)
    server = await asyncio.start_server(fault.serve, "127.0.0.1", 0)
    try:
        yield fault, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        fault.cut()
        await asyncio.sleep(0.05)
