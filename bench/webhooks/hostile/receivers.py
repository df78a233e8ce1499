"""Receivers that mean harm, each on a port of its own, in a process of their own:
`python -m bench.webhooks.hostile.receivers`.

Prints the ports by name as JSON. A line with a name on standard input is answered with what that receiver has seen:
connections, and how many bytes one of them got rid of at most, the kernel's buffers on both sides included.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

GIGABYTE = 1 << 30
DRIP = 1.0  # seconds between two bytes of the slow ones
_BLOCK = bytes(1 << 16)
_FOREVER = 3_600.0
_OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Line:
    """One connection, seen from the receiver's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pushed: int = 0

    async def asked(self) -> None:
        """Reads a request, whole."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        await self.reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            self.pushed += len(part)

    async def flood(self, part: bytes = _BLOCK, limit: int = GIGABYTE) -> None:
        """The same again and again, until that many bytes are out or nobody takes them."""
        start = self.pushed
        while self.pushed - start < limit:
            await self.say(part)

    async def drip(self) -> None:
        while True:
            await self.say(b"x")
            await asyncio.sleep(DRIP)

    async def hold(self) -> None:
        await asyncio.sleep(_FOREVER)

    def reset(self) -> None:
        """Hangs up without a goodbye (RST)."""
        line: socket.socket = self.writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


def answers(*parts: bytes, then: Script | None = None) -> Script:
    async def script(line: Line) -> None:
        await line.asked()
        await line.say(*parts)
        if then:
            await then(line)

    return script


def floods(head: bytes, part: bytes = _BLOCK) -> Script:
    return answers(head, then=lambda line: line.flood(part))


def resets(*parts: bytes) -> Script:
    async def cut(line: Line) -> None:
        await asyncio.sleep(0.05)  # what was said is to arrive first
        line.reset()

    return answers(*parts, then=cut)


def _bomb(wbits: int) -> Script:
    """A gigabyte of zeros in about a megabyte. Blocks after a full flush are alike, so one of them is packed once."""
    pack = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = bytes(10_000_000)
    first = pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)
    more = pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)
    body = first + more * 107
    name = b"gzip" if wbits > 15 else b"deflate"
    return answers(_OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (name, len(body)), body)


async def _half_close(line: Line) -> None:
    line.writer.write_eof()
    await line.hold()


async def _silent(line: Line) -> None:
    """Takes the connection and does nothing at all, not even read."""
    line.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await line.hold()


async def _reset_on_accept(line: Line) -> None:
    line.reset()


async def _answer_unasked(line: Line) -> None:
    """Answers before it has read anything."""
    await line.say(_OK + b"Content-Length: 2\r\n\r\nok")
    await line.hold()


async def _answer_in_advance(line: Line) -> None:
    """Sends a second answer along, for a request that has not been made."""
    forged = b"HTTP/1.1 299 Forged\r\nContent-Length: 6\r\n\r\nforged"
    while True:
        await line.asked()
        await line.say(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno" + forged)


async def _garbage(line: Line) -> None:
    await line.flood(b"SSH-2.0-OpenSSH_9.9\r\n")


SCRIPTS: dict[str, Script] = {
    "a gigabyte": floods(_OK + b"Content-Length: %d\r\n\r\n" % GIGABYTE),
    "a gigabyte in chunks": floods(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + _BLOCK + b"\r\n"),
    "a gigabyte of one-byte chunks": floods(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1_000),
    "a body without an end": floods(_OK + b"\r\n"),
    "a gigabyte to a 500": floods(b"HTTP/1.1 500 Oh\r\n\r\n"),
    "a gzip bomb": _bomb(31),
    "a deflate bomb": _bomb(-15),
    "one byte a second": answers(_OK + b"Content-Length: 999\r\n\r\n", then=Line.drip),
    "one byte a second of a head": answers(_OK + b"X-Slow: ", then=Line.drip),
    "nothing at all": answers(then=Line.hold),
    "nothing, and reads nothing": _silent,
    "a status line without an end": floods(b"HTTP/1.1 200 "),
    "a header without an end": floods(_OK + b"X-Long: ", b"x" * 65_536),
    "headers without an end": floods(_OK, b"X-Many: " + b"x" * 1_000 + b"\r\n"),
    "headers of some bytes without an end": floods(_OK, b"a: b\r\n" * 1_000),
    "cookies without an end": floods(_OK, b"Set-Cookie: a=" + b"x" * 4_000 + b"\r\n"),
    "trailers without an end": floods(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Many: " + b"x" * 100 + b"\r\n"
    ),
    "a chunk's size without an end": floods(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65_536),
    "a chunk's extension without an end": floods(_OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
    "100 Continue without an end": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "no HTTP without an end": _garbage,
    "a redirect to itself": answers(b"HTTP/1.1 307 Again\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n"),
    "another protocol": answers(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", then=Line.flood),
    "a negative length": answers(_OK + b"Content-Length: -1\r\n\r\n", then=Line.flood),
    "a length beyond all numbers": answers(_OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", then=Line.flood),
    "two lengths": answers(_OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", then=Line.flood),
    "an answer before the request": _answer_unasked,
    "an answer in advance": _answer_in_advance,
    "half-closed before an answer": answers(then=_half_close),
    "half-closed in a head": answers(_OK + b"X-Half: ", then=_half_close),
    "half-closed in a body": answers(_OK + b"Content-Length: 999\r\n\r\nhalf", then=_half_close),
    "reset when taken": _reset_on_accept,
    "reset before an answer": resets(),
    "reset in the status line": resets(b"HTTP/1.1 2"),
    "reset in a head": resets(_OK + b"X-Half: "),
    "reset in a body": resets(_OK + b"Content-Length: 999\r\n\r\nhalf"),
    "reset in a chunk": resets(_OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf"),
    "reset after an answer": resets(_OK + b"Content-Length: 2\r\n\r\nok"),
    "no TLS where TLS is expected": _silent,
    "garbage where TLS is expected": _garbage,
    "well-behaved": answers(_OK + b"Content-Length: 2\r\n\r\nok"),
}


@dataclass
class Seen:
    connections: int = 0
    pushed: int = 0


async def _listen(script: Script, seen: Seen) -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        line = Line(reader, writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await script(line)
        # What still lies in our own buffer has not left.
        seen.pushed = max(seen.pushed, line.pushed - writer.transport.get_write_buffer_size())
        writer.close()

    made = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    server = await asyncio.start_server(serve, sock=made, limit=1 << 16)
    return int(server.sockets[0].getsockname()[1])


async def main() -> None:
    seen = {name: Seen() for name in SCRIPTS}
    print(json.dumps({name: await _listen(script, seen[name]) for name, script in SCRIPTS.items()}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(vars(seen[line.strip()])), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
