"""Discord's ids, which tell when they were made. https://docs.discord.com/developers/reference#snowflakes"""

from __future__ import annotations

_EPOCH_MS = 1_420_070_400_000


def seconds_of(snowflake: str) -> float:
    """When it was made, epoch seconds."""
    return ((int(snowflake) >> 22) + _EPOCH_MS) / 1000


def first_at(seconds: float) -> str:
    """The lowest id that could be made at that time (epoch seconds), to ask for what came after it."""
    return str(max(0, int(seconds * 1000) - _EPOCH_MS) << 22)
