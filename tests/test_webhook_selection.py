"""What bulk work may be about: ranges of time, filters, and the bounds they make on ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvalidRequest
from kernel.ids import new_id
from webhooks.selection import MAX_IDS, floor_id, recover, replay_missing, resend

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TIMES = st.datetimes(
    datetime(1970, 1, 2),
    datetime(9000, 1, 1),
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)


def refused(**fields: Any) -> set[str]:
    with pytest.raises(InvalidRequest) as refusal:
        resend(NOW, **fields)
    return {detail["field"] for detail in refusal.value.details}


def test_case_12_recover_with_a_start_older_than_14_days_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="since: at most 14 days back") as refusal:
        recover(NOW, "wh_1", NOW - timedelta(days=14, milliseconds=1))
    assert refusal.value.status == 422
    assert recover(NOW, "wh_1", NOW - timedelta(days=14)).since == NOW - timedelta(days=14)


def test_what_lies_ahead_is_refused_and_an_end_that_lies_ahead_is_now() -> None:
    ahead = NOW + timedelta(seconds=1)
    for refused_by in (recover, replay_missing):
        with pytest.raises(InvalidRequest, match="since: this lies in the future"):
            refused_by(NOW, "wh_1", ahead)
    assert replay_missing(NOW, "wh_1", NOW - timedelta(days=20), ahead).until == NOW
    with pytest.raises(InvalidRequest, match="since: at most 7 days back: older events are not kept"):
        replay_missing(NOW, "wh_1", NOW - timedelta(days=7, seconds=1), keep_days=7)
    assert replay_missing(NOW, "wh_1", NOW - timedelta(days=7), keep_days=7).filter()["keep_days"] == 7
    assert resend(NOW, webhook_id="wh_1", until=ahead).until == NOW
    with pytest.raises(InvalidRequest, match="until: this is not after"):
        replay_missing(NOW, "wh_1", NOW - timedelta(days=1), NOW - timedelta(days=1))


def test_a_filter_says_what_it_is_about() -> None:
    assert refused() == {"filter"}
    assert refused(status="delivered", event_type="chat.*", error_code="timeout") == {"filter"}
    assert refused(webhook_id="wh_1", status="leased") == {"status"}
    assert refused(webhook_id="wh_1", event_type="nothing.such") == {"event_type"}
    assert refused(webhook_id="wh_1", error_code="'; --") == {"error_code"}
    assert refused(delivery_ids=["dlv_1"]) == {"delivery_ids"}
    assert refused(delivery_ids=[new_id("dlv")] * (MAX_IDS + 1)) == {"delivery_ids"}
    assert refused(since=NOW, until=NOW, status="x") == {"until", "status"}


def test_what_was_given_up_is_meant_unless_a_status_is_named() -> None:
    assert resend(NOW, webhook_id="wh_1").statuses == ("exhausted",)
    assert resend(NOW, webhook_id="wh_1", status="delivered").statuses == ("delivered",)
    wanted = [new_id("dlv"), new_id("dlv")]
    chosen = resend(NOW, delivery_ids=[*wanted, wanted[0]])
    assert chosen.delivery_ids == tuple(wanted)
    assert "exhausted" in chosen.statuses
    assert "delivered" in chosen.statuses


def test_a_filter_is_kept_without_what_does_not_narrow_it() -> None:
    chosen = resend(NOW, since=NOW - timedelta(hours=1), event_type="chat.*")
    assert chosen.filter() == {
        "since": "2026-11-25T11:00:00.000Z",
        "until": "2026-11-25T12:00:00.000Z",
        "from": floor_id("evt", NOW - timedelta(hours=1)),
        "to": floor_id("evt", NOW),
        "statuses": ["exhausted"],
        "event_type": "chat.*",
    }


def test_times_that_no_calendar_holds_are_taken() -> None:
    for hours in (-14, 14):
        earliest = datetime.min.replace(tzinfo=timezone(timedelta(hours=hours)))
        kept = resend(NOW, since=earliest).filter()
        assert (kept["since"], kept["from"]) == ("1970-01-01T00:00:00.000Z", "evt_000000000000")
        latest = datetime.max.replace(tzinfo=timezone(timedelta(hours=hours)))
        assert resend(NOW, webhook_id="wh_1", until=latest).until == NOW


@given(TIMES, TIMES)
def test_bounds_sort_as_times_do(one: datetime, other: datetime) -> None:
    first, second = sorted((one, other))
    assert floor_id("evt", first) <= floor_id("evt", second)
    if second - first >= timedelta(milliseconds=1):
        assert floor_id("evt", first) < floor_id("evt", second)
    assert len(floor_id("evt", one)) == len("evt_") + 12


def test_a_bound_lies_between_the_ids_before_and_after() -> None:
    before = new_id("evt")
    bound = floor_id("evt", datetime.now(UTC) + timedelta(milliseconds=1))
    assert before < bound < f"evt_{int(bound[4:], 16):012x}{0:020x}"
    assert floor_id("evt", datetime.now(UTC) - timedelta(hours=1)) < before
