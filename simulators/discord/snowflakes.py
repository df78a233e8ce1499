"""Discord's ids: milliseconds since 2015 in the upper bits (https://docs.discord.com/developers/reference#snowflakes)."""

from dataclasses import dataclass

EPOCH_MS = 1_420_070_400_000
FIXED_MS = 1_609_459_200_000  # 2021-01-01: when everything that a seed gives was made


@dataclass(slots=True)
class Snowflakes:
    """Takes ids that carry the time they were taken at and only ever grow."""

    last: int = 0

    def take(self, now: float) -> int:
        """The next id; `now`: Unix seconds."""
        self.last = max(at(now), self.last + 1)
        return self.last


def at(seconds: float) -> int:
    """The least id of a moment."""
    return (int(seconds * 1000) - EPOCH_MS) << 22


def fixed(seed: int, number: int) -> int:
    """The same id in every run with this seed."""
    return ((FIXED_MS - EPOCH_MS + seed) << 22) + number


def when(number: int) -> float:
    """Unix seconds at which an id was made."""
    return ((number >> 22) + EPOCH_MS) / 1000
