"""Who listens to a conversation in this process: streams of pieces, and the news that a turn has ended.

Only a convenience for listeners that are here; whoever must not miss anything reads the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from kernel.types import Json
from pipeline.turns import Place

_MOST = 10_000


class Hub:
    """Fans events of a place out to its listeners."""

    def __init__(self) -> None:
        self._listeners: dict[Place, set[asyncio.Queue[Json]]] = {}

    @contextmanager
    def listen(self, place: Place) -> Iterator[asyncio.Queue[Json]]:
        queue: asyncio.Queue[Json] = asyncio.Queue(_MOST)
        self._listeners.setdefault(place, set()).add(queue)
        try:
            yield queue
        finally:
            self._listeners[place].discard(queue)
            if not self._listeners[place]:
                del self._listeners[place]

    def heard(self, place: Place) -> bool:
        return place in self._listeners

    def tell(self, place: Place, event: Json) -> None:
        for queue in self._listeners.get(place, ()):
            if not queue.full():
                queue.put_nowait(event)
