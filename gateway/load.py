"""How many API requests are in flight: above the limit they are shed at once, with a word on when to come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kernel.errors import Unavailable

_COME_BACK = 1.0  # seconds


class Load:
    """Counts requests in flight. Health, metrics, platforms and open streams are not counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.running = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Raises Unavailable when this request is one too many."""
        if self.running >= self._most:
            raise Unavailable("the gateway is busy", retry_after=_COME_BACK, code="overloaded")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
