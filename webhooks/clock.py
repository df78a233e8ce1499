"""The database's wall clock, as a worker knows it between two looks.

What is due, leased and warned of is a matter of that clock; so retries, pauses and the times that are signed are
reckoned by it, too. A machine whose own clock is wrong, or stepped, neither hurries nor holds up anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class StoreClock:
    """Epoch seconds by the last look, carried on by the monotonic clock; this machine's own before the first."""

    def __init__(self, here: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._ahead = here() - steady()

    def now(self) -> float:
        return self._steady() + self._ahead

    def set(self, told: float, asked: float) -> None:
        """`told` is what the database said, `asked` when it was asked, on the steady clock."""
        self._ahead = told - (asked + self._steady()) / 2
