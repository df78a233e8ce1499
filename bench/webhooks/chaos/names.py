"""A name server of a fault run's own, and what asks it in the place of the C library.

Every name under `.test` alternates between an address that must not be called and one that may be; while the server is
silent, nobody can be asked. Source: https://www.rfc-editor.org/rfc/rfc1035#section-4
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

GOOD, BAD = "127.0.0.1", "127.66.0.1"
ALLOWED = "127.0.0.0/16"  # holds GOOD and not BAD
SERVER = "CHAOS_NAMES"
_PATIENCE = 1.0
_A = 1


class Names(asyncio.DatagramProtocol):
    """`honest` ends the flipping, `silent` lets questions go unanswered; `asked` counts them by name, `misled` the
    answers with the forbidden address."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.misled = 0
        self.honest = self.silent = False
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.silent:
            name, _ = read_name(data, 12)
            self._transport.sendto(answer(data, self.addresses(name)), addr)

    def addresses(self, name: str) -> list[str]:
        self.asked[name] += 1
        if self.honest or self.asked[name] % 2 == 0:
            return [GOOD]
        self.misled += 1
        return [BAD]


def question(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return os.urandom(2) + b"\x01\x00" + struct.pack("!4H", 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, _A, 1)


def answer(asked: bytes, addresses: list[str]) -> bytes:
    """With nothing to be remembered: every answer has a time to live of 0."""
    head = asked[:2] + b"\x81\x80" + struct.pack("!4H", 1, len(addresses), 0, 0)
    found = (b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + socket.inet_aton(one) for one in addresses)
    return head + asked[12:] + b"".join(found)


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name that is not abbreviated, and where it ends."""
    labels = []
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels), at + 1


def read_addresses(data: bytes) -> list[str]:
    (count,) = struct.unpack("!H", data[6:8])
    _, at = read_name(data, 12)
    at += 4
    found = []
    for _ in range(count):
        found.append(socket.inet_ntoa(data[at + 12 : at + 16]))
        at += 16
    return found


def asking(port: int) -> Callable[..., list[Any]]:
    """Looks names under `.test` up at the server on this port; leaves others to the C library."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port_: Any, *given: Any, **named: Any) -> list[Any]:
        if not isinstance(host, str) or not host.endswith(".test"):
            return real(host, port_, *given, **named)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(_PATIENCE)
            line.connect(("127.0.0.1", port))
            line.send(question(host))
            try:
                found = read_addresses(line.recv(512))
            except OSError as error:
                raise socket.gaierror(socket.EAI_AGAIN, "no name server answers") from error
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port_)) for one in found]

    return getaddrinfo


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Names, int]]:
    names = Names()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 0))
    try:
        yield names, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@asynccontextmanager
async def trap(port: int) -> AsyncIterator[Counter[str]]:
    """Counts who connects to the forbidden address on this port. Must stay empty."""
    caught: Counter[str] = Counter()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught["connections"] += 1
        writer.close()

    server = await asyncio.start_server(accept, BAD, port)
    try:
        yield caught
    finally:
        server.close()
        with contextlib.suppress(OSError):
            await server.wait_closed()
