"""A gateway session: its events in order, kept for a resume (https://docs.discord.com/developers/events/gateway)."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    body: bytes


@dataclass(eq=False, slots=True)
class Session:
    """`sent`: the last sequence number that went down the wire. `detached`: monotonic seconds since when it has no
    socket, None while it has one. `orders`: what a fault wants done to the socket, as (kind, code).
    `cut_off`: ends the socket that speaks for it, when another one takes over."""

    id: str
    bot: int
    intents: int
    root: str
    seq: int = 0
    sent: int = 0
    detached: float | None = None
    kept: deque[Event] = field(default_factory=deque)
    orders: deque[tuple[str, int]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    cut_off: Callable[[], None] | None = None

    @property
    def attached(self) -> bool:
        return self.cut_off is not None

    def push(self, name: str, data: bytes, keep: int) -> None:
        """Add an event, its data encoded; at most `keep` are kept for a resume."""
        self.seq += 1
        self.kept.append(Event(self.seq, b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), self.seq, data)))
        while len(self.kept) > keep and self.kept[0].seq <= self.sent:
            self.kept.popleft()
        self.wake.set()

    def order(self, kind: str, code: int) -> None:
        self.orders.append((kind, code))
        self.wake.set()

    def unsent(self) -> list[Event]:
        return list(islice(reversed(self.kept), self.seq - self.sent))[::-1]

    def rewind(self, seq: int) -> bool:
        """Go back to what a client says it has; False when that is not kept any more."""
        if not 0 <= seq <= self.seq or (self.kept and self.kept[0].seq > seq + 1) or (not self.kept and seq < self.seq):
            return False
        self.sent = seq
        return True
