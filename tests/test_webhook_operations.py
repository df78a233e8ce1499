"""Bulk work on deliveries, with a real Postgres and the real engine: exactly what was asked for, once, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from gateway.services import Ground
from kernel.db import Database
from kernel.errors import Conflict, NotFound
from kernel.secrets import KeyRing
from kernel.settings import environment
from tests.conftest import Stores
from tests.recovery_kit import (
    QUICK,
    Admin,
    Sink,
    advance,
    ago,
    count,
    delivering,
    done,
    emit,
    ended,
    endpoint,
    now,
    operating,
    past,
    run,
    seen,
    sink,
    start,
    status_of,
    until,
)
from webhooks import deliveries, operations
from webhooks.decide import MAX_ATTEMPTS
from webhooks.recovery import Pace
from webhooks.selection import recover, replay_missing, resend


@pytest.fixture
async def receiver() -> AsyncIterator[Sink]:
    async with sink() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def clean(admin: Admin) -> None:
    """Workers span workspaces, so what other tests left must not be in the way."""
    await admin.execute("UPDATE webhooks SET status = 'disabled'")
    await admin.execute("UPDATE webhook_operations SET status = 'cancelled' WHERE status IN ('queued', 'running')")


@pytest.fixture
async def hook(database: Database, workspace_id: str, keyring: KeyRing, receiver: Sink) -> str:
    return await endpoint(database, workspace_id, keyring, receiver.url + "/a")


async def hot(admin: Admin, workspace_id: str) -> int:
    found: int = await admin.fetchval("SELECT count(*) FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
    return found


async def tries(admin: Admin, workspace_id: str) -> list[int]:
    """How many tries were logged of each delivery."""
    rows = await admin.fetch(
        "SELECT count(*) FROM webhook_attempts WHERE workspace_id = $1 GROUP BY delivery_id", workspace_id
    )
    return [row[0] for row in rows]


# What is made due


async def test_case_13_recover_adds_exactly_one_try_from_before_the_event_and_none_from_after_it(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    (delivery_id,) = await past(admin, workspace_id, hook, age=timedelta(days=2), attempts=3)
    async with delivering(database, keyring):
        late = await run(database, workspace_id, recover(now(), hook, ago(days=2) + timedelta(seconds=5)))
        assert (late["status"], late["total"], late["done"]) == ("done", 0, 0)
        assert await status_of(database, workspace_id, delivery_id) == ("exhausted", 3)
        early = await run(database, workspace_id, recover(now(), hook, ago(days=2, seconds=5)))
        assert (early["status"], early["total"], early["done"]) == ("done", 1, 1)

        async def delivered() -> bool:
            return await status_of(database, workspace_id, delivery_id) == ("delivered", 4)

        await until(delivered)
        again = await run(database, workspace_id, recover(now(), hook, ago(days=2, seconds=5)))
        assert (again["total"], again["done"]) == (0, 0)
    assert receiver.got.total() == 1
    assert await tries(admin, workspace_id) == [4]


async def test_case_51_a_retry_that_waits_is_made_due_in_place_and_takes_the_next_number(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    """The try that was due tomorrow does not come as well, and the schedule goes on from the number that it has."""
    receiver.statuses["/a"] = 500
    await emit(database, workspace_id)
    (delivery_id,) = [row["delivery_id"] for row in await admin.fetch(
        "SELECT delivery_id FROM webhook_deliveries WHERE workspace_id = $1", workspace_id
    )]  # fmt: skip
    async with delivering(database, keyring):

        async def tried(times: int) -> bool:
            return await tries(admin, workspace_id) == [times]

        await until(lambda: tried(1))
        first = await admin.fetchval("SELECT due_at FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
        assert (await run(database, workspace_id, recover(now(), hook, ago(hours=1))))["done"] == 1
        await until(lambda: tried(2))
        assert await status_of(database, workspace_id, delivery_id) == ("pending", 2)
        second = await admin.fetchval("SELECT due_at FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
        assert second - first > timedelta(minutes=4)
        receiver.statuses["/a"] = 200
        assert (await run(database, workspace_id, recover(now(), hook, ago(hours=1))))["done"] == 1
        await until(lambda: tried(3))
    assert await status_of(database, workspace_id, delivery_id) == ("delivered", 3)
    assert receiver.got.total() == 3
    assert await hot(admin, workspace_id) == 0


async def test_case_51_one_whose_tries_are_used_up_gets_one_more_and_no_schedule(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    receiver.statuses["/a"] = 500
    (delivery_id,) = await past(admin, workspace_id, hook, attempts=MAX_ATTEMPTS)
    async with delivering(database, keyring):
        assert (await run(database, workspace_id, recover(now(), hook, ago(hours=2))))["done"] == 1

        async def given_up() -> bool:
            return await status_of(database, workspace_id, delivery_id) == ("exhausted", MAX_ATTEMPTS + 1)

        await until(given_up)
    assert receiver.got.total() == 1


async def test_case_52_two_resends_are_two_tries_and_one_that_is_worked_on_twice_is_one(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    (delivery_id,) = await past(admin, workspace_id, hook, status="delivered")
    chosen = resend(now(), delivery_ids=[delivery_id])
    async with delivering(database, keyring):
        for times in (1, 2):
            assert (await run(database, workspace_id, chosen))["done"] == 1

            async def arrived(times: int = times) -> bool:
                return await status_of(database, workspace_id, delivery_id) == ("delivered", 1 + times)

            await until(arrived)
        assert receiver.got.total() == 2
        operation = await start(database, workspace_id, chosen)
        async with database.anywhere() as conn:
            (first,) = await operations.claim(conn, 10, 0.0)
            (second,) = await operations.claim(conn, 10, 60.0)
            assert await advance(conn, first) == "lost"
            assert await advance(conn, second) == "settled"
            assert await advance(conn, second) == "lost"
        assert await done(database, workspace_id, operation) == 1

        async def once_more() -> bool:
            return await status_of(database, workspace_id, delivery_id) == ("delivered", 4)

        await until(once_more)
    assert receiver.got.total() == 3


async def test_a_resend_takes_what_its_filter_names_and_nothing_else(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    other = await endpoint(database, workspace_id, keyring, receiver.url + "/b")
    wanted = await past(admin, workspace_id, hook, 3, event_type="chat.message.received", error_code="timeout")
    await past(admin, workspace_id, hook, 5, event_type="chat.message.received", error_code="http_status")
    await past(admin, workspace_id, hook, 7, event_type="user.created", error_code="timeout")
    await past(admin, workspace_id, hook, 11, event_type="chat.message.received", status="delivered")
    await past(admin, workspace_id, other, 13, event_type="chat.message.received", error_code="timeout")
    await past(
        admin, workspace_id, hook, 17, event_type="session.started", error_code="timeout", age=timedelta(hours=9)
    )
    whole = resend(now(), webhook_id=hook, event_type="chat.*", error_code="timeout", since=ago(hours=2))
    counts = await count(database, workspace_id, whole)
    assert (counts.total, counts.by_webhook, counts.by_event_type) == (3, {hook: 3}, {"chat.message.received": 3})

    async def total(**fields: object) -> int | None:
        return (await count(database, workspace_id, resend(now(), **fields))).total  # type: ignore[arg-type]

    assert await total(webhook_id=hook) == 3 + 5 + 7 + 17
    assert await total(webhook_id=hook, error_code="timeout") == 3 + 7 + 17
    assert await total(webhook_id=hook, event_type="chat.message.received") == 3 + 5
    assert await total(webhook_id=hook, event_type="*.received") == 3 + 5
    assert await total(webhook_id=hook, event_type="*", until=ago(hours=8)) == 17
    assert await total(since=ago(hours=2)) == 3 + 5 + 7 + 13
    assert await total(since=ago(hours=2), status="delivered") == 11
    assert await total(since=ago(days=30), status="pending") == 0
    assert await hot(admin, workspace_id) == 0, "counting changes nothing"

    operation = await run(database, workspace_id, whole)
    assert (operation["status"], operation["total"], operation["done"], operation["left_out"]) == ("done", 3, 3, 0)
    due = await admin.fetch("SELECT delivery_id FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
    assert sorted(row[0] for row in due) == sorted(wanted)


async def test_endpoints_of_one_operation_are_served_side_by_side(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    """One that drains nothing holds up itself alone."""
    stuck = await endpoint(database, workspace_id, keyring, receiver.url + "/b")
    await past(admin, workspace_id, stuck, 40)
    await past(admin, workspace_id, hook, 40)
    operation = await start(database, workspace_id, resend(now(), since=ago(hours=2)))
    assert operation["total"] == 80
    async with database.anywhere() as conn:
        (held,) = await operations.claim(conn, 10, 60.0)
        for _ in range(5):
            assert await advance(conn, held, most_due=15) in ("working", "waiting")
            await admin.execute("UPDATE webhook_deliveries SET due_at = 'infinity' WHERE webhook_id = $1", hook)
        lease = "SELECT lease_until FROM webhook_operations WHERE operation_id = $1"
        until_then = await admin.fetchval(lease, operation["operation_id"])
        assert await advance(conn, held, most_due=15) == "waiting"
        assert await admin.fetchval(lease, operation["operation_id"]) == until_then, "waiting costs no write"
        await admin.execute("UPDATE webhook_operations SET lease_until = now() + interval '20 seconds'")
        assert await advance(conn, held, most_due=15) == "waiting"
        assert await admin.fetchval(lease, operation["operation_id"]) >= until_then, "but the lease is kept"
    due = await admin.fetch(
        "SELECT webhook_id, count(*) FROM webhook_deliveries WHERE workspace_id = $1 GROUP BY 1", workspace_id
    )
    assert {row[0]: row[1] for row in due} == {stuck: 15, hook: 40}
    assert await done(database, workspace_id, operation) == 55


async def test_replay_owes_what_was_missed_once_and_as_the_endpoint_asks_for_it(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, receiver: Sink
) -> None:
    early = await endpoint(database, workspace_id, keyring, receiver.url + "/early", "session.*")
    missed = [await emit(database, workspace_id, "user.created", user_id=f"usr_{n}") for n in range(3)]
    await emit(database, workspace_id, "session.started", user_id="usr_0")
    async with database.workspace(workspace_id) as conn:
        await deliveries.send_test(conn, workspace_id, early)
    expunged = await emit(database, workspace_id, "user.created", user_id="usr_9")
    await admin.execute("UPDATE events SET expunged_at = now() WHERE event_id = $1", expunged)
    late = await endpoint(database, workspace_id, keyring, receiver.url + "/late", "user.*")
    owed = await emit(database, workspace_id, "user.created", user_id="usr_live")

    await asyncio.sleep(0.01)  # ids are as old as milliseconds tell
    chosen = replay_missing(now(), late, ago(hours=1))
    counts = await count(database, workspace_id, chosen)
    assert (counts.total, counts.by_event_type, counts.expunged) == (3, {"user.created": 3}, 1)
    async with delivering(database, keyring):
        operation = await run(database, workspace_id, chosen)
        assert (operation["status"], operation["done"], operation["left_out"]) == ("done", 3, 1)

        async def arrived() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(arrived)
        again = await run(database, workspace_id, replay_missing(now(), late, ago(hours=1)))
        assert (again["total"], again["done"], again["left_out"]) == (0, 0, 1)
        nothing = await count(database, workspace_id, replay_missing(now(), early, ago(hours=1)))
        assert nothing.total == 0, "a ping is meant for the endpoint that it was sent to, and what it was owed is there"
    assert receiver.of("/late") == dict.fromkeys([*missed, owed], 1)
    stored = {row["event_id"]: row["body"] for row in await admin.fetch("SELECT event_id, body FROM events")}
    assert all(receiver.bodies[event] == stored[event] for event in missed)


async def test_replay_asks_the_filters_of_today_and_sends_the_form_of_today(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, receiver: Sink
) -> None:
    wanted = await emit(database, workspace_id, "user.created", user_id="usr_1", n=5, note="x", channel="telegram")
    await emit(database, workspace_id, "user.created", user_id="usr_2", n=1, channel="telegram")
    await emit(database, workspace_id, "user.created", user_id="usr_3", n=5, channel="slack")
    hook = await endpoint(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await admin.execute(
        "UPDATE webhooks SET channels = '{telegram}', condition_path = '$.n > 3', payload_mode = 'thin' "
        "WHERE webhook_id = $1",
        hook,
    )
    async with delivering(database, keyring):
        operation = await run(database, workspace_id, replay_missing(now(), hook, ago(hours=1)))
        assert (operation["total"], operation["done"]) == (1, 1)

        async def drained() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(drained)
    assert receiver.order == [wanted]
    assert orjson.loads(receiver.bodies[wanted])["data"] == {"user_id": "usr_1", "channel": "telegram"}


async def test_replay_and_recover_keep_the_order_of_a_conversation(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, receiver: Sink
) -> None:
    """What was missed comes as it happened and is numbered; what is sent again keeps its number."""
    told = [await emit(database, workspace_id, conversation_id=f"conv_{n % 2}", n=n) for n in range(20)]
    hook = await endpoint(database, workspace_id, keyring, receiver.url + "/a")
    await admin.execute("UPDATE webhooks SET ordering = 'conversation' WHERE webhook_id = $1", hook)
    async with delivering(database, keyring):
        operation = await run(database, workspace_id, replay_missing(now(), hook, ago(hours=1)))
        assert operation["done"] == 20

        async def drained() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(drained)
        for lane in (0, 1):
            assert [event for event in receiver.order if event in told[lane::2]] == told[lane::2]
            seqs = [orjson.loads(receiver.bodies[event])["seq"] for event in told[lane::2]]
            assert seqs == list(range(1, 11))
        numbered = dict(receiver.bodies)
        receiver.order.clear()
        chosen = resend(now(), webhook_id=hook, status="delivered")
        assert (await run(database, workspace_id, chosen))["done"] == 20
        await until(drained)
    for lane in (0, 1):
        assert [event for event in receiver.order if event in told[lane::2]] == told[lane::2]
    assert receiver.bodies == numbered


async def test_replay_passes_over_days_that_may_be_dropped_by_now(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    """Of those it is no longer known what was owed, and an operation may have waited for long."""
    await past(admin, workspace_id, age=timedelta(days=9))
    (kept,) = await past(admin, workspace_id, age=timedelta(days=5))
    chosen = replay_missing(ago(seconds=3), hook, ago(days=20))
    assert (await count(database, workspace_id, chosen)).total == 2
    operation = await run(database, workspace_id, replace(chosen, keep_days=7))
    assert (operation["total"], operation["done"]) == (2, 1)
    owed = await admin.fetch("SELECT event_id FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
    assert [row["event_id"] for row in owed] == [kept]


async def test_case_28_what_was_expunged_is_counted_left_out_and_said(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    gone, *rest = await past(admin, workspace_id, hook, 4)
    await admin.execute(
        "UPDATE events SET expunged_at = now() "
        "WHERE event_id = (SELECT event_id FROM webhook_deliveries_done WHERE delivery_id = $1)",
        gone,
    )
    counts = await count(database, workspace_id, recover(now(), hook, ago(hours=2)))
    assert (counts.total, counts.expunged) == (3, 1)
    operation = await run(database, workspace_id, recover(now(), hook, ago(hours=2)))
    assert (operation["status"], operation["done"], operation["left_out"]) == ("done", 3, 1)
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(Conflict, match=f"{gone}: the payload was expunged"):
            await operations.found_deliveries(conn, workspace_id, resend(now(), delivery_ids=[*rest, gone]))


# Who may not


async def test_case_53_a_disabled_or_unknown_endpoint_is_refused(
    database: Database, workspace_id: str, second_workspace: str, admin: Admin, hook: str
) -> None:
    (delivery_id,) = await past(admin, workspace_id, hook)
    chosen = resend(now(), delivery_ids=[delivery_id])
    await admin.execute("UPDATE webhooks SET status = 'disabled', disabled_reason = 'gone' WHERE webhook_id = $1", hook)
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(Conflict, match=r"the webhook is disabled \(gone\): enable it first"):
            await operations.check_endpoint(conn, workspace_id, hook)
        with pytest.raises(Conflict, match=f"{delivery_id}: the webhook is disabled"):
            await operations.found_deliveries(conn, workspace_id, chosen)
        counts = await operations.count(conn, workspace_id, resend(now(), since=ago(hours=2)))
        assert (counts.total, counts.disabled) == (0, 1)
    async with database.workspace(second_workspace) as conn:
        with pytest.raises(NotFound, match="there is no such webhook"):
            await operations.check_endpoint(conn, second_workspace, hook)
        with pytest.raises(NotFound, match=f"there are no such deliveries: {delivery_id}"):
            await operations.found_deliveries(conn, second_workspace, chosen)
        assert (await operations.count(conn, second_workspace, recover(now(), hook, ago(hours=2)))).total == 0
    await admin.execute("DELETE FROM webhooks WHERE webhook_id = $1", hook)
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(Conflict, match=f"{delivery_id}: the webhook was deleted"):
            await operations.found_deliveries(conn, workspace_id, chosen)


async def test_an_endpoint_that_is_disabled_meanwhile_ends_its_part_and_is_named(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    other = await endpoint(database, workspace_id, keyring, receiver.url + "/b")
    await past(admin, workspace_id, hook, 20)
    await past(admin, workspace_id, other, 20)
    operation = await start(database, workspace_id, resend(now(), since=ago(hours=2)))
    async with database.anywhere() as conn:
        (held,) = await operations.claim(conn, 10, 60.0)
        assert await advance(conn, held, most_due=5) == "working"
        await admin.execute(
            "UPDATE webhooks SET status = 'disabled', disabled_reason = 'gone' WHERE webhook_id = $1", hook
        )
        while await advance(conn, held) == "working":
            pass
    found = await seen(database, workspace_id, operation)
    assert (found["status"], found["done"]) == ("failed", 25)
    assert found["failure"] == f"{hook} was disabled meanwhile (gone)"


async def test_an_operation_tells_for_whom_it_waits(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 20)
    operation = await start(database, workspace_id, resend(now(), since=ago(hours=2)))
    assert operation["paused"] == []
    await admin.execute(
        "INSERT INTO webhook_health (workspace_id, webhook_id, streak, open_until) VALUES ($1, $2, 10, now())",
        workspace_id,
        hook,
    )
    assert (await seen(database, workspace_id, operation))["paused"] == [hook]
    async with operating(database):
        assert (await ended(database, workspace_id, operation))["paused"] == []


async def test_a_workspace_may_have_so_many_open_and_no_more(
    database: Database, workspace_id: str, second_workspace: str, admin: Admin, hook: str
) -> None:
    chosen = recover(now(), hook, ago(hours=1))
    opened = [await start(database, workspace_id, chosen) for _ in range(operations.MOST_OPEN)]
    with pytest.raises(Conflict, match="10 operations are under way"):
        await start(database, workspace_id, chosen)
    async with database.workspace(second_workspace) as conn:
        with pytest.raises(NotFound):
            await operations.get(conn, second_workspace, opened[0]["operation_id"])
        with pytest.raises(NotFound):
            await operations.cancel(conn, second_workspace, opened[0]["operation_id"])
        assert await operations.list_operations(conn, second_workspace) == ([], None)
    async with database.workspace(workspace_id) as conn:
        await operations.cancel(conn, workspace_id, opened[0]["operation_id"])
        first, cursor = await operations.list_operations(conn, workspace_id, limit=7)
        rest, end = await operations.list_operations(conn, workspace_id, limit=7, cursor=str(cursor))
    assert [row["operation_id"] for row in first + rest] == [row["operation_id"] for row in reversed(opened)]
    assert end is None
    await start(database, workspace_id, chosen)
    await admin.execute(
        "UPDATE webhook_operations SET status = 'done', settled_at = now() - n * interval '1 day' "
        "FROM (SELECT operation_id AS id, 84 + row_number() OVER (ORDER BY operation_id) AS n FROM webhook_operations "
        "WHERE workspace_id = $1) AS aged WHERE operation_id = aged.id",
        workspace_id,
    )
    await start(database, workspace_id, chosen)
    kept = await admin.fetchval("SELECT count(*) FROM webhook_operations WHERE workspace_id = $1", workspace_id)
    assert kept == 5 + 1, "those that ended 85 to 89 days ago, and the new one"


# Who works on it


async def test_cancel_stops_it_and_leaves_what_it_made_due(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 500)
    operation = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    async with operating(database, Pace(batch=10, busy=0.02, idle=0.02, most_due=100_000)):

        async def begun() -> bool:
            return await done(database, workspace_id, operation) >= 20

        await until(begun)
        async with database.workspace(workspace_id) as conn:
            cancelled = await operations.cancel(conn, workspace_id, operation["operation_id"])
        at_once = await hot(admin, workspace_id)
        other = await start(database, workspace_id, recover(now(), hook, ago(minutes=1)))
        assert (await ended(database, workspace_id, other))["status"] == "done", "the loop goes on"
    found = await seen(database, workspace_id, operation)
    assert found == cancelled
    assert found["status"] == "cancelled"
    assert found["settled_at"]
    assert 20 <= found["done"] == at_once == await hot(admin, workspace_id) < 500
    async with database.workspace(workspace_id) as conn:
        assert await operations.cancel(conn, workspace_id, operation["operation_id"]) == found
        with pytest.raises(Conflict, match="the operation is done already"):
            await operations.cancel(conn, workspace_id, other["operation_id"])


async def test_two_workers_never_do_the_same_batch(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    """Four loops on operations that overlap, with leases so short that they pass from one to the other all the time."""
    await past(admin, workspace_id, hook, 200)
    missed = await past(admin, workspace_id, count=200, event_type="user.erased")
    pace = Pace(batch=7, busy=0.0, idle=0.01, lease=0.01, most_due=100_000)
    async with delivering(database, keyring):
        replays = [replay_missing(ago(seconds=3), hook, ago(hours=2)) for _ in range(3)]
        recovers = [recover(now(), hook, ago(hours=2))]
        started = [await start(database, workspace_id, chosen) for chosen in [*replays, *recovers]]
        async with (
            operating(database, pace),
            operating(database, pace),
            operating(database, pace),
            operating(database, pace),
        ):
            results = [await ended(database, workspace_id, operation) for operation in started]
        assert [result["status"] for result in results] == ["done"] * 4
        assert results[3]["done"] == 200
        assert sum(result["done"] for result in results[:3]) == 200

        async def arrived() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(arrived)
    assert set(receiver.of("/a").values()) == {1}
    assert len(receiver.of("/a")) == 400
    assert set(missed) <= receiver.of("/a").keys()
    assert sorted(await tries(admin, workspace_id)) == [1] * 200 + [2] * 200


async def test_a_claim_is_for_one_worker_and_ends_with_its_lease(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 30)
    operation = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    async with database.anywhere() as conn:
        (first,) = await operations.claim(conn, 10, 60.0)
        assert await operations.claim(conn, 10, 60.0) == []
        assert await advance(conn, first, batch=10) == "working"
        await admin.execute("UPDATE webhook_operations SET lease_until = now() - interval '1 second'")
        (second,) = await operations.claim(conn, 10, 60.0)
        assert await advance(conn, first) == "lost"
        await operations.fail(conn, first, "too late")
        await operations.release(conn, [first])
        assert await operations.claim(conn, 10, 60.0) == []
        assert await done(database, workspace_id, operation) == 10
        await operations.release(conn, [second])
        (third,) = await operations.claim(conn, 10, 60.0)
        assert await advance(conn, third) == "settled"
    assert await done(database, workspace_id, operation) == 30


async def test_workspaces_take_turns(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    """Whoever starts many operations does not keep the others waiting."""
    mine = await endpoint(database, workspace_id, keyring, "http://127.0.0.1:8000/a")
    theirs = await endpoint(database, second_workspace, keyring, "http://127.0.0.1:8000/a")
    for _ in range(5):
        await start(database, workspace_id, recover(now(), mine, ago(hours=1)))
    late = await start(database, second_workspace, recover(now(), theirs, ago(hours=1)))
    async with database.anywhere() as conn:
        await operations.claim(conn, 1, 60.0)
        (second,) = await operations.claim(conn, 1, 60.0)
    assert (second.workspace_id, second.operation_id) == (second_workspace, late["operation_id"])


async def test_what_comes_in_meanwhile_does_not_wait_behind_a_bulk(
    database: Database, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink
) -> None:
    """An endpoint that drains nothing is not filled up, and what is published then is among the next that arrive."""
    await past(admin, workspace_id, hook, 2_000)
    receiver.free.clear()
    operation = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    pace = Pace(busy=0.01, idle=0.01)
    async with delivering(database, keyring) as engine, operating(database, pace):

        async def full() -> bool:
            return await done(database, workspace_id, operation) >= pace.most_due

        await until(full)
        live = await emit(database, workspace_id)
        for _ in range(20):
            await asyncio.sleep(0.02)
            assert await hot(admin, workspace_id) <= pace.most_due + 1
        receiver.free.set()
        assert (await ended(database, workspace_id, operation))["done"] == 2_000
        assert engine.counts.claimed > pace.most_due
    assert receiver.order.index(live) <= 2 * pace.most_due


async def test_an_endpoints_own_limits_make_a_bulk_smaller(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 50)
    for limits, room in (("rate_count = 3", 6), ("rate_count = 1, rate_seconds = 60", 1), ("max_in_flight = 4", 8)):
        await admin.execute("UPDATE webhooks SET rate_count = NULL, rate_seconds = 1, max_in_flight = NULL")
        await admin.execute(f"UPDATE webhooks SET {limits} WHERE webhook_id = $1", hook)
        found = await admin.fetchval("SELECT webhook_room(w, 128) FROM webhooks w WHERE webhook_id = $1", hook)
        assert found == room, limits


# Who dies

LOOP = """
import asyncio, sys
from kernel.db import Database
from webhooks.recovery import Pace, work_operations

