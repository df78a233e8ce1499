"""The delivery loop against a real Postgres and real receivers: nothing lost, nothing applied twice, nobody starved."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import standardwebhooks

from kernel.db import Database
from kernel.errors import Conflict
from kernel.events import publish
from kernel.secrets import KeyRing
from tests.engine_kit import (
    DOWN,
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
    sweep,
    until,
)
from webhooks import claims, deliveries, endpoints
from webhooks.claims import Result
from webhooks.decide import MAX_ATTEMPTS, Delivered, DisableEndpoint, Exhausted, RetryAt
from webhooks.engine import DeliveryEngine
from webhooks.transport import Outcome


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def clean(admin: asyncpg.Connection[Any]) -> None:
    await owe_nothing(admin)


async def test_a_delivery_arrives_signed_and_is_logged(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    _, secret = await add(database, workspace_id, keyring, receiver.url + "/a")
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
    ((_, headers, body),) = receiver.got
    event = standardwebhooks.Webhook(secret).verify(body, headers)
    assert event["type"] == "user.created"
    assert headers["webhook-id"] == event["id"]
    assert headers["Content-Type"] == "application/json"
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempts"], row["next_attempt_at"]) == ("delivered", 1, None)
    (attempt,) = row["attempt_log"]
    assert (attempt["attempt"], attempt["status_code"], attempt["error_code"]) == (1, 200, "")
    assert (attempt["response"], attempt["truncated"]) == ("thanks", False)
    assert engine.in_flight == 0
    assert engine.counts.outcomes == {"ok": 1}


async def test_case_19_a_failure_is_retried_with_the_same_id_and_bytes(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    webhook_id, secret = await add(database, workspace_id, keyring, receiver.url + "/a")
    await add(database, workspace_id, keyring, receiver.url + "/b")
    receiver.scripts["/a"] = iter([500])
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 2)
        async with database.workspace(workspace_id) as conn:
            assert (await endpoints.get(conn, workspace_id, webhook_id))["failing_since"]
            (waiting,), _ = await deliveries.list_deliveries(conn, workspace_id, status="pending")
        assert (waiting["attempts"], waiting["webhook_id"]) == (1, webhook_id)
        assert waiting["next_attempt_at"] > waiting["created_at"]
        await make_due(admin, workspace_id)
        await until(lambda: engine.counts.recorded == 3)
    assert sorted(receiver.paths()) == ["/a", "/a", "/b"]
    first, second = [entry for entry in receiver.got if entry[0] == "/a"]
    assert first[2] == second[2]
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    standardwebhooks.Webhook(secret).verify(second[2], second[1])
    async with database.workspace(workspace_id) as conn:
        assert (await endpoints.get(conn, workspace_id, webhook_id))["failing_since"] is None
    done = [row for row in await log(database, workspace_id) if row["webhook_id"] == webhook_id]
    assert [(a["status_code"], a["error_code"]) for a in done[0]["attempt_log"]] == [(500, "http_status"), (200, "")]


async def test_gone_disables_the_endpoint_and_tells_the_others(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    gone, _ = await add(database, workspace_id, keyring, receiver.url + "/gone", "user.*")
    await add(database, workspace_id, keyring, receiver.url + "/ops", "webhook.disabled")
    receiver.scripts["/gone"] = iter([410])
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 2)
        await emit(database, workspace_id)
    assert receiver.paths() == ["/gone", "/ops"]
    assert gone.encode() in receiver.got[1][2]
    async with database.workspace(workspace_id) as conn:
        seen = await endpoints.get(conn, workspace_id, gone)
    assert (seen["status"], seen["disabled_reason"]) == ("disabled", "gone")
    assert sorted(row["status"] for row in await log(database, workspace_id)) == ["delivered", "exhausted"]


async def test_retry_after_moves_the_next_try(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    receiver.scripts["/a"], receiver.headers = iter([429]), {"Retry-After": "600"}
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
    (row,) = await log(database, workspace_id)
    assert 595 <= (row["next_attempt_at"] - row["created_at"]).total_seconds() <= 660


async def test_case_47_what_is_owed_waits_while_an_endpoint_is_disabled(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, receiver.url + "/a")
    await emit(database, workspace_id)
    async with database.workspace(workspace_id) as conn:
        await endpoints.set_status(conn, workspace_id, webhook_id, "disabled")
    assert await claim(database) == []
    async with database.anywhere() as conn:
        assert await claims.next_due(conn) is None
    await emit(database, workspace_id)
    async with running(database, keyring) as engine:
        async with database.workspace(workspace_id) as conn:
            await endpoints.set_status(conn, workspace_id, webhook_id, "enabled")
        await until(lambda: engine.counts.recorded == 1)
    assert len(await log(database, workspace_id)) == 1


async def test_a_blocked_address_fails_fast(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    engine = DeliveryEngine(database, keyring, ())
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    await emit(database, workspace_id)
    await until(lambda: engine.counts.recorded == 1)
    await make_due(admin, workspace_id)
    await until(lambda: engine.counts.recorded == 2)
    stop.set()
    await task
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempts"]) == ("exhausted", 2)
    assert {a["error_code"] for a in row["attempt_log"]} == {"blocked_address"}
    assert receiver.got == []


async def test_a_secret_that_cannot_be_opened_is_a_logged_failure(
    database: Database, workspace_id: str, receiver: Receiver, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    stranger = KeyRing("other", {"other": bytes(range(32))})
    async with running(database, stranger) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempt_log"][0]["error_code"]) == ("pending", "secret_unreadable")
    assert receiver.got == []


async def test_case_56_a_late_result_of_a_lost_lease_changes_nothing(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id)
    (stale,) = await claim(database)
    await end_leases(admin, workspace_id)
    assert await sweep(database) == 1
    (fresh,) = await claim(database)
    assert (stale.attempt, fresh.attempt) == (1, 2)
    assert (fresh.event_id, fresh.body) == (stale.event_id, stale.body)
    assert await record(database, (stale, DOWN, Exhausted())) == [False]
    assert await record(database, (fresh, OK, Delivered()), (stale, DOWN, Exhausted())) == [True, True]
    assert await record(database, (fresh, OK, Delivered())) == [False]
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempts"]) == ("delivered", 2)
    assert [a["error_code"] for a in row["attempt_log"]] == ["unknown_outcome", ""]


async def test_case_41_lost_leases_use_up_the_tries(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id)
    for _ in range(MAX_ATTEMPTS):
        assert len(await claim(database)) == 1
        await end_leases(admin, workspace_id)
        assert await sweep(database) == 1
    assert await claim(database) == []
    (row,) = await log(database, workspace_id)
    assert (row["status"], row["attempts"], len(row["attempt_log"])) == ("exhausted", MAX_ATTEMPTS, MAX_ATTEMPTS)


async def test_case_42_a_dead_worker_is_replaced(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    await emit(database, workspace_id, 5)
    assert len(await claim(database)) == 5  # by a worker that is never heard of again
    async with running(database, keyring) as engine:
        await end_leases(admin, workspace_id)
        await admin.execute("SELECT pg_notify('parley_deliveries', '')")
        await until(lambda: engine.counts.recorded == 5)
    assert engine.counts.reaped == 5
    rows = await log(database, workspace_id)
    assert {(row["status"], row["attempts"]) for row in rows} == {("delivered", 2)}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 5


async def test_case_67_twenty_claimers_never_share_a_row(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    for n in range(4):
        await add(database, workspace_id, keyring, f"https://example.com/{n}")
    await emit(database, workspace_id, 50)

    async def take() -> list[str]:
        mine: list[str] = []
        for _ in range(40):
            found = await claim(database, 7, 7, 7, 1_000)
            mine += [item.delivery_id for item in found]
        return mine

    taken = [one for many in await asyncio.gather(*(take() for _ in range(20))) for one in many]
    assert len(taken) == len(set(taken)) == 200


async def test_every_endpoint_gets_a_turn_and_none_more_than_its_cap(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    busy, _ = await add(database, workspace_id, keyring, "https://busy.example/")
    await emit(database, workspace_id, 300)
    quiet = [(await add(database, workspace_id, keyring, f"https://quiet.example/{n}"))[0] for n in range(3)]
    await emit(database, workspace_id)
    found = await claim(database, 8, 8, 8, 20)
    assert {item.webhook_id for item in found} == {busy, *quiet}
    assert len(found) <= 8
    await claim(database, 500, 500, 500, 20)
    held = await admin.fetch(
        "SELECT webhook_id, count(*) AS n FROM webhook_deliveries "
        "WHERE status = 'leased' AND workspace_id = $1 GROUP BY 1",
        workspace_id,
    )
    assert {row["webhook_id"]: row["n"] for row in held} == {busy: 20, **dict.fromkeys(quiet, 1)}


async def test_first_tries_and_retries_and_late_retries_have_limits_of_their_own(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    for n in range(2):
        await add(database, workspace_id, keyring, f"https://example.com/{n}")
    await emit(database, workspace_id, 10)
    await fail(database, *await claim(database))
    await admin.execute("UPDATE webhook_deliveries SET attempts = 4 WHERE position % 2 = 0")
    await admin.execute("DELETE FROM webhook_health WHERE workspace_id = $1", workspace_id)
    await emit(database, workspace_id, 10)
    found = await claim(database, 6, 4, 2)
    assert sorted(item.attempt for item in found) == [1] * 6 + [2] * 4 + [5] * 2


async def test_a_failing_endpoint_holds_an_eighth(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 40)
    (probe,) = await claim(database, 1, 0, 0, 16)
    await record(database, (probe, DOWN, RetryAt(time.time() + 1_000)))
    assert len(await claim(database, 100, 100, 100, 16)) == 2


async def test_a_dead_endpoint_does_not_hold_up_the_rest(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/dead")
    receiver.scripts["/dead"] = iter([0] * 1_000)
    await emit(database, workspace_id, 100)
    for n in range(3):
        await add(database, workspace_id, keyring, f"{receiver.url}/live{n}", "ping")
    async with running(database, keyring, slots=20, per_endpoint=8, drain=0.1) as engine:
        await until(lambda: receiver.paths().count("/dead") == 8)
        async with database.workspace(workspace_id) as conn:
            for _ in range(30):
                await publish(conn, workspace_id, "ping", {})
        await until(lambda: sum(path.startswith("/live") for path in receiver.paths()) == 90)
        assert receiver.paths().count("/dead") == 8  # its tries are still open: the others went past it
        assert engine.counts.outcomes["ok"] <= 90
    rows = [row for row in await log(database, workspace_id) if row["event_type"] != "ping"]
    assert sum(row["attempts"] for row in rows) == 8


async def test_case_67_a_stop_finishes_or_hands_back(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/slow")
    receiver.scripts["/slow"] = iter([0] * 100)
    await emit(database, workspace_id, 10)
    async with running(database, keyring, slots=5, per_endpoint=100, drain=0.1) as engine:
        await until(lambda: len(receiver.got) == 4)
    rows = await log(database, workspace_id)
    assert {row["status"] for row in rows} == {"pending"}
    cut = [row["attempt_log"] for row in rows if row["attempts"]]
    assert [[a["error_code"] for a in attempts] for attempts in cut] == [["interrupted"]] * 4
    assert engine.counts.released == engine.counts.claimed - 4
    assert engine.in_flight == engine.counts.released
    async with running(database, keyring) as again:
        receiver.released.set()
        await until(lambda: again.counts.recorded == 10)


async def test_case_44_deleting_an_endpoint_stops_its_deliveries(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 3)
    (under_way,) = await claim(database, 1, 0, 0)
    async with database.workspace(workspace_id) as conn:
        await endpoints.delete(conn, workspace_id, webhook_id)
    assert await claim(database) == []
    assert await record(database, (under_way, DOWN, RetryAt(1.0))) == [True]
    assert await claim(database) == []
    await sweep(database)
    rows = await log(database, workspace_id)
    assert [row["status"] for row in rows] == ["cancelled"] * 3
    assert sum(len(row["attempt_log"]) for row in rows) == 1


async def test_resend_takes_the_next_number(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    async with running(database, keyring) as engine:
        await emit(database, workspace_id)
        await until(lambda: engine.counts.recorded == 1)
        (row,) = await log(database, workspace_id)
        async with database.workspace(workspace_id) as conn:
            await deliveries.resend(conn, workspace_id, row["delivery_id"])
        await until(lambda: engine.counts.recorded == 2)
    (row,) = await log(database, workspace_id)
    assert (row["status"], [a["attempt"] for a in row["attempt_log"]]) == ("delivered", [1, 2])
    assert receiver.got[0][2] == receiver.got[1][2]


async def test_resend_refuses_while_a_try_is_under_way(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id)
    (held,) = await claim(database)
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(Conflict):
            await deliveries.resend(conn, workspace_id, held.delivery_id)
        assert (await deliveries.get(conn, workspace_id, held.delivery_id))["status"] == "pending"


async def test_lost_connections_are_replaced(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    async with running(database, keyring) as engine:
        for round_ in range(1, 4):
            for _ in range(3):
                await admin.execute("SELECT publish_event($1, 'user.created', '{}')", workspace_id)
            await until(lambda wanted=3 * round_: engine.counts.recorded == wanted)
            await admin.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'parley' AND datname = current_database()"
            )
    assert len(receiver.got) == 9


@pytest.mark.parametrize("bad", ["refused by the server: \0", "refused by the driver: \ud800"])
async def test_one_bad_row_does_not_spoil_its_batch(
    database: Database,
    workspace_id: str,
    keyring: KeyRing,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
) -> None:
    await add(database, workspace_id, keyring, receiver.url + "/a")
    await emit(database, workspace_id, 6)
    real = claims._row
    spoiled: list[str] = []

    def spoil(result: Result) -> tuple[object, ...]:
        row = list(real(result))
        if not spoiled:
            spoiled.append(result.claim.delivery_id)
        if result.claim.delivery_id in spoiled:
            row[9] = bad
        return tuple(row)

    monkeypatch.setattr(claims, "_row", spoil)
    async with running(database, keyring) as engine:
        await until(lambda: engine.counts.recorded == 5 and engine.counts.stale == 1)
    held = [row for row in await log(database, workspace_id) if not row["attempt_log"]]
    assert [row["delivery_id"] for row in held] == spoiled


async def test_case_68_one_gone_endpoint_is_announced_once(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    webhook_id, _ = await add(database, workspace_id, keyring, "https://example.com/", "user.*")
    await add(database, workspace_id, keyring, "https://ops.example/", "webhook.*")
    await emit(database, workspace_id, 3)
    held = await claim(database)
    gone = DisableEndpoint("gone")
    assert await record(database, *((item, Outcome(1.0, 1, 410, "http_status"), gone) for item in held)) == [True] * 3
    async with database.workspace(workspace_id) as conn:
        told, _ = await deliveries.list_deliveries(conn, workspace_id, event_type="webhook.disabled")
        assert (await endpoints.get(conn, workspace_id, webhook_id))["status"] == "disabled"
    assert len(told) == 1
