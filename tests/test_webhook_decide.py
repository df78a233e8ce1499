"""The retry schedule and the etiquette towards receivers, with time and randomness given."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.decide import (
    BREATH,
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    SCHEDULE,
    Delivered,
    DisableEndpoint,
    Exhausted,
    RetryAt,
    decide,
    retry_after,
    slow_until,
)
from webhooks.transport import Outcome

NOW = 1_700_000_000.0


def answered(status: int, **headers: str) -> Outcome:
    code = "" if 200 <= status < 300 else "http_status"
    return Outcome(NOW, 5, status, code, "", {name.replace("_", "-"): value for name, value in headers.items()})


def failed(code: str) -> Outcome:
    return Outcome(NOW, 5, None, code)


def test_ten_tries_over_three_days() -> None:
    assert MAX_ATTEMPTS == 10
    assert sum(SCHEDULE) / 3600 == pytest.approx(75.6, abs=0.05)
    waits = [decide(n, answered(500), NOW, 0.0) for n in range(1, 10)]
    assert waits == [RetryAt(NOW + wait) for wait in SCHEDULE]
    assert decide(10, answered(500), NOW, 0.0) == Exhausted()


@given(st.lists(st.integers(1, 86_400), max_size=12))
def test_case_14_tries_are_one_more_than_the_schedule_is_long(schedule: list[int]) -> None:
    decisions = [decide(n, answered(500), NOW, 0.0, schedule) for n in range(1, len(schedule) + 2)]
    assert decisions == [*(RetryAt(NOW + wait) for wait in schedule), Exhausted()]


def test_case_15_an_empty_schedule_is_a_single_try() -> None:
    assert decide(1, answered(500), NOW, 0.0, schedule=()) == Exhausted()
    assert decide(1, failed("blocked_address"), NOW, 0.0, schedule=()) == Exhausted()


@given(attempt=st.integers(1, 9), rand=st.floats(0, 1, exclude_max=True), asked=st.integers(0, 200_000))
def test_case_70_jitter_is_never_earlier_than_asked(attempt: int, rand: float, asked: int) -> None:
    decision = decide(attempt, answered(429, retry_after=str(asked)), NOW, rand)
    least = max(SCHEDULE[attempt - 1], min(asked, LONGEST_WAIT))
    assert isinstance(decision, RetryAt)
    assert NOW + least <= decision.at <= NOW + least * 1.2 + 1e-3


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert decide(1, answered(status), NOW, 0.5) == Delivered()


def test_a_receiver_may_end_its_endpoint_or_one_delivery() -> None:
    assert decide(1, answered(500, webhook_delivery="disable"), NOW, 0.5) == DisableEndpoint("by receiver")
    assert decide(1, answered(200, webhook_delivery=" Disable "), NOW, 0.5) == Delivered("by receiver")
    assert decide(1, answered(400, webhook_delivery="abort-message"), NOW, 0.5) == Exhausted(aborted=True)
    assert decide(1, answered(204, webhook_delivery="abort-message"), NOW, 0.5) == Delivered()
    assert decide(1, answered(410, webhook_delivery="abort-message"), NOW, 0.5) == DisableEndpoint("gone")
    assert decide(1, answered(500, webhook_delivery="keep-going"), NOW, 0.0) == RetryAt(NOW + 5)


def test_only_a_429_slows_the_whole_endpoint() -> None:
    assert slow_until(answered(503, retry_after="60"), NOW, 0.0) is None
    assert slow_until(answered(429, retry_after="60"), NOW, 0.0) == NOW + 60
    assert slow_until(answered(429, retry_after="60"), NOW, 0.5) == pytest.approx(NOW + 66)
    assert slow_until(answered(429), NOW, 0.0) == NOW + BREATH
    assert slow_until(answered(429, retry_after="0"), NOW, 0.0) == NOW + BREATH


def test_gone_disables_at_once() -> None:
    assert decide(1, answered(410), NOW, 0.5) == DisableEndpoint("gone")
    assert decide(10, answered(410), NOW, 0.5) == DisableEndpoint("gone")


@pytest.mark.parametrize("status", [429, 503])
def test_both_polite_statuses_are_heard_and_others_not(status: int) -> None:
    assert decide(1, answered(status, retry_after="120"), NOW, 0.0) == RetryAt(NOW + 120)
    assert decide(1, answered(500, retry_after="120"), NOW, 0.0) == RetryAt(NOW + 5)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("999999999", LONGEST_WAIT),
        (formatdate(NOW + 60, usegmt=True), 60.0),
        (formatdate(NOW - 60, usegmt=True), 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("1e9", 0.0),
        ("NaN", 0.0),
        ("", 0.0),
        ("Thu, 99 Nov 2026 00:00:00 GMT", 0.0),
        ("١٢", 0.0),
    ],
)
def test_case_38_retry_after(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text())
def test_case_38_retry_after_stands_any_junk(header: str) -> None:
    assert 0.0 <= retry_after(header, NOW) <= LONGEST_WAIT


@pytest.mark.parametrize("code", ["blocked_address", "invalid_url"])
def test_faults_of_the_registration_fail_fast(code: str) -> None:
    assert decide(1, failed(code), NOW, 0.0) == RetryAt(NOW + 5)
    assert decide(2, failed(code), NOW, 0.0) == Exhausted()


def test_an_interrupted_try_is_repeated_at_once() -> None:
    assert decide(3, failed("interrupted"), NOW, 0.9) == RetryAt(NOW)
    assert decide(10, failed("interrupted"), NOW, 0.9) == Exhausted()
