"""Delivery, case by case as other senders test it: the numbers are those of the list of cases."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import repeat
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from kernel.db import Database
from kernel.errors import Conflict
from kernel.events import publish
from kernel.secrets import KeyRing, generate_ring
from kernel.settings import Settings
from tests.engine_kit import (
    OK,
    Receiver,
    add,
    claim,
    emit,
    end_leases,
    fail,
    log,
    make_due,
    owe_nothing,
    receiving,
    record,
    running,
    until,
)
from webhooks import claims, deliveries, endpoints
from webhooks import engine as engine_module
from webhooks.claims import Result
from webhooks.decide import Delivered, Exhausted
from webhooks.recorder import Recorder
from webhooks.transport import Outcome


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def clean(admin: asyncpg.Connection[Any]) -> None:
    await owe_nothing(admin)


async def retry_at_once(admin: asyncpg.Connection[Any], workspace_id: str, tries: int) -> None:
    await admin.execute(
        "UPDATE webhooks SET schedule = array_fill(0, ARRAY[$2::integer]) WHERE workspace_id = $1",
        workspace_id,
        tries - 1,
    )


async def test_case_18_one_of_three_fails_and_is_retried_alone(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    for name in "abc":
        await add(database, workspace_id, keyring, f"{receiver.url}/{name}", "user.*")
    await retry_at_once(admin, workspace_id, 3)
    receiver.scripts["/b"] = iter([500])
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 4)
    assert Counter(receiver.paths()) == {"/a": 1, "/b": 2, "/c": 1}
    assert {row["status"] for row in await log(database, workspace_id)} == {"delivered"}


async def test_case_14_and_15_tries_are_one_more_than_the_schedule_is_long(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    thrice, _ = await add(database, workspace_id, keyring, receiver.url + "/thrice", "user.*")
    await retry_at_once(admin, workspace_id, 3)
    once, _ = await add(database, workspace_id, keyring, receiver.url + "/once", "user.*", schedule=[])
    for path in ("/thrice", "/once"):
        receiver.scripts[path] = repeat(500)
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.decisions["Exhausted"] == 2)
    assert Counter(receiver.paths()) == {"/thrice": 3, "/once": 1}
    assert {
        r["webhook_id"]: (r["status"], r["attempts"]) for r in await log(database, workspace_id, "user.created")
    } == {
        thrice: ("exhausted", 3),
        once: ("exhausted", 1),
    }


async def test_the_most_exact_pattern_of_a_type_sets_its_schedule(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    schedules = {"session.*": [60], "session.started": [], "*": [7, 8]}
    await add(database, workspace_id, keyring, "https://a.example/", schedule=[1, 2, 3], schedules=schedules)
    await add(database, workspace_id, keyring, "https://b.example/", schedule=[1, 2, 3], schedules={"session.*": [60]})
    await add(database, workspace_id, keyring, "https://c.example/")
    async with database.workspace(workspace_id) as conn:
        for kind in ("session.started", "session.abandoned", "user.created"):
            await publish(conn, workspace_id, kind, {"user_id": "usr_1"})
    found = {(item.terms.url[8], item.event_type): item.schedule for item in await claim(database)}
    assert found == {
        ("a", "session.started"): (), ("a", "session.abandoned"): (60,), ("a", "user.created"): (7, 8),
        ("b", "session.started"): (60,), ("b", "session.abandoned"): (60,), ("b", "user.created"): (1, 2, 3),
        ("c", "session.started"): None, ("c", "session.abandoned"): None, ("c", "user.created"): None,
    }  # fmt: skip


async def test_case_40_each_is_seen_exactly_once_the_delayed_ones_not_before_their_time(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    for n in range(4):
        await add(database, workspace_id, keyring, f"https://example.com/{n}", "user.*")
    done: list[str] = []
    tried: Counter[str] = Counter()

    async def produce() -> None:
        for _ in range(5):
            await emit(database, workspace_id, 4)

    async def consume(seed: int) -> None:
        dice = random.Random(seed)
        idle = 0
        while idle < 20:
            held = await claim(database, 9, 9, 9)
            idle = 0 if held else idle + 1
            for item in held:
                tried[item.delivery_id] += 1
                assert tried[item.delivery_id] == item.attempt
                if item.attempt == 1 and dice.random() < 0.3:
                    await fail(database, item, at=1.0)
                elif item.attempt == 1 and dice.random() < 0.1:
                    await fail(database, item, at=4_000_000_000.0)
                else:
                    assert await record(database, (item, OK, Delivered())) == [True]
                    done.append(item.delivery_id)
            if not held:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(produce() for _ in range(8)), *(consume(seed) for seed in range(8)))
    rows = await log(database, workspace_id)
    delayed = [row["delivery_id"] for row in rows if row["status"] == "pending"]
    assert len(done) == len(set(done)) == 8 * 5 * 4 * 4 - len(delayed)
    assert delayed and not set(delayed) & set(done)


async def test_case_41_what_cannot_be_delivered_ends_and_can_be_sent_again(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await retry_at_once(admin, workspace_id, 3)
    receiver.scripts["/a"] = iter([500] * 3)
    await emit(database, workspace_id, 1)
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.decisions["Exhausted"] == 1)
        (row,) = await log(database, workspace_id, "user.created")
        async with database.workspace(workspace_id) as conn:
            await deliveries.resend(conn, workspace_id, row["delivery_id"])
        await until(lambda: engine.counts.decisions["Delivered"] == 1)
    (row,) = await log(database, workspace_id, "user.created")
    assert (row["status"], [a["attempt"] for a in row["attempt_log"]]) == ("delivered", [1, 2, 3, 4])


async def test_case_46_what_does_not_match_is_not_delivered_and_what_comes_later_is(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "session.*")
    async with running(database, keyring) as engine:
        async with database.workspace(workspace_id) as conn:
            await publish(conn, workspace_id, "user.created", {"user_id": "usr_1"})
            await publish(conn, workspace_id, "session.started", {"user_id": "usr_1"})
        await until(lambda: engine.counts.recorded == 1)
    ((_, _, body),) = receiver.got
    assert b'"session.started"' in body


async def test_case_50_two_endpoints_that_fail_get_a_retry_each(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    for name in "ab":
        await add(database, workspace_id, keyring, f"{receiver.url}/{name}", "user.*")
        receiver.scripts[f"/{name}"] = iter([500])
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 2)
        waiting = await log(database, workspace_id)
        assert [(row["status"], row["attempts"]) for row in waiting] == [("pending", 1)] * 2
        await make_due(admin, workspace_id)
        await until(lambda: engine.counts.recorded == 4)
    assert Counter(receiver.paths()) == {"/a": 2, "/b": 2}


async def test_case_51_a_resend_takes_the_place_of_the_pending_retry(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*", schedule=[900, 1_800])
    await emit(database, workspace_id)
    (first,) = await claim(database)
    await fail(database, first, at=4_000_000_000.0)
    assert await claim(database) == []
    async with database.workspace(workspace_id) as conn:
        await deliveries.resend(conn, workspace_id, first.delivery_id)
    (second,) = await claim(database)
    assert (second.attempt, second.schedule) == (2, (900, 1_800))
    await fail(database, second, at=4_000_000_000.0)
    assert await claim(database) == []  # the retry that had been due is not a second one
    (row,) = await log(database, workspace_id)
    assert [a["attempt"] for a in row["attempt_log"]] == [1, 2]


async def test_case_52_two_resends_run_twice(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        for tries in (1, 2, 3):
            await until(lambda wanted=tries: engine.counts.recorded == wanted)
            (row,) = await log(database, workspace_id)
            if tries < 3:
                async with database.workspace(workspace_id) as conn:
                    await deliveries.resend(conn, workspace_id, row["delivery_id"])
                    await deliveries.resend(conn, workspace_id, row["delivery_id"])  # still the same try
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


async def test_case_53_nothing_is_resent_to_a_disabled_endpoint(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id)
    (held,) = await claim(database)
    await fail(database, held, at=None)
    async with database.workspace(workspace_id) as conn:
        await endpoints.set_status(conn, workspace_id, webhook_id, "disabled")
        with pytest.raises(Conflict):
            await deliveries.resend(conn, workspace_id, held.delivery_id)
    assert await claim(database) == []


async def test_case_54_a_retry_that_is_due_at_once_has_its_log(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await retry_at_once(admin, workspace_id, 9)
    receiver.scripts["/a"] = iter([500] * 8)
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 9)
    (row,) = await log(database, workspace_id, "user.created")
    assert [(a["attempt"], a["status_code"]) for a in row["attempt_log"]] == [(n, 500) for n in range(1, 9)] + [
        (9, 200)
    ]


async def test_case_55_a_try_that_cannot_even_begin_ends_too(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await retry_at_once(admin, workspace_id, 5)
    await emit(database, workspace_id)
    async with running(database, KeyRing.parse(generate_ring())) as engine:
        await until(lambda: engine.counts.decisions["Exhausted"] == 1)
    (row,) = await log(database, workspace_id, "user.created")
    assert (row["status"], [a["error_code"] for a in row["attempt_log"]]) == ("exhausted", ["secret_unreadable"] * 5)
    assert receiver.got == []


async def test_a_delivery_whose_event_is_gone_ends_at_once(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await emit(database, workspace_id, 2)
    await admin.execute(
        "DELETE FROM events WHERE event_id = (SELECT min(event_id) FROM events WHERE workspace_id = $1)", workspace_id
    )
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 2)
    rows = await log(database, workspace_id, "user.created")
    assert sorted((row["status"], row["attempt_log"][0]["error_code"]) for row in rows) == [
        ("delivered", ""),
        ("exhausted", "event_gone"),
    ]


async def recorded(database: Database, *results: Result) -> list[tuple[Result, bool]]:
    done: list[tuple[Result, bool]] = []
    recorder = Recorder(database, lambda result, applied: done.append((result, applied)), lambda: 0.0, time.time)
    task = asyncio.create_task(recorder.run())
    for result in results:
        recorder.add(result)
    await recorder.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return done


@pytest.mark.parametrize("bad", ["refused by the server: \0", "refused by the driver: \ud800"])
async def test_case_57_an_answer_that_cannot_be_logged_does_not_send_it_again(
    database: Database, workspace_id: str, keyring: KeyRing, bad: str
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 3)
    held = await claim(database)
    odd = Outcome(1_700_000_000.0, 5, 200, "", bad, {"x": "y"}, b"thanks")
    done = await recorded(database, *(Result(item, odd if n == 1 else OK, Delivered()) for n, item in enumerate(held)))
    assert [applied for _, applied in done] == [True] * 3
    rows = {row["delivery_id"]: row for row in await log(database, workspace_id)}
    assert {row["status"] for row in rows.values()} == {"delivered"}
    (attempt,) = rows[held[1].delivery_id]["attempt_log"]
    assert (attempt["status_code"], attempt["duration_ms"], attempt["response"]) == (200, 5, "")


async def test_case_62_connections_are_kept_and_are_no_more_than_sends_at_once(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    for name in "abcd":
        await add(database, workspace_id, keyring, f"{receiver.url}/{name}", "user.*")
    async with running(database, keyring, slots=8) as engine:
        for wanted in range(1, 11):
            await emit(database, workspace_id, 10)
            await until(lambda wanted=wanted: engine.counts.recorded == wanted * 40)
    assert len(receiver.got) == 400
    assert receiver.most_at_once <= 8
    assert len(receiver.peers) <= 8


async def test_case_67_a_lease_is_not_settled_by_another_token(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id)
    (held,) = await claim(database)
    stranger = held._replace(token="0" * 24)
    assert await record(database, (stranger, OK, Delivered()), (stranger, OK, Exhausted())) == [False, False]
    async with database.anywhere() as conn:
        assert await claims.release(conn, [stranger]) == 0
    assert await record(database, (held, OK, Delivered())) == [True]
    assert await admin.fetchval("SELECT count(*) FROM webhook_attempts WHERE workspace_id = $1", workspace_id) == 1


async def test_a_lease_lasts_for_the_endpoints_timeout_and_half_a_minute(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    for seconds in (2, 30):
        await add(database, workspace_id, keyring, f"https://example.com/{seconds}", "user.*", timeout_seconds=seconds)
    await emit(database, workspace_id)
    assert {item.terms.timeout_seconds for item in await claim(database)} == {2, 30}
    leases = await admin.fetch(
        "SELECT round(extract(epoch FROM lease_until - now()))::int AS seconds FROM webhook_deliveries "
        "WHERE workspace_id = $1 ORDER BY 1",
        workspace_id,
    )
    assert [row["seconds"] in near for row, near in zip(leases, ({31, 32}, {59, 60}), strict=True)] == [True, True]


async def test_a_try_takes_no_longer_than_its_endpoint_wants(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*", timeout_seconds=1)
    receiver.scripts["/a"] = repeat(0)
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
    (row,) = await log(database, workspace_id)
    (attempt,) = row["attempt_log"]
    assert (attempt["error_code"], attempt["duration_ms"] >= 1_000) == ("timeout", True)


async def test_a_receiver_ends_one_delivery_or_its_endpoint_by_a_header(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    many = {f"X-{n}": "y" for n in range(40)}
    receiver.scripts["/a"], receiver.headers = iter([500]), {**many, "Webhook-Delivery": "abort-message"}
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
        receiver.headers = {"webhook-delivery": "disable"}
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 2)
    last, first = await log(database, workspace_id, "user.created")
    assert (first["status"], first["attempts"], last["status"]) == ("exhausted", 1, "delivered")
    assert "no more of this delivery" in first["attempt_log"][0]["detail"]
    async with database.workspace(workspace_id) as conn:
        seen = await endpoints.get(conn, workspace_id, webhook_id)
    assert (seen["status"], seen["disabled_reason"]) == ("disabled", "by receiver")


async def test_an_endpoints_own_headers_go_along_and_are_masked_in_the_log(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    options = {"headers": {"X-Team": "ops", "X-Api-Key": "hush"}}
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*", **options)
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
    ((_, headers, _),) = receiver.got
    assert (headers["X-Team"], headers["X-Api-Key"]) == ("ops", "hush")
    told = await admin.fetchrow(
        "SELECT url, request_headers::text AS sent FROM webhook_attempts WHERE workspace_id = $1", workspace_id
    )
    assert told and told["url"] == receiver.url + "/a"
    assert "X-Team" in told["sent"] and "webhook-signature" in told["sent"] and "hush" not in told["sent"]


async def test_retries_leave_room_for_first_tries_and_both_for_late_ones(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/slow", "user.*")
    receiver.scripts["/slow"] = repeat(0)
    await emit(database, workspace_id, 40)
    await admin.execute("UPDATE webhook_deliveries SET attempts = 1 WHERE workspace_id = $1", workspace_id)
    async with running(database, keyring, slots=20, per_endpoint=100, drain=0.1) as engine:
        await until(lambda: receiver.at_once == 7)  # 35 % of the slots
        await emit(database, workspace_id, 40)
        await until(lambda: receiver.at_once == 17)  # and ten first tries
        await admin.execute(
            "UPDATE webhook_deliveries SET attempts = 4 "
            "WHERE workspace_id = $1 AND attempts = 1 AND status = 'pending'",
            workspace_id,
        )
        await until(lambda: receiver.at_once == 20)  # 15 % are for late retries alone
        assert engine.counts.recorded == 0


async def test_what_waited_too_long_for_a_slot_is_handed_back_untried(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*")
    await emit(database, workspace_id, 3)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "_LEASE_MARGIN", -2.0)  # every lease has run out before its send begins
        async with running(database, keyring) as engine:
            await until(lambda: engine.counts.released >= 6)
        assert (engine.counts.recorded, engine.in_flight, receiver.got) == (0, 0, [])
    assert {(row["status"], row["attempts"]) for row in await log(database, workspace_id)} == {("pending", 0)}
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 3)


async def test_a_worker_that_freezes_while_it_claims_does_not_stop_the_others(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await emit(database, workspace_id, 3)
    async with admin.transaction():
        await admin.execute("SELECT pg_advisory_xact_lock(hashtext('parley claims'))")
        await admin.execute(
            "UPDATE webhook_deliveries SET attempts = 1 WHERE position = "
            "(SELECT min(position) FROM webhook_deliveries WHERE workspace_id = $1)",
            workspace_id,
        )
        assert len(await claim(database)) == 2


FROZEN = """
import asyncio, ipaddress, json, signal, sys
from kernel.db import Database
from kernel.secrets import KeyRing
from webhooks.engine import DeliveryEngine
async def main(url, ring):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = await Database.connect(url)
    engine = DeliveryEngine(database, KeyRing.parse(ring), [ipaddress.ip_network("127.0.0.0/8")], drain=5.0)
    await engine.run(stop)
    await database.close()
    print(json.dumps([engine.counts.claimed, engine.counts.recorded, engine.counts.stale]))
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_frozen_worker_that_wakes_late_changes_nothing(
    database: Database, workspace_id: str, keyring: KeyRing, settings: Settings, receiver: Receiver,
    admin: asyncpg.Connection[Any],
) -> None:  # fmt: skip
    await add(database, workspace_id, keyring, receiver.url + "/a", "user.*", timeout_seconds=30)
    receiver.scripts["/a"] = iter([0, 200])
    await emit(database, workspace_id)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FROZEN, settings.database_url, settings.secret_keys,
        cwd=Path(__file__).resolve().parent.parent, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await until(lambda: len(receiver.got) == 1)
        os.kill(worker.pid, signal.SIGSTOP)
        await end_leases(admin, workspace_id)
        async with running(database, keyring) as engine:
            await until(lambda: engine.counts.recorded == 1)
        receiver.released.set()  # the answer to the first try waits in the frozen worker's socket
        os.kill(worker.pid, signal.SIGCONT)
        worker.terminate()
        out, _ = await worker.communicate()
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert orjson.loads(out) == [1, 0, 1]
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempts"]) == ("delivered", 2)
    assert [a["error_code"] for a in row["attempt_log"]] == ["unknown_outcome", ""]
