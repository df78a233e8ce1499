"""Live events for the page and for load drivers: encoded once, handed to every listener."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from simulators.discord.wire import dump

BACKLOG = 20_000


@dataclass(eq=False, slots=True)
class Listener:
    """A bounded queue of encoded events. `lost` is set when it overflowed: the listener must read the state again."""

    queue: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(BACKLOG))
    lost: bool = False


@dataclass(slots=True)
class Hub:
    listeners: set[Listener] = field(default_factory=set)

    def publish(self, kind: str, /, **fields: Any) -> None:
        if not self.listeners:
            return
        body = dump({"type": kind, **fields})
        for listener in self.listeners:
            if listener.queue.full():
                listener.lost = True
            else:
                listener.queue.put_nowait(body)

    def listen(self) -> Listener:
        listener = Listener()
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
