"""Receivers of a fault run: they keep what they take, and fail in every way that a receiver can."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bench.webhooks.chaos.ledger import Ledger
from webhooks.signing import SignatureRefused, verify

TAKE, RESET, LOSE, HANG = "take", "reset", "take, and lose the answer", "hang"


@dataclass(frozen=True, slots=True)
class Mood:
    """How one request is dealt with; anything but a 2xx is not taken."""

    kind: str = TAKE
    status: int = 200
    headers: tuple[str, ...] = ()
    delay: float = 0.0


_ILL = (
    Mood(status=500),
    Mood(status=404),
    Mood(status=503, headers=("Retry-After: 1",)),
    Mood(status=429, headers=("Retry-After: 1",)),
    Mood(RESET),
    Mood(RESET),
    Mood(LOSE),
)


def steady(_: random.Random) -> Mood:
    return Mood()


def slow(rand: random.Random) -> Mood:
    return Mood(delay=rand.uniform(0.02, 0.4))


def mostly_well(rand: random.Random) -> Mood:
    return Mood(status=500) if rand.random() < 0.08 else Mood()


def flapping(rand: random.Random) -> Mood:
    """Ill two times in five, by chance, so that its failures do not come in rows; hangs now and then."""
    ill = rand.random()
    if ill < 0.01:
        return Mood(HANG)
    return rand.choice(_ILL) if ill < 0.4 else Mood(delay=rand.uniform(0, 0.05))


class Receiver:
    """One endpoint. `arrived(port)` is called with the sender's port when a request is there and not answered."""

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        behave: Callable[[random.Random], Mood],
        arrived: Callable[[int], Awaitable[None]],
        rand: random.Random,
        *,
        ordered: bool = False,
    ) -> None:
        self.name = name
        self.secret = ""
        self.well = False  # for the time after the trouble
        self._ledger = ledger
        self._behave = behave
        self._arrived = arrived
        self._rand = rand
        self.ordered = ordered

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. False when the connection is to end."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        await self._arrived(writer.get_extra_info("peername")[1])
        mood = Mood() if self.well else self._behave(self._rand)
        await asyncio.sleep(mood.delay)
        if mood.kind == HANG:
            await reader.read()  # until the sender has had enough
            return False
        if mood.kind == RESET:
            _reset(writer)
            return False
        if mood.status == 200:
            self._take(headers, body)
        if mood.kind == LOSE:
            self._ledger.lost_answers += 1
            _reset(writer)
            return False
        lines = [f"HTTP/1.1 {mood.status} x", *mood.headers, "Content-Length: 0", "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        return True

    def _take(self, headers: dict[str, str], body: bytes) -> None:
        try:
            # By the sender's clock, which the run may have stepped.
            verify([self.secret], headers, body, float(headers["webhook-timestamp"]))
        except (SignatureRefused, KeyError):
            self._ledger.refused["bad signature"] += 1
            return
        event, event_id = json.loads(body), headers["webhook-id"]
        if event["id"] != event_id:
            self._ledger.refused["another id in the body"] += 1
        if self.ordered:
            number = event.get("seq", 0)
            self._ledger.take_in_order(event["data"]["conversation_id"], number, event_id)
            body = body.replace(b'{"seq":%d,' % number, b"{", 1)  # the rest are the bytes of the store
        self._ledger.take(self.name, event_id, body)


def _reset(writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[int]:
    """Yields the port on 127.0.0.1."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1_024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
