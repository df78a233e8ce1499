"""How fast endpoints and workspaces are sent to: the buckets, their twin in Redis, and what a claim makes of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import repeat
from typing import Any

import asyncpg
import orjson
import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import strategies as st

from kernel.db import Database
from kernel.ids import new_id
from kernel.queue import open_redis
from kernel.ratelimit import Rate
from kernel.secrets import KeyRing
from tests.engine_kit import Receiver, add, claim, emit, log, owe_nothing, receiving, running, until
from webhooks import claims
from webhooks.limits import Buckets, Group, spread, tokens


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 2_000), st.integers(1, 3_600), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400)), max_size=40)
)
async def test_no_stretch_of_time_sees_more_than_the_rate_and_half_a_second(
    count: int, seconds: int, steps: Sequence[tuple[float, int]]
) -> None:
    clock = Clock()
    limits, rate = Buckets(clock=clock), spread(count, seconds)
    passed: list[tuple[float, int]] = []
    for wait, wanted in steps:
        clock.now += wait
        (granted,) = await limits.grant([Group(wanted, {"wh": rate})])
        assert 0 <= granted <= wanted
        passed.append((clock.now, granted))
    for start in range(len(passed)):
        total = 0
        for at, granted in passed[start:]:
            total += granted
            assert total <= rate.burst + (at - passed[start][0]) / rate.interval + 1e-3


async def test_rooms_are_what_the_next_claim_may_take() -> None:
    clock = Clock()
    limits, rate = Buckets(clock=clock), Rate(10, 1, 5)
    assert limits.rooms() == {}
    assert await limits.grant([Group(3, {"wh": rate})]) == [3]
    assert limits.rooms() == {"wh": 2}
    assert await limits.grant([Group(3, {"wh": rate})]) == [2]
    assert limits.rooms() == {"wh": 0}
    clock.now += 0.1
    assert limits.rooms() == {"wh": 1}
    clock.now += 0.5
    assert limits.rooms() == {}  # full again, and forgotten


async def test_a_delivery_draws_from_its_endpoint_and_its_workspace() -> None:
    limits = Buckets(clock=Clock())
    small, shared = Rate(2, 1, 2), Rate(5, 1, 5)
    groups = [Group(9, {"wh_a": small, "ws": shared}), Group(9, {"ws": shared}), Group(9, {})]
    assert await limits.grant(groups) == [2, 3, 9]
    assert limits.rooms() == {"wh_a": 0, "ws": 0}
    assert await limits.grant([Group(1, {"wh_b": small, "ws": shared})]) == [0]
    assert limits.rooms() == {"wh_a": 0, "ws": 0}


@pytest.mark.parametrize(
    ("ahead", "held"), [(-5.0, 5), (0.0, 5), (0.05, 4), (0.1, 4), (0.35, 1), (0.4, 1), (0.4999, 0), (0.5, 0), (3.0, 0)]
)
def test_tokens_of_a_bucket(ahead: float, held: int) -> None:
    assert tokens(ahead, Rate(10, 1, 5)) == held


async def test_all_processes_draw_from_the_same_bucket(redis: ArqRedis) -> None:
    one, two = Buckets(redis), Buckets(redis)
    subject, rate = new_id("wh"), Rate(10, 3_600, 10)
    assert await one.grant([Group(6, {subject: rate})]) == [6]
    assert await two.grant([Group(6, {subject: rate})]) == [4]
    assert await one.grant([Group(6, {subject: rate})]) == [0]
    assert two.rooms() == one.rooms() == {subject: 0}


async def test_redis_grants_what_the_pure_buckets_grant(redis: ArqRedis) -> None:
    """Rates so low that no token comes back while this runs."""
    dice = random.Random(7)
    for _ in range(60):
        rates = {new_id("wh"): Rate(count, 86_400, burst) for count, burst in ((7, 3), (9, 9), (5, 1))}
        there, here = Buckets(redis), Buckets(clock=Clock())
        for _ in range(dice.randint(1, 6)):
            groups = [
                Group(dice.randint(0, 6), {name: rates[name] for name in dice.sample(list(rates), dice.randint(0, 3))})
                for _ in range(dice.randint(1, 4))
            ]
            assert await there.grant(groups) == await here.grant(groups)
            assert there.rooms() == here.rooms()


async def test_without_redis_the_limit_is_one_of_this_process(redis: ArqRedis) -> None:
    gone = open_redis("redis://127.0.0.1:1")
    limits, subject, rate = Buckets(gone), new_id("wh"), Rate(10, 3_600, 10)
    assert await limits.grant([Group(6, {subject: rate})]) == [6]
    assert await limits.grant([Group(6, {subject: rate})]) == [4]
    assert limits.rooms() == {subject: 0}
    assert await limits.grant([Group(6, {}), Group(1, {subject: rate})]) == [6, 0]
    await gone.aclose()


# What a claim makes of them


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def clean(admin: asyncpg.Connection[Any]) -> None:
    await owe_nothing(admin)


@pytest.mark.usefixtures("clean")
async def test_a_claim_takes_no_more_than_there_are_tokens(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    slow, _ = await add(
        database, workspace_id, keyring, "https://slow.example/", "user.*", rate_limit={"count": 10, "seconds": 1}
    )
    quick, _ = await add(database, workspace_id, keyring, "https://quick.example/", "user.*")
    other, _ = await add(database, second_workspace, keyring, "https://other.example/", "user.*")
    await emit(database, workspace_id, 40)
    await emit(database, second_workspace, 2)

    async def claimed(**rooms: int) -> dict[str, int]:
        held = await claim(database, rooms=rooms)
        async with database.anywhere() as conn:
            await claims.release(conn, held)
        return dict(Counter(item.webhook_id for item in held))

    assert await claimed() == {slow: 5, quick: 40, other: 2}
    assert await claimed(**{slow: 3}) == {slow: 3, quick: 40, other: 2}
    assert await claimed(**{slow: 0, quick: 7}) == {quick: 7, other: 2}
    assert await claimed(**{workspace_id: 6}) == {slow: 3, quick: 3, other: 2}
    assert await claimed(**{workspace_id: 0}) == {other: 2}


@pytest.mark.usefixtures("clean")
async def test_max_in_flight_holds_however_many_claim_at_once(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*", max_in_flight=3)
    await emit(database, workspace_id, 60)
    await admin.execute("UPDATE webhook_deliveries SET attempts = position % 6 WHERE workspace_id = $1", workspace_id)
    taken = await asyncio.gather(*(claim(database) for _ in range(12)))
    assert sum(map(len, taken)) == 3


@pytest.mark.usefixtures("clean")
async def test_max_in_flight_is_seen_by_the_receiver(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*", max_in_flight=2)
    await emit(database, workspace_id, 40)
    async with running(database, keyring) as one, running(database, keyring) as two:
        await until(lambda: one.counts.recorded + two.counts.recorded == 40)
    assert receiver.most_at_once <= 2


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("shared", "sent"), [(True, 1), (False, 2)])
async def test_engines_share_a_limit_through_redis_and_have_one_each_without(
    database: Database,
    workspace_id: str,
    keyring: KeyRing,
    receiver: Receiver,
    redis: ArqRedis,
    shared: bool,
    sent: int,
) -> None:
    limit = {"count": 10, "seconds": 3_600}
    await add(database, workspace_id, keyring, receiver.url + "/slow", "user.*", rate_limit=limit)
    await add(database, workspace_id, keyring, receiver.url + "/quick", "user.*")
    options = {"redis": redis if shared else None}
    async with running(database, keyring, **options) as one, running(database, keyring, **options) as two:
        for wanted in range(1, 6):
            await emit(database, workspace_id, 10)
            await until(lambda wanted=wanted: receiver.paths().count("/quick") == wanted * 10)
        if not shared:
            await until(lambda: receiver.paths().count("/slow") == sent)
        await until(lambda: not one.in_flight and not two.in_flight)
    assert receiver.paths().count("/slow") == sent
    slow = [row for row in await log(database, workspace_id) if not row["settled_at"]]
    assert {(row["status"], row["attempts"]) for row in slow} == {("pending", 0)}


@pytest.mark.usefixtures("clean")
async def test_a_redis_that_is_away_stops_nothing(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    gone = open_redis("redis://127.0.0.1:1")
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    async with running(database, keyring, redis=gone, per_workspace=Rate(1_000, 1, 500)) as engine:
        await emit(database, workspace_id, 50)
        await until(lambda: engine.counts.recorded == 50)
    await gone.aclose()


@pytest.mark.usefixtures("clean")
async def test_case_66_a_workspaces_limit_is_its_own(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing, receiver: Receiver, redis: ArqRedis
) -> None:
    for name in "ab":
        await add(database, workspace_id, keyring, f"{receiver.url}/{name}", "user.*")
    await add(database, second_workspace, keyring, receiver.url + "/other", "user.*")
    async with running(database, keyring, redis=redis, per_workspace=Rate(40, 3_600, 20)) as engine:
        await emit(database, workspace_id, 30)
        await emit(database, second_workspace, 10)
        await until(lambda: engine.counts.recorded == 30)
        await until(lambda: not engine.in_flight)
    seen = Counter(receiver.paths())
    assert (seen["/a"] + seen["/b"], seen["/other"]) == (20, 10)
    assert min(seen["/a"], seen["/b"]) >= 5  # its endpoints share it


@pytest.mark.usefixtures("clean")
async def test_a_429_lets_the_whole_endpoint_rest(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/busy", "user.*", max_in_flight=1)
    receiver.scripts["/busy"], receiver.headers = repeat(429), {"Retry-After": "600"}
    await emit(database, workspace_id, 5)
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 1)
        async with database.anywhere() as conn:

            async def resting() -> bool:
                return (await claims.next_due(conn) or 0) > 500

            await until(resting)
        await emit(database, workspace_id, 5)
    assert len(receiver.got) <= 2  # one may have left before the first answer was noted
    rows = await log(database, workspace_id)
    assert sum(row["attempts"] for row in rows) == len(receiver.got)


@pytest.mark.usefixtures("clean")
async def test_a_dead_endpoint_with_a_hundred_thousand_due_rows_costs_a_claim_nothing(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    """Counted in pages that a claim looks at, beside a claim without the neighbour."""
    live, _ = await add(database, workspace_id, keyring, "https://live.example/", "session.*")

    async def pages() -> int:
        async with database.workspace(workspace_id) as conn:
            await conn.execute(
                "SELECT publish_events(array_fill($1::text, '{20}'), array_fill('session.started'::text, '{20}'), "
                "array_fill('{}'::jsonb, '{20}'))",
                workspace_id,
            )
        await admin.execute("VACUUM ANALYZE webhook_deliveries")
        plan = await admin.fetchval(
            "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) "
            "SELECT * FROM claim_deliveries(50, 50, 50, 64, NULL, 'x', 30, '{}', '{}')"
        )
        top = orjson.loads(plan)[0]["Plan"]
        assert top["Actual Rows"] == 20
        await admin.execute("DELETE FROM webhook_deliveries WHERE webhook_id = $1", live)
        return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])

    await pages()
    alone = await pages()
    dead, _ = await add(database, workspace_id, keyring, "https://dead.example/", "user.*")
    await admin.execute(
        "INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id, attempts) "
        "SELECT $1, new_id('dlv'), new_id('evt'), 'user.created', $2, n % 7 FROM generate_series(1, 100000) AS n",
        workspace_id,
        dead,
    )
    await admin.execute(
        "INSERT INTO webhook_health (workspace_id, webhook_id, failing_since, streak, open_until, opened) "
        "VALUES ($1, $2, now(), 20, now() + interval '5 minutes', 3)",
        workspace_id,
        dead,
    )
    beside = await pages()
    await admin.execute("DELETE FROM webhook_deliveries WHERE webhook_id = $1", dead)
    assert beside < alone * 2  # deeper indexes, and not the neighbour's rows
