"""The bench of the webhook sender: each measurement with counts too small to mean anything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.stores import Stores, stores
from bench.webhooks import latency, patience, rates
from bench.webhooks.drain import measure as drain
from bench.webhooks.sink import Sink, fated, sink
from kernel.db import Database


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Stores]:
    async with stores() as made:
        yield made


@pytest.fixture
async def at() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made


async def test_the_sink_notes_what_came_when(at: Sink) -> None:
    http = at._http
    fails = next(f"evt_{n}" for n in range(100) if fated(f"evt_{n}"))
    statuses = []
    for path in ("/hook", "/timed/1", "/flaky", "/flaky", "/slow"):
        async with http.post(at.url + path, data=b"{}", headers={"webhook-id": fails}) as response:
            statuses.append(response.status)
    assert statuses == [200, 200, 500, 200, 200]
    seen = await at.arrivals()
    assert [(one.path, one.try_) for one in seen] == [("/timed/1", 1), ("/flaky", 1), ("/flaky", 2), ("/slow", 1)]
    assert {one.event_id for one in seen} == {fails}
    assert [one.at for one in seen] == sorted(one.at for one in seen)
    assert await at.arrivals() == []
    assert await at.count() == 5


async def test_drain_beside_bare_posts_is_measured(on: Stores) -> None:
    database = await Database.connect(on.app_url, name="parley-bench")
    try:
        found = await drain(database, requests=80, concurrency=20, rounds=1)
    finally:
        await database.close()
    assert found["goal"] == "G10" and found["ratio"] > 0


async def test_drain_rates_are_measured(on: Stores, at: Sink) -> None:
    found = await rates.measure(on, at, count=64, rounds=1)
    assert [outcome.goal for outcome in found] == ["W1"] * 4
    assert all(outcome.by_rate for outcome in found[1:])
    async with on.admin() as conn:
        assert await conn.fetchval("SELECT count(*) FROM all_deliveries WHERE status <> 'delivered'") == 0


async def test_latencies_are_measured(on: Stores, at: Sink) -> None:
    found = await latency.measure(on, at, rates=(20.0,), seconds=0.5)
    assert [outcome.goal for outcome in found] == ["W2", "W3"]


async def test_lateness_is_measured(on: Stores, at: Sink) -> None:
    found = await patience.lateness(on, at, rate=20.0, seconds=1.0)
    assert (found.goal, "none came early" in found.note) == ("W4", True)


async def test_a_dead_neighbour_is_measured(on: Stores, at: Sink) -> None:
    found = await patience.neighbour(on, at, rows=40, rate=20.0, seconds=0.5, rounds=1)
    assert found.goal == "W5"
