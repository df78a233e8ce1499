"""What follows for an endpoint when one of its tries has failed: a pause, a warning, its end. Pure.

A breaker that is open pauses an endpoint: nothing of it is tried, so no try is used up. When the pause has passed one
delivery at a time is tried, and one success closes the breaker. Pauses double as long as nothing succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.backoff import exponential

TRIP_STREAK = 10
TRIP_SHARE, TRIP_LEAST, WINDOW = 0.7, 20, 300  # of the tries in so many seconds
PAUSE, LONGEST_PAUSE = 30.0, 600.0
WARN_HOURS = (24, 72)
DISABLE_HOURS = 120


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint fares when one of its tries has just failed. Times are epoch seconds.

    failing_since   the first failure that no success followed or stood beside; None when one did
    streak          failures in a row
    succeeded, failed   tries in the last five minutes, since the breaker closed last
    open_until      the end of its pause; None while the breaker is closed
    opened          pauses since the last success
    warned          how many of WARN_HOURS have been told
    """

    failing_since: float | None
    streak: int
    succeeded: int
    failed: int
    open_until: float | None = None
    opened: int = 0
    warned: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done: a pause until, so many of WARN_HOURS told (0: none more), or put out of use."""

    open_until: float | None = None
    warned: int = 0
    disable: bool = False


NOTHING = Verdict()


def judge(health: Health, now: float, rand: float) -> Verdict:
    """`rand` is in [0, 1); it only ever lengthens a pause."""
    failing = 0.0 if health.failing_since is None else (now - health.failing_since) / 3_600
    if failing >= DISABLE_HOURS:
        return Verdict(disable=True)
    due = sum(failing >= hours for hours in WARN_HOURS)
    return Verdict(
        now + exponential(health.opened + 1, base=PAUSE, cap=LONGEST_PAUSE, rand=rand) if _trips(health, now) else None,
        due if due > health.warned else 0,
    )


def _trips(health: Health, now: float) -> bool:
    if health.open_until is not None:
        return health.open_until <= now  # then it was the probe; before, it was under way when the pause began
    tries = health.succeeded + health.failed
    return health.streak >= TRIP_STREAK or (tries >= TRIP_LEAST and health.failed >= TRIP_SHARE * tries)
