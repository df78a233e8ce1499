"""How an endpoint fares: tries by the minute, percentiles from buckets, what waits, what its breaker does."""

from __future__ import annotations

import bisect
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.db import Database
from kernel.errors import NotFound
from kernel.secrets import KeyRing
from kernel.types import Json
from tests.delivery_kit import DOWN, OK, add, claim, emit, record
from webhooks import stats
from webhooks.decide import Decision, Delivered, RetryAt
from webhooks.stats import BOUNDS, percentile
from webhooks.transport import OURS, Outcome


@pytest.fixture(autouse=True)
async def nothing_owed(admin: asyncpg.Connection[Any]) -> None:
    """Claims span workspaces, so what other tests left owing must not be in the way."""
    await admin.execute("DELETE FROM webhook_deliveries")


def bucket(duration: int) -> int:
    return bisect.bisect_left(BOUNDS, duration)


def counted(durations: Sequence[int]) -> list[int]:
    buckets = [0] * (len(BOUNDS) + 1)
    for duration in durations:
        buckets[bucket(duration)] += 1
    return buckets


async def test_sql_and_python_have_the_same_buckets(database: Database) -> None:
    edges = sorted({0, *BOUNDS, *(bound + 1 for bound in BOUNDS), 100_000})
    async with database.anywhere() as conn:
        found = [await conn.fetchval("SELECT duration_bucket($1)", edge) for edge in edges]
    assert found == [bucket(edge) + 1 for edge in edges]


async def test_sql_and_python_agree_on_whose_fault_it_is(database: Database) -> None:
    codes = [*OURS, "", "http_status", "timeout", "dns_error", "auth_error", "blocked_address"]
    async with database.anywhere() as conn:
        assert {code for code in codes if await conn.fetchval("SELECT our_fault($1)", code)} == OURS


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(durations: list[int], share: float) -> None:
    found = percentile(counted(durations), share)
    rank = next(n for n in range(1, len(durations) + 1) if n >= share * len(durations))
    true = bucket(sorted(durations)[rank - 1])
    low, high = (0, *BOUNDS)[true], (*BOUNDS, BOUNDS[-1])[true]
    assert found is not None
    assert low <= found <= high


def test_percentiles_interpolate_and_are_none_without_tries() -> None:
    assert percentile(counted([]), 0.5) is None
    assert percentile(counted([150] * 100), 0.5) == 150
    assert percentile(counted([150] * 100), 0.95) == 195
    assert percentile(counted([60_000]), 0.5) == 30_000


async def look(database: Database, workspace_id: str, webhook_id: str, **ago: float) -> Json:
    async with database.workspace(workspace_id) as conn:
        since = datetime.now(UTC) - timedelta(**(ago or {"hours": 1}))
        return await stats.of_endpoint(conn, workspace_id, webhook_id, since)


