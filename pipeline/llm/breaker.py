"""A circuit breaker: a provider that keeps failing is left alone for a while, then tried with one call at a time.

Pure: the clock comes in as an argument, in seconds of any steady origin.
"""

from __future__ import annotations

from collections import deque
from typing import Literal


class Breaker:
    """Opens after `limit` failures within `window` seconds, and lets a probe through every `rest` seconds.

    A probe needs no answer: if its caller was cancelled, the next one may go after another `rest`.
    """

    def __init__(self, *, limit: int = 5, window: float = 30.0, rest: float = 10.0) -> None:
        self._limit = limit
        self._window = window
        self._rest = rest
        self._failures: deque[float] = deque()
        self._probe_at: float | None = None

    def state(self, now: float) -> Literal["closed", "open", "half_open"]:
        if self._probe_at is None:
            return "closed"
        return "open" if now < self._probe_at else "half_open"

    def allow(self, now: float) -> bool:
        """Whether a call may be made now. In the half-open state True is given once: this call is the probe."""
        state = self.state(now)
        if state == "half_open":
            self._probe_at = now + self._rest
        return state != "open"

    def succeeded(self) -> None:
        self._failures.clear()
        self._probe_at = None

    def failed(self, now: float) -> None:
        if self._probe_at is not None:
            return
        self._failures.append(now)
        while self._failures[0] <= now - self._window:
            self._failures.popleft()
        if len(self._failures) >= self._limit:
            self._failures.clear()
            self._probe_at = now + self._rest
