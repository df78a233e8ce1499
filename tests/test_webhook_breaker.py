"""When an endpoint is paused, warned of and put out of use: pure, and against a real Postgres."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.breaker import (
    DISABLE_HOURS,
    LONGEST_PAUSE,
    NOTHING,
    PAUSE,
    TRIP_LEAST,
    TRIP_SHARE,
    TRIP_STREAK,
    WARN_HOURS,
    Health,
    Verdict,
    judge,
)

NOW = 1_700_000_000.0
HOUR = 3_600.0


def ill(
    hours: float = 0.0, *, streak: int = 1, succeeded: int = 0, failed: int = 1, open_until: float | None = None,
    opened: int = 0, warned: int = 0,
) -> Health:  # fmt: skip
    return Health(NOW - hours * HOUR, streak, succeeded, failed, open_until, opened, warned)


def test_ten_failures_in_a_row_open_it_for_half_a_minute() -> None:
    assert judge(ill(streak=9), NOW, 0.0) == NOTHING
    assert judge(ill(streak=10), NOW, 0.0) == Verdict(open_until=NOW + 30)
    assert judge(ill(streak=64), NOW, 0.5) == Verdict(open_until=NOW + 33)


@pytest.mark.parametrize(
    ("succeeded", "failed", "opens"), [(6, 14, True), (7, 14, False), (0, 19, False), (0, 20, True), (30, 70, True)]
)
def test_seven_tenths_of_twenty_open_it(succeeded: int, failed: int, opens: bool) -> None:
    verdict = judge(ill(streak=1, succeeded=succeeded, failed=failed), NOW, 0.0)
    assert (verdict.open_until is not None) == opens


def test_a_failed_probe_doubles_the_pause_up_to_ten_minutes() -> None:
    pauses = [judge(ill(streak=10 + n, opened=n, open_until=NOW), NOW, 0.0).open_until for n in range(1, 8)]
    assert pauses == [NOW + seconds for seconds in (60, 120, 240, 480, 600, 600, 600)]


def test_what_was_under_way_when_it_opened_does_not_open_it_again() -> None:
    assert judge(ill(streak=40, opened=1, open_until=NOW + 0.1), NOW, 0.0) == NOTHING
    assert judge(ill(streak=40, opened=1, open_until=NOW), NOW, 0.0).open_until == NOW + 60


@given(
    st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 100),
    st.none() | st.integers(-1_000, 1_000), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_a_pause_begins_when_it_is_due_and_is_never_shorter_than_asked(
    streak: int, succeeded: int, failed: int, opened: int, left: int | None, rand: float
) -> None:
    until = None if left is None else NOW + left
    health = ill(streak=streak, succeeded=succeeded, failed=failed, opened=opened, open_until=until)
    bad = streak >= TRIP_STREAK or (succeeded + failed >= TRIP_LEAST and failed >= TRIP_SHARE * (succeeded + failed))
    began = judge(health, NOW, rand).open_until
    assert (began is not None) == (bad if left is None else left <= 0)
    if began is not None:
        least = min(LONGEST_PAUSE, PAUSE * 2.0 ** min(opened, 62))
        assert least - 1e-3 <= began - NOW <= least * 1.2 + 1e-3


def test_case_60_each_threshold_is_told_once() -> None:
    told = []
    warned = 0
    for hour in range(DISABLE_HOURS):
        verdict = judge(ill(hour, warned=warned), NOW, 0.0)
        if verdict.warned:
            told.append(hour)
            warned = verdict.warned
        assert not verdict.disable
    assert tuple(told) == WARN_HOURS
    assert judge(ill(DISABLE_HOURS, warned=2), NOW, 0.0) == Verdict(disable=True)


def test_a_silent_day_is_told_once_and_by_the_longest_time() -> None:
    assert judge(ill(80, warned=0), NOW, 0.0) == Verdict(warned=2)
    assert judge(ill(80, warned=2), NOW, 0.0) == NOTHING


def test_failures_beside_successes_neither_warn_nor_disable() -> None:
    health = Health(None, 3, 500, 300)
    assert judge(health, NOW, 0.0) == NOTHING
    assert math.isclose(judge(Health(None, 10, 500, 300), NOW, 0.0).open_until or 0, NOW + 30)