async def main():
    database = await Database.connect(sys.argv[1], name="parley-test-operations")
    await work_operations(database, asyncio.Event(), Pace(batch=5, busy=0.01, idle=0.01, most_due=100_000))

asyncio.run(main())
"""


@asynccontextmanager
async def program(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process, which is asked to stop at the end if it has not ended."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env={**os.environ, **environ})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@pytest.mark.parametrize("blocked", [False, True], ids=["between batches", "within a batch"])
async def test_a_worker_that_is_killed_is_taken_over_without_doubling(
    database: Database, stores: Stores, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str, receiver: Sink,
    blocked: bool,
) -> None:  # fmt: skip
    """What the dead one had made due is delivered before the next one takes over, so a second time would show."""
    failed = await past(admin, workspace_id, hook, 150, age=timedelta(hours=2))
    missed = await past(admin, workspace_id, count=150, event_type="user.erased")
    chosen = [recover(now(), hook, ago(hours=3)), replay_missing(ago(seconds=3), hook, ago(hours=3))]
    started = [await start(database, workspace_id, one) for one in chosen]
    lock = admin.transaction()
    if blocked:
        await lock.start()
        await admin.execute("SELECT FROM webhook_deliveries_done WHERE delivery_id = $1 FOR UPDATE", failed[72])
    async with program("-c", LOOP, stores.app_url) as process:

        async def midway() -> bool:
            recovered, replayed = [await done(database, workspace_id, operation) for operation in started]
            return replayed > 20 and (recovered == 70 if blocked else recovered > 20)

        await until(midway)
        if blocked:
            await until(lambda: waits_for_a_lock(database))
        process.send_signal(signal.SIGKILL)
        await process.wait()
    if blocked:
        await lock.rollback()
    left = [await seen(database, workspace_id, operation) for operation in started]
    assert [row["status"] for row in left] == ["running", "running"]
    assert max(row["done"] for row in left) < 150

    async with delivering(database, keyring):

        async def drained() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(drained)
        await admin.execute("UPDATE webhook_operations SET lease_until = now() WHERE lease_until IS NOT NULL")
        async with operating(database):
            results = [await ended(database, workspace_id, operation) for operation in started]
        assert [(row["status"], row["done"]) for row in results] == [("done", 150), ("done", 150)]
        await until(drained)
    assert len(receiver.of("/a")) == 300
    assert set(receiver.of("/a").values()) == {1}
    assert set(missed) <= receiver.of("/a").keys()
    assert sorted(await tries(admin, workspace_id)) == [1] * 150 + [2] * 150


async def waits_for_a_lock(database: Database) -> bool:
    async with database.anywhere() as conn:
        found: bool = await conn.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity "
            "WHERE application_name = 'parley-test-operations' AND wait_event_type = 'Lock')"
        )
        return found


async def test_the_workers_process_is_killed_and_another_one_ends_it(
    ground: Ground, workspace_id: str, admin: Admin, hook: str, receiver: Sink
) -> None:
    """With the engine in the same process: every delivery arrives, twice only what was under way at the kill."""
    await past(admin, workspace_id, hook, 400)
    receiver.free.clear()
    operation = await start(ground.database, workspace_id, recover(now(), hook, ago(hours=2)))
    async with program("-m", "gateway", "work", **environment(ground.settings)) as first:

        async def stuck() -> bool:
            return receiver.got.total() > 0 and await done(ground.database, workspace_id, operation) >= Pace().most_due

        await until(stuck, 60)
        first.send_signal(signal.SIGKILL)
        await first.wait()
    under_way = receiver.got.total()
    assert (await seen(ground.database, workspace_id, operation))["status"] == "running"
    receiver.free.set()
    past_now = "lease_until = now() - interval '1 second'"
    await admin.execute(f"UPDATE webhook_operations SET {past_now} WHERE lease_until IS NOT NULL")
    await admin.execute(f"UPDATE webhook_deliveries SET {past_now} WHERE lease_until IS NOT NULL")
    async with program("-m", "gateway", "work", **environment(ground.settings)) as second:
        result = await ended(ground.database, workspace_id, operation)
        assert (result["status"], result["total"], result["done"]) == ("done", 400, 400)

        async def drained() -> bool:
            return await hot(admin, workspace_id) == 0

        await until(drained, 60)
    assert second.returncode == 0
    assert len(receiver.of("/a")) == 400
    assert max(receiver.of("/a").values()) <= 2
    assert receiver.got.total() <= 400 + under_way


async def test_a_loop_that_is_stopped_hands_back_and_one_without_a_database_goes_on(
    database: Database, stores: Stores, workspace_id: str, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 100)
    operation = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    own = await Database.connect(stores.app_url, name="parley-test-cut")
    async with operating(own, Pace(batch=5, busy=0.02, idle=0.02, most_due=100_000)):

        async def begun() -> bool:
            return await done(database, workspace_id, operation) >= 10

        await until(begun)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'parley-test-cut'"
        )
        before = await done(database, workspace_id, operation)

        async def goes_on() -> bool:
            return await done(database, workspace_id, operation) > before

        await until(goes_on)
    await own.close()
    held = await admin.fetchval(
        "SELECT lease_token FROM webhook_operations WHERE operation_id = $1", operation["operation_id"]
    )
    assert held is None
    async with operating(database, QUICK):
        assert (await ended(database, workspace_id, operation))["done"] == 100


async def test_a_batch_that_the_database_refuses_ends_the_operation_and_no_other(
    database: Database, workspace_id: str, admin: Admin, hook: str
) -> None:
    await past(admin, workspace_id, hook, 10)
    broken = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    await admin.execute(
        "UPDATE webhook_operations SET done = 9223372036854775807 WHERE operation_id = $1", broken["operation_id"]
    )
    fine = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    async with operating(database):
        assert (await ended(database, workspace_id, fine))["done"] == 10
        found = await ended(database, workspace_id, broken)
    assert found["status"] == "failed"
    assert found["failure"] == "a batch was refused by the database (NumericValueOutOfRangeError)"


async def test_a_batch_that_finds_locks_is_postponed_and_in_the_end_given_up(
    database: Database, stores: Stores, workspace_id: str, keyring: KeyRing, admin: Admin, hook: str
) -> None:
    other = await endpoint(database, workspace_id, keyring, "http://127.0.0.1:9001/b")
    held = await past(admin, workspace_id, hook, 10)
    await past(admin, workspace_id, other, 100)
    stuck = await start(database, workspace_id, recover(now(), hook, ago(hours=2)))
    fine = await start(database, workspace_id, recover(now(), other, ago(hours=2)))
    own = await Database.connect(stores.app_url, name="parley-test-operations")
    lock = admin.transaction()
    await lock.start()
    await admin.execute("SELECT FROM webhook_deliveries_done WHERE delivery_id = $1 FOR UPDATE", held[3])
    async with operating(own, Pace(batch=10, busy=0.01, idle=0.01, most_due=100_000)):

        async def over() -> bool:
            await admin.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'parley-test-operations' AND wait_event_type = 'Lock'"
            )
            return bool((await seen(database, workspace_id, stuck))["status"] == "failed")

        await until(over)
        assert await done(database, workspace_id, fine) >= 40, "the others go on meanwhile"
        assert (await ended(database, workspace_id, fine))["done"] == 100
    await lock.rollback()
    await own.close()
    found = await seen(database, workspace_id, stuck)
    assert (found["done"], found["failure"]) == (0, "its batches took too long, or found what they needed locked")
    assert (await run(database, workspace_id, recover(now(), hook, ago(hours=2))))["done"] == 10
