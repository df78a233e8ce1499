"""Order per conversation: one at a time in each lane, `seq` without gaps, and no lane that sleeps for ever."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import chain, repeat
from typing import Any

import asyncpg
import orjson
import pytest
import standardwebhooks

from kernel.db import Database
from kernel.events import publish, publish_many
from kernel.secrets import KeyRing
from tests.engine_kit import (
    OK,
    Receiver,
    add,
    claim,
    end_leases,
    fail,
    log,
    make_due,
    owe_nothing,
    receiving,
    record,
    running,
    sweep,
    until,
)
from webhooks import claims, deliveries
from webhooks.claims import Claim
from webhooks.decide import Delivered, Exhausted

IN_ORDER = {"ordering": "conversation"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def clean(admin: asyncpg.Connection[Any]) -> None:
    await owe_nothing(admin)


async def say(database: Database, workspace_id: str, *lanes: str) -> None:
    """One event after the other, each in a transaction of its own."""
    for lane in lanes:
        async with database.workspace(workspace_id) as conn:
            await publish(conn, workspace_id, "session.started", {"conversation_id": lane, "n": 0})


def lane_of(item: Claim) -> str:
    return str(orjson.loads(item.content)["data"]["conversation_id"])


async def settle(database: Database, *held: Claim) -> None:
    assert await record(database, *((item, OK, Delivered()) for item in held)) == [True] * len(held)


async def parked(admin: asyncpg.Connection[Any], workspace_id: str) -> int:
    count: int = await admin.fetchval(
        "SELECT count(*) FROM webhook_deliveries WHERE workspace_id = $1 AND parked", workspace_id
    )
    return count


async def test_only_the_oldest_of_each_lane_is_claimed(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a", "conv_b", "conv_a")
    held = await claim(database)
    assert sorted((lane_of(item), item.seq) for item in held) == [("conv_a", 1), ("conv_b", 1)]
    assert await parked(admin, workspace_id) == 2
    assert await claim(database) == []
    await settle(database, *held)
    (second,) = await claim(database)
    assert (lane_of(second), second.seq) == ("conv_a", 2)
    await settle(database, second)
    (third,) = await claim(database)
    assert (lane_of(third), third.seq) == ("conv_a", 3)


async def test_events_of_one_transaction_keep_their_order(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    async with database.workspace(workspace_id) as conn:
        data = [{"conversation_id": f"conv_{n % 3}", "n": n} for n in range(60)]
        await publish_many(conn, workspace_id, [("session.started", item) for item in data])
    seen: dict[str, list[int]] = defaultdict(list)
    while held := await claim(database):
        for item in held:
            seen[lane_of(item)].append(orjson.loads(item.content)["data"]["n"])
        await settle(database, *held)
    assert seen == {f"conv_{k}": list(range(k, 60, 3)) for k in range(3)}


async def test_the_number_stands_first_in_the_body_and_is_signed(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    _, secret = await add(database, workspace_id, keyring, receiver.url + "/a", **IN_ORDER)
    receiver.scripts["/a"] = iter([500])
    await say(database, workspace_id, "conv_a", "conv_a")
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 1)
        await make_due(admin, workspace_id)
        await until(lambda: engine.counts.recorded == 3)
    assert [body[:9] for _, _, body in receiver.got] == [b'{"seq":1,', b'{"seq":1,', b'{"seq":2,']
    assert receiver.got[0][2] == receiver.got[1][2]
    for _, headers, body in receiver.got:
        event = standardwebhooks.Webhook(secret).verify(body, headers)
        assert list(event) == ["seq", "id", "type", "timestamp", "workspace_id", "data"]


async def test_an_endpoint_without_order_gets_no_number(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await say(database, workspace_id, "conv_a", "conv_a")
    held = await claim(database)
    assert [(item.seq, item.content[:6]) for item in held] == [(None, b'{"id":')] * 2


async def test_what_belongs_to_no_conversation_is_held_up_by_nothing(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", **IN_ORDER)
    async with database.workspace(workspace_id) as conn:
        for n in range(3):
            await publish(conn, workspace_id, "document.deleted", {"n": n})
    assert [item.seq for item in await claim(database)] == [None] * 3


async def test_a_lane_waits_for_its_head_and_the_others_go_on(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a", "conv_b", "conv_b")
    held = {lane_of(item): item for item in await claim(database)}
    await fail(database, held["conv_a"], at=4_000_000_000.0)
    await settle(database, held["conv_b"])
    (other,) = await claim(database)
    assert (lane_of(other), other.seq) == ("conv_b", 2)
    await settle(database, other)
    assert await claim(database) == []
    await admin.execute(
        "UPDATE webhook_deliveries SET due_at = now() WHERE workspace_id = $1 AND seq = 1", workspace_id
    )
    (again,) = await claim(database)
    assert (again.seq, again.attempt) == (1, 2)
    assert await record(database, (again, OK._replace(status=500, error_code="http_status"), Exhausted())) == [True]
    (next_one,) = await claim(database)
    assert (lane_of(next_one), next_one.seq) == ("conv_a", 2)


@pytest.mark.parametrize("on_stuck", ["block", "skip"])
async def test_who_skips_is_held_up_by_nothing_that_failed_four_times(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any], on_stuck: str
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", on_stuck=on_stuck, **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a", "conv_a")
    for attempt in range(1, 5):
        (stuck,) = await claim(database)
        assert (stuck.seq, stuck.attempt) == (1, attempt)
        await fail(database, stuck, at=1.0 if attempt < 4 else 4_000_000_000.0)
    if on_stuck == "block":
        assert await claim(database) == []
        return
    (passing,) = await claim(database)
    assert passing.seq == 2
    await admin.execute(
        "UPDATE webhook_deliveries SET due_at = now() WHERE workspace_id = $1 AND seq = 1", workspace_id
    )
    (fifth,) = await claim(database)
    assert (fifth.seq, fifth.attempt) == (1, 5)
    await settle(database, passing)
    (last,) = await claim(database)
    assert last.seq == 3
    await settle(database, last, fifth)


async def test_a_lost_lease_and_a_hand_back_keep_the_number(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a")
    held = await claim(database)
    async with database.anywhere() as conn:
        assert await claims.release(conn, held) == 1
    (again,) = await claim(database)
    assert (again.seq, again.attempt, again.delivery_id) == (1, 1, held[0].delivery_id)
    await end_leases(admin, workspace_id)
    assert await sweep(database) == 1
    (third,) = await claim(database)
    assert (third.seq, third.attempt, third.content) == (1, 2, again.content)


async def test_a_resent_delivery_keeps_its_number_and_goes_before_what_has_none(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a")
    (first,) = await claim(database)
    await settle(database, first)
    async with database.workspace(workspace_id) as conn:
        await deliveries.resend(conn, workspace_id, first.delivery_id)
    (resent,) = await claim(database)
    assert (resent.delivery_id, resent.seq, resent.attempt) == (first.delivery_id, 1, 2)
    await settle(database, resent)
    (second,) = await claim(database)
    assert second.seq == 2


async def test_a_long_lane_does_not_hide_the_others(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_long")
    (head,) = await claim(database)
    await fail(database, head, at=4_000_000_000.0)
    async with database.workspace(workspace_id) as conn:
        many = [("session.started", {"conversation_id": "conv_long", "n": n}) for n in range(3_000)]
        await publish_many(conn, workspace_id, many)
    await say(database, workspace_id, "conv_short")
    looks = 0
    while not (found := await claim(database, 20, 20, 20, 20)):
        looks += 1
        assert looks < 30
    assert [lane_of(item) for item in found] == ["conv_short"]
    assert await parked(admin, workspace_id) == 3_000


async def test_whatever_sleeps_is_looked_at_again(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, "conv_a", "conv_a", "conv_b")
    await admin.execute("UPDATE webhook_deliveries SET parked = true WHERE workspace_id = $1", workspace_id)
    assert await claim(database) == []
    async with database.anywhere() as conn:
        assert await claims.next_due(conn) is None
        assert await claims.unpark(conn) == 2
    assert sorted(lane_of(item) for item in await claim(database)) == ["conv_a", "conv_b"]


async def test_deleting_an_endpoint_ends_its_lanes(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    await say(database, workspace_id, *["conv_a"] * 5)
    (held,) = await claim(database)
    await admin.execute("DELETE FROM webhooks WHERE webhook_id = $1", webhook_id)
    await fail(database, held)
    for _ in range(5):
        await sweep(database)
    assert await claim(database) == []
    assert {row["status"] for row in await log(database, workspace_id)} == {"cancelled"}


async def test_every_lane_arrives_in_order_though_much_fails(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "session.*", **IN_ORDER)
    await admin.execute("UPDATE webhooks SET schedule = array_fill(0, '{60}') WHERE workspace_id = $1", workspace_id)
    dice = random.Random(5)
    receiver.scripts["/a"] = chain((dice.choice([200, 200, 500]) for _ in range(400)), repeat(200))
    lanes = [f"conv_{n}" for n in range(12)]
    async with running(database, keyring) as one, running(database, keyring) as two:
        for _ in range(15):
            await say(database, workspace_id, *dice.sample(lanes, 12))
        done = lambda: one.counts.outcomes["ok"] + two.counts.outcomes["ok"] == 180  # noqa: E731
        await until(done, 60)
    arrived: dict[str, list[int]] = defaultdict(list)
    for _, _, body in receiver.got:
        event = orjson.loads(body)
        arrived[event["data"]["conversation_id"]].append(event["seq"])
    assert set(arrived) == set(lanes)
    for numbers in arrived.values():
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(1, 16))


async def test_lanes_never_run_double_nor_stand_still(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    """Claimers, settlers and publishers at once, each in transactions that overlap as they like."""
    await add(database, workspace_id, keyring, "https://example.com/", "session.*", **IN_ORDER)
    lanes = [f"conv_{n}" for n in range(5)]
    busy: set[str] = set()
    seen: dict[str, list[int]] = defaultdict(list)
    published = asyncio.Event()

    async def work(seed: int) -> None:
        dice = random.Random(seed)
        empty = 0
        while empty < 40 or not published.is_set():
            held = await claim(database, 3, 3, 3)
            empty = 0 if held else empty + 1
            for item in held:
                assert lane_of(item) not in busy
                busy.add(lane_of(item))
            for item in held:
                await asyncio.sleep(dice.random() * 0.003)
                busy.discard(lane_of(item))
                if dice.random() < 0.3:
                    await fail(database, item, at=1.0)
                else:
                    assert item.seq
                    seen[lane_of(item)].append(item.seq)
                    await settle(database, item)
            if not held:
                await asyncio.sleep(0.005)

    async def talk(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            async with database.workspace(workspace_id) as conn:
                for lane in dice.sample(lanes, 2):
                    await publish(conn, workspace_id, "session.started", {"conversation_id": lane, "n": 0})
                    await asyncio.sleep(dice.random() * 0.002)

    workers = asyncio.gather(*(work(seed) for seed in range(4)))
    await asyncio.gather(*(talk(seed) for seed in range(3)))
    published.set()
    await workers
    assert await admin.fetchval("SELECT count(*) FROM webhook_deliveries WHERE workspace_id = $1", workspace_id) == 0
    assert sum(map(len, seen.values())) == 240
    for numbers in seen.values():
        assert numbers == list(range(1, len(numbers) + 1))
