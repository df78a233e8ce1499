"""How long to wait before trying again. Pure: randomness comes in as an argument."""

from collections.abc import Sequence


def exponential(attempt: int, *, base: float, cap: float, rand: float) -> float:
    """Seconds before try `attempt + 1` (attempt counts from 1): full doubling up to `cap`, then 0 to 20 % more.

    The jitter only ever lengthens a delay, so no try comes earlier than asked. `rand` is in [0, 1).
    """
    return jittered(min(cap, base * 2.0 ** min(attempt - 1, 62)), rand)


def scheduled(attempt: int, schedule: Sequence[float], rand: float) -> float | None:
    """The wait after failed try `attempt` by a table of seconds, or None when the table is used up."""
    return jittered(schedule[attempt - 1], rand) if attempt <= len(schedule) else None


def jittered(delay: float, rand: float) -> float:
    return delay * (1.0 + 0.2 * rand)
