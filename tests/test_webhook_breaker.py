"""When an endpoint is paused, warned of and put out of use: pure, and against a real Postgres."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.db import Database
from kernel.events import list_events
from kernel.secrets import KeyRing
from kernel.types import Json
from tests.engine_kit import (
    DOWN,
    OK,
    Receiver,
    add,
    claim,
    emit,
    end_leases,
    log,
    make_due,
    owe_nothing,
    receiving,
    record,
    running,
    sweep,
    until,
)
from webhooks import claims, endpoints, health
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
from webhooks.claims import Claim, Result
from webhooks.decide import Decision, Delivered, DisableEndpoint, Exhausted, RetryAt
from webhooks.transport import OURS, Outcome

Admin: TypeAlias = "asyncpg.Connection[Any]"

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


# Against a real Postgres


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def clean(admin: Admin) -> None:
    await owe_nothing(admin)


async def note(database: Database, *results: tuple[Claim, Outcome, Decision]) -> list[Verdict]:
    """As the recorder does it."""
    assert all(await record(database, *results))
    async with database.anywhere() as conn:
        failed = [Result(*result) for result in results if not (result[1].ok or result[1].ours)]
        return await health.follow_up(conn, failed, time.time(), 0.0)


async def try_next(database: Database, outcome: Outcome = DOWN, count: int = 1) -> list[Verdict]:
    """The next so many tries of the only endpoint come out like this, one after the other."""
    verdicts = []
    for _ in range(count):
        (item,) = await claim(database, cap=1)
        verdicts += await note(database, (item, outcome, Delivered() if outcome.ok else RetryAt(1.0)))
    return verdicts


async def state(admin: Admin, webhook_id: str) -> Json:
    row = await admin.fetchrow("SELECT * FROM webhook_health WHERE webhook_id = $1", webhook_id)
    return dict(row) if row else {}


async def pass_time(admin: Admin, webhook_id: str, hours: float) -> None:
    """As if all that is known of an endpoint lay so much further back."""
    columns = ("failing_since", "last_failed_at", "open_until", "slow_until", "told_at", "probe_at", "closed_at")
    changes = ", ".join(f"{name} = {name} - $2 * interval '1 hour'" for name in columns)
    await admin.execute(f"UPDATE webhook_health SET {changes} WHERE webhook_id = $1", webhook_id, hours)


async def told(database: Database, workspace_id: str, *kinds: str) -> list[tuple[str, Json]]:
    """Events about endpoints and deliveries, oldest first."""
    async with database.workspace(workspace_id) as conn:
        page, _ = await list_events(conn, workspace_id, limit=1_000)
    found = [(event["type"], event["data"]) for event in reversed(page)]
    return [(kind, data) for kind, data in found if kind.startswith(kinds or ("webhook.", "delivery."))]


async def attempts(admin: Admin, workspace_id: str) -> int:
    count: int = await admin.fetchval("SELECT count(*) FROM webhook_attempts WHERE workspace_id = $1", workspace_id)
    return count


@pytest.mark.usefixtures("clean")
async def test_an_open_breaker_uses_up_no_tries(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 40)
    assert await try_next(database, count=9) == []
    (verdict,) = await try_next(database)
    assert verdict.open_until
    assert await claim(database) == []
    assert await attempts(admin, workspace_id) == 10
    async with database.anywhere() as conn:
        left = await claims.next_due(conn)
    assert left and 0 < left <= PAUSE
    assert (await state(admin, webhook_id))["opened"] == 1


@pytest.mark.usefixtures("clean")
async def test_after_the_pause_one_is_tried_and_a_success_closes_it(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 40)
    under_way = await claim(database, 12, 0, 0)
    await note(database, *((item, DOWN, RetryAt(1.0)) for item in under_way[:11]))
    opened = await state(admin, webhook_id)
    await note(database, (under_way[11], DOWN, RetryAt(1.0)))  # it was under way when the pause began
    assert (await state(admin, webhook_id))["open_until"] == opened["open_until"]

    await pass_time(admin, webhook_id, 0.1)
    (probe,) = await claim(database)
    assert await claim(database) == []
    (verdict,) = await note(database, (probe, DOWN, RetryAt(1.0)))
    assert verdict.open_until
    assert 55 < verdict.open_until - time.time() <= 60
    assert await claim(database) == []

    await pass_time(admin, webhook_id, 0.1)
    (probe,) = await claim(database)
    assert await note(database, (probe, OK, Delivered())) == []
    healthy = await state(admin, webhook_id)
    assert (healthy["open_until"], healthy["opened"], healthy["streak"]) == (None, 0, 0)
    assert len(await claim(database)) == 39


@pytest.mark.usefixtures("clean")
async def test_seven_tenths_of_the_last_five_minutes_open_it(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 40)
    assert await try_next(database, count=9) == []
    await try_next(database, OK)
    assert await try_next(database, count=9) == []
    (verdict,) = await try_next(database)
    assert verdict.open_until  # 19 of 20
    await pass_time(admin, webhook_id, 0.1)
    await try_next(database, OK)
    assert await try_next(database) == []  # what was before it closed counts no more
    await admin.execute(
        "UPDATE webhook_minutes SET minute = minute - interval '6 minutes' WHERE webhook_id = $1", webhook_id
    )
    assert await try_next(database, count=8) == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("hours", "ends"), [(119.0, False), (121.0, True), (239.0, True), (241.0, False)])
async def test_case_2_and_3_failures_further_apart_than_five_days_disable_unless_forgotten(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hours: float, ends: bool
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 3)
    await try_next(database)
    await pass_time(admin, webhook_id, hours)
    await try_next(database)
    async with database.workspace(workspace_id) as conn:
        seen = await endpoints.get(conn, workspace_id, webhook_id)
    assert (seen["status"], seen["disabled_reason"]) == (("disabled", "failing") if ends else ("enabled", ""))
    disabled = await told(database, workspace_id, "webhook.disabled")
    assert [data["reason"] for _, data in disabled] == ["failing"] * ends
    assert await claim(database) == [] or not ends


@pytest.mark.usefixtures("clean")
async def test_case_4_a_success_in_between_clears_the_clock(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 4)
    await try_next(database)
    await pass_time(admin, webhook_id, 100)
    await try_next(database, OK)
    assert (await state(admin, webhook_id))["failing_since"] is None
    await try_next(database)
    await pass_time(admin, webhook_id, 23)
    await try_next(database)
    assert await told(database, workspace_id, "webhook.disabled") == []


@pytest.mark.usefixtures("clean")
async def test_case_60_warnings_are_told_once_and_endpoints_stay_apart(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing, admin: Admin
) -> None:
    ill, _ = await add(database, workspace_id, keyring, "https://ill.example/", "user.*")
    well, _ = await add(database, workspace_id, keyring, "https://well.example/", "user.*")
    await emit(database, workspace_id, 12)

    async def round_(failing: str) -> None:
        held = await claim(database, 99, 99, 99, 1)
        await note(
            database,
            *((i, DOWN, RetryAt(1.0)) if i.webhook_id == failing else (i, OK, Delivered()) for i in held),
        )

    for hours in (0, 23, 2, 30, 20, 1):  # fails at 0, 23, 25, 55, 75 and 76 hours
        await pass_time(admin, ill, hours)
        await round_(ill)
    warned = await told(database, workspace_id, "webhook.warned")
    assert [(data["webhook_id"], data["hours"], data["url"]) for _, data in warned] == [
        (ill, 24, "https://ill.example/"),
        (ill, 72, "https://ill.example/"),
    ]
    assert warned[0][1]["failing_since"] < warned[0][1]["disable_at"]
    assert await told(database, workspace_id, "webhook.recovered") == []
    await round_("")
    ((_, recovered),) = await told(database, workspace_id, "webhook.recovered")
    assert (recovered["webhook_id"], recovered["failing_since"] <= warned[1][1]["failing_since"]) == (ill, True)
    await round_(ill)
    await pass_time(admin, ill, 25)
    await round_(ill)
    assert len(await told(database, workspace_id, "webhook.warned")) == 3
    assert await state(admin, well) == {}
    assert await told(database, second_workspace) == []


@pytest.mark.usefixtures("clean")
async def test_case_68_those_who_decide_at_once_tell_once(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 12)
    held = await claim(database)
    await record(database, *((item, DOWN, RetryAt(1.0)) for item in held))

    async def decide_now() -> None:
        async with database.anywhere() as conn:
            await health.follow_up(conn, [Result(held[0], DOWN, RetryAt(1.0))], time.time(), 0.0)

    for hours in (80, 50):
        await pass_time(admin, webhook_id, hours)
        await asyncio.gather(*(decide_now() for _ in range(6)))
        assert (await state(admin, webhook_id))["opened"] == 1
    assert [kind for kind, _ in await told(database, workspace_id)] == ["webhook.warned", "webhook.disabled"]


@pytest.mark.usefixtures("clean")
async def test_case_39_failing_then_exhausted_with_their_ids(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 2)
    for attempt in range(1, 5):
        held = await claim(database)
        await note(database, *((item, DOWN, RetryAt(1.0)) for item in held))
        assert len(await told(database, workspace_id)) == (attempt == 4)
    ((kind, data),) = await told(database, workspace_id)
    assert (kind, data["attempts"], data["status_code"], data["error_code"]) == (
        "webhook.failing", 4, 500, "http_status",
    )  # fmt: skip
    assert data["next_attempt_at"] == "1970-01-01T00:00:01.000Z"
    held = await claim(database)
    silent = Outcome(1.0, 15_000, None, "timeout")
    await note(database, *((item, silent, Exhausted()) for item in held))
    exhausted = [data for _, data in await told(database, workspace_id, "delivery.exhausted")]
    assert {(d["delivery_id"], d["event_id"]) for d in exhausted} == {(i.delivery_id, i.event_id) for i in held}
    assert {
        (d["webhook_id"], d["event_type"], d["attempts"], d["status_code"], d["error_code"]) for d in exhausted
    } == {(webhook_id, "user.created", 5, None, "timeout")}
    assert len(await told(database, workspace_id, "webhook.failing")) == 1


@pytest.mark.usefixtures("clean")
async def test_a_lost_last_try_is_told_as_exhausted(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*", schedule=[])
    await emit(database, workspace_id)
    (held,) = await claim(database)
    await end_leases(admin, workspace_id)
    assert await sweep(database) == 1
    ((kind, data),) = await told(database, workspace_id)
    assert (kind, data["delivery_id"], data["error_code"]) == (
        "delivery.exhausted",
        held.delivery_id,
        "unknown_outcome",
    )


@pytest.mark.usefixtures("clean")
async def test_nothing_is_told_of_what_was_told(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    """Two endpoints that are down and hear of each other would go on for ever."""
    for name in "ab":
        await add(database, workspace_id, keyring, f"https://{name}.example/")
    await emit(database, workspace_id)
    rounds = 0
    while held := await claim(database):
        await note(database, *((item, DOWN, Exhausted()) for item in held))
        rounds += 1
        assert rounds < 12
    assert [kind for kind, _ in await told(database, workspace_id, "delivery.")] == ["delivery.exhausted"] * 2


@pytest.mark.usefixtures("clean")
async def test_what_is_our_fault_is_held_against_nobody(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, len(OURS) * 10)
    for code in sorted(OURS):
        held = await claim(database, 10, 0, 0)
        await note(database, *((item, Outcome(1.0, 1, None, code), Exhausted()) for item in held))
    assert await state(admin, webhook_id) == {}


async def disable(database: Database, admin: Admin, workspace_id: str, webhook_id: str) -> None:
    """Five days of failures."""
    await try_next(database)
    await pass_time(admin, webhook_id, 121)
    await try_next(database)
    await pass_time(admin, webhook_id, 0)
    assert await claim(database) == []


async def probe(database: Database) -> int:
    async with database.anywhere() as conn:
        return await health.probe(conn)


@pytest.mark.usefixtures("clean")
async def test_an_endpoint_that_disabled_itself_is_asked_once_an_hour_and_enabled_when_it_answers(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, receiver: Receiver
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await emit(database, workspace_id, 5)
    await disable(database, admin, workspace_id, webhook_id)
    await emit(database, workspace_id, 7)  # happens while it is disabled, so it is not owed
    assert await probe(database) == 0

    await pass_time(admin, webhook_id, 1)
    assert (await probe(database), await probe(database)) == (1, 0)
    (asked,) = await claim(database)
    assert (asked.event_type, asked.attempt, asked.schedule) == ("ping", 1, ())
    assert await note(database, (asked, DOWN, Exhausted())) == []
    assert await claim(database) == []
    assert await told(database, workspace_id, "delivery.") == []

    await pass_time(admin, webhook_id, 1)
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 6)
    events = [kind for kind, _ in await told(database, workspace_id, "webhook.enabled", "webhook.disabled")]
    assert events == ["webhook.disabled", "webhook.enabled"]
    assert sorted(row["status"] for row in await log(database, workspace_id)) == ["delivered"] * 6 + ["exhausted"]
    async with database.workspace(workspace_id) as conn:
        seen = await endpoints.get(conn, workspace_id, webhook_id)
    assert (seen["status"], seen["disabled_reason"], seen["failing_since"]) == ("enabled", "", None)


@pytest.mark.usefixtures("clean")
async def test_who_is_gone_or_was_disabled_by_somebody_is_not_asked(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 5)
    await disable(database, admin, workspace_id, webhook_id)
    await pass_time(admin, webhook_id, 1)
    assert await probe(database) == 1
    async with database.workspace(workspace_id) as conn:
        await endpoints.set_status(conn, workspace_id, webhook_id, "disabled")
    assert await claim(database) == []
    await pass_time(admin, webhook_id, 2)
    assert await probe(database) == 0

    await admin.execute("UPDATE webhooks SET disabled_reason = 'failing' WHERE webhook_id = $1", webhook_id)
    (asked,) = await claim(database)
    await note(database, (asked, Outcome(1.0, 1, 410, "http_status"), DisableEndpoint("gone")))
    async with database.workspace(workspace_id) as conn:
        assert (await endpoints.get(conn, workspace_id, webhook_id))["disabled_reason"] == "gone"
    await pass_time(admin, webhook_id, 5)
    assert await probe(database) == 0
    assert len(await told(database, workspace_id, "webhook.disabled")) == 1


@pytest.mark.usefixtures("clean")
async def test_a_probe_that_nobody_heard_of_again_ends(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 2)
    await disable(database, admin, workspace_id, webhook_id)
    await pass_time(admin, webhook_id, 1)
    assert await probe(database) == 1
    assert len(await claim(database)) == 1
    await end_leases(admin, workspace_id)
    assert await sweep(database) == 1
    assert await claim(database) == []
    (row,) = await log(database, workspace_id, "ping")
    assert (row["status"], row["attempts"]) == ("exhausted", 1)


@pytest.mark.usefixtures("clean")
async def test_case_61_a_slow_alert_sink_holds_up_nothing(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: Admin
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/down", "user.*", schedule=[])
    await add(database, workspace_id, keyring, receiver.url + "/ops", "delivery.*")
    receiver.scripts["/down"] = iter([500] * 100)
    receiver.scripts["/ops"] = iter([0] * 100)
    async with running(database, keyring, drain=0.1) as engine:
        await emit(database, workspace_id, 8)
        await until(lambda: engine.counts.recorded == 8)
        await until(lambda: receiver.paths().count("/ops") == 8)
    # Tries that were still open when it stopped are noted as well.
    assert engine.counts.outcomes == {"http_status": 8, "interrupted": 8}
    rows = await log(database, workspace_id, "delivery.exhausted")
    assert {(row["status"], row["attempts"]) for row in rows} == {("pending", 1)}


@pytest.mark.usefixtures("clean")
async def test_the_engine_pauses_a_dead_endpoint(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: Admin
) -> None:
    dead, _ = await add(database, workspace_id, keyring, receiver.url + "/dead", "user.*")
    receiver.scripts["/dead"] = iter([500] * 1_000)
    await emit(database, workspace_id, 60)
    async with running(database, keyring, slots=30, per_endpoint=12) as engine:
        await until(lambda: engine.counts.recorded >= 10 and not engine.in_flight)

        async def paused() -> bool:
            return bool((await state(admin, dead)).get("open_until"))

        await until(paused)
        tries = engine.counts.recorded
        await make_due(admin, workspace_id)
        await asyncio.sleep(1.0)
        assert engine.counts.recorded == tries < 30
    rows = await log(database, workspace_id)
    assert sum(row["attempts"] for row in rows) == tries