async def test_tries_are_counted_by_endpoint_and_faults_of_ours_are_not(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    good, bad = [await add(database, workspace_id, keyring, f"https://example.com/{n}") for n in (1, 2)]
    await emit(database, workspace_id, 8)
    later = RetryAt(time.time() + 3_600)
    failures = [DOWN, DOWN, DOWN, *(DOWN._replace(error_code=code) for code in OURS)]
    ends: dict[str, list[tuple[Outcome, Decision]]] = {
        good: [(OK._replace(duration_ms=ms), Delivered()) for ms in (3, 4, 5, 30, 30, 30, 30, 4_000)],
        bad: [(outcome, later) for outcome in failures],
    }
    assert all(await record(database, *((one, *ends[one.webhook_id].pop()) for one in await claim(database))))
    found = await look(database, workspace_id, good)
    assert (found["succeeded"], found["failed"], found["success_share"]) == (8, 0, 1.0)
    assert (found["pending"], found["under_way"], found["oldest_due_seconds"]) == (0, 0, None)
    assert 20 < found["p50_ms"] <= 50
    assert 2_000 < found["p99_ms"] <= 5_000
    assert found["breaker"]["state"] == "closed"
    async with database.workspace(second_workspace) as conn:
        with pytest.raises(NotFound):
            await stats.of_endpoint(conn, second_workspace, good, datetime.now(UTC))
        assert await conn.fetchval("SELECT count(*) FROM webhook_minutes") == 0
    tried = await look(database, workspace_id, bad)
    assert (tried["succeeded"], tried["failed"], tried["success_share"]) == (0, 3, 0.0)


async def test_the_backlog_is_what_waits_and_for_how_long(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    webhook_id = await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 5)
    (held,) = await claim(database, 1)
    found = await look(database, workspace_id, webhook_id)
    assert (found["pending"], found["under_way"], found["p50_ms"], found["success_share"]) == (4, 1, None, None)
    await record(database, (held, DOWN, RetryAt(time.time() + 3_600)))
    await admin.execute(
        "UPDATE webhook_deliveries SET due_at = now() - interval '90 seconds' WHERE delivery_id = "
        "(SELECT min(delivery_id) FROM webhook_deliveries WHERE status = 'pending' AND attempts = 0)"
    )
    found = await look(database, workspace_id, webhook_id)
    assert (found["pending"], found["under_way"], found["failed"]) == (5, 0, 1)
    assert 90 <= found["oldest_due_seconds"] < 120
    await admin.execute("UPDATE webhook_deliveries SET due_at = now() + interval '1 hour'")
    assert (await look(database, workspace_id, webhook_id))["oldest_due_seconds"] is None


@pytest.mark.parametrize(("open_until", "state"), [(None, "closed"), ("1 minute", "open"), ("-1 minute", "probing")])
async def test_the_breaker_is_told(
    database: Database,
    workspace_id: str,
    keyring: KeyRing,
    admin: asyncpg.Connection[Any],
    open_until: str | None,
    state: str,
) -> None:
    webhook_id = await add(database, workspace_id, keyring, "https://example.com/")
    await admin.execute(
        "INSERT INTO webhook_health (workspace_id, webhook_id, failing_since, streak, open_until) "
        "VALUES ($1, $2, now(), 12, now() + $3::text::interval)",
        workspace_id,
        webhook_id,
        open_until,
    )
    told = (await look(database, workspace_id, webhook_id))["breaker"]
    assert (told["state"], told["failures_in_a_row"]) == (state, 12)
    assert told["failing_since"]
    assert bool(told["open_until"]) == (open_until is not None)


async def test_old_minutes_become_hours_and_very_old_ones_go(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    webhook_id = await add(database, workspace_id, keyring, "https://example.com/")
    await admin.execute(
        """
        INSERT INTO webhook_minutes (workspace_id, webhook_id, minute, succeeded, failed, buckets)
        SELECT $1, $2, date_trunc('hour', now(), 'UTC') - age + n * interval '1 minute', 2, 1,
            array_fill(0, ARRAY[15]) || '{}'::integer[]
        FROM unnest('{1 hour,60 hours,61 hours,40 days}'::interval[]) AS age, generate_series(0, 4) AS n
        """,
        workspace_id,
        webhook_id,
    )
    await admin.execute("UPDATE webhook_minutes SET buckets[7] = 3 WHERE workspace_id = $1", workspace_id)
    async with database.anywhere() as conn:
        while await conn.fetchval("SELECT fold_minutes(30)"):
            pass
    rows = await admin.fetch(
        "SELECT succeeded, failed, buckets, now() - minute > interval '2 days' AS old FROM webhook_minutes "
        "WHERE workspace_id = $1 ORDER BY minute",
        workspace_id,
    )
    assert [(row["succeeded"], row["failed"]) for row in rows if row["old"]] == [(10, 5), (10, 5)]
    assert [(row["succeeded"], row["failed"]) for row in rows if not row["old"]] == [(2, 1)] * 5
    assert {sum(row["buckets"]) for row in rows if row["old"]} == {15}
    found = await look(database, workspace_id, webhook_id, days=30)
    assert (found["succeeded"], found["failed"]) == (30, 15)
    assert 50 < found["p50_ms"] <= 100
