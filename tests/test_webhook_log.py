"""The delivery log: what was sent and what came back, in pages that stand still, whether settled or not."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import asyncpg
import orjson
import pytest

from kernel.db import Database
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.secrets import KeyRing
from kernel.types import Json
from tests.delivery_kit import (
    DOWN,
    OK,
    Receiver,
    add,
    claim,
    delivering,
    emit,
    log,
    receiving,
    record,
    settle,
    until,
)
from webhooks import deliveries
from webhooks.decide import Delivered, Exhausted, RetryAt
from webhooks.deliveries import Filter
from webhooks.engine import DeliveryEngine
from webhooks.transport import MAX_BODY


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def nothing_owed(admin: asyncpg.Connection[Any]) -> None:
    """Claims span workspaces, so what other tests left owing must not be in the way."""
    await admin.execute("DELETE FROM webhook_deliveries")


async def delivered(database: Database, keyring: KeyRing, tries: int = 1) -> None:
    async with delivering(database, keyring) as engine:
        await until(partial(reached, engine, tries))


async def page(database: Database, workspace_id: str, **asked: Any) -> tuple[list[str], str | None, str | None]:
    """The ids of one page, and the cursors of the ones below and above it."""
    wanted = {name: value for name, value in asked.items() if name not in ("cursor", "limit")}
    async with database.workspace(workspace_id) as conn:
        items, below = await deliveries.list_deliveries(conn, workspace_id, **asked)
        above = await deliveries.previous_cursor(conn, workspace_id, items, **wanted)
    return [item["delivery_id"] for item in items], below, above


def reached(engine: DeliveryEngine, tries: int) -> bool:
    return engine.counts.recorded == tries


async def test_case_16_a_500_is_logged_with_its_status_and_body(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url)
    receiver.script = iter([(500, b'{"trouble": "b\xc3\xb6se"}')])
    await emit(database, workspace_id)
    await delivered(database, keyring)
    (row,) = await log(database, workspace_id)
    (attempt,) = row["attempt_log"]
    assert (attempt["attempt"], attempt["status_code"], attempt["error_code"]) == (1, 500, "http_status")
    assert (attempt["response"], attempt["truncated"]) == ('{"trouble": "böse"}', False)
    assert attempt["response_headers"]["content-type"] == "application/octet-stream"
    assert row["next_attempt_at"] == attempt["next_attempt_at"] > attempt["started_at"]


async def test_case_17_a_refused_connection_is_logged_without_a_status(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        await add(database, workspace_id, keyring, f"http://127.0.0.1:{taken.getsockname()[1]}/hook")
        await emit(database, workspace_id)
        await delivered(database, keyring)
    (row,) = await log(database, workspace_id)
    (attempt,) = row["attempt_log"]
    assert (attempt["status_code"], attempt["error_code"]) == (None, "connection_refused")
    assert attempt["detail"]
    assert (row["status"], attempt["response"], attempt["response_headers"]) == ("pending", "", {})


async def test_cases_23_and_48_the_same_bytes_in_every_try_in_the_log_and_in_the_event(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url)
    receiver.script = iter([(500, b""), (503, b"")])
    async with database.workspace(workspace_id) as conn:
        data = {"z": 1, "a": [3, 1, {"y": "ü", "b": None}], "m": 1.50, "text": 'say "hi" \\ \u2028'}
        event_id = await conn.fetchval("SELECT publish_event($1, 'user.created', $2)", workspace_id, data)
    async with delivering(database, keyring) as engine:
        for tries in range(1, 4):
            await until(partial(reached, engine, tries))
            await admin.execute("UPDATE webhook_deliveries SET due_at = now()")
            await admin.execute("SELECT pg_notify('parley_deliveries', '')")
    stored = await admin.fetchval("SELECT body FROM events WHERE event_id = $1", event_id)
    assert [body for _, body in receiver.got] == [stored] * 3
    assert orjson.loads(stored)["data"] == data
    (row,) = await log(database, workspace_id)
    assert row["body"].encode() == stored
    async with database.workspace(workspace_id) as conn:
        await deliveries.resend(conn, workspace_id, row["delivery_id"])
    await delivered(database, keyring)
    assert receiver.got[3][1] == stored


def test_an_ordered_delivery_shows_the_number_that_is_sent_with_it() -> None:
    assert deliveries.with_seq(b'{"id":"evt_1"}', None) == b'{"id":"evt_1"}'
    assert deliveries.with_seq(b'{"id":"evt_1"}', 7) == b'{"seq":7,"id":"evt_1"}'


async def test_case_58_a_long_answer_is_cut_and_the_attempt_logged_all_the_same(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver
) -> None:
    await add(database, workspace_id, keyring, receiver.url)
    receiver.script = iter([(200, b"y" * MAX_BODY), (200, b"x" * (MAX_BODY + 1))])
    await emit(database, workspace_id, 2)
    await delivered(database, keyring, 2)
    rows = await log(database, workspace_id)
    assert {row["status"] for row in rows} == {"delivered"}
    kept = {(a["response"][0], len(a["response"]), a["truncated"]) for row in rows for a in row["attempt_log"]}
    assert kept == {("y", MAX_BODY, False), ("x", MAX_BODY, True)}


async def test_case_59_what_cannot_be_put_into_a_request_is_a_recorded_attempt(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    broken = await add(database, workspace_id, keyring, receiver.url)
    sealed = await add(database, workspace_id, keyring, receiver.url)
    await admin.execute("UPDATE webhooks SET url = 'http://[::1/hook' WHERE webhook_id = $1", broken)
    await admin.execute("UPDATE webhook_secrets SET sealed = 'junk' WHERE webhook_id = $1", sealed)
    await emit(database, workspace_id)
    await delivered(database, keyring, 2)
    rows = {row["webhook_id"]: row for row in await log(database, workspace_id)}
    assert [a["error_code"] for a in rows[broken]["attempt_log"]] == ["invalid_url"]
    assert [a["error_code"] for a in rows[sealed]["attempt_log"]] == ["secret_unreadable"]
    assert all(row["next_attempt_at"] for row in rows.values())  # it goes on by its schedule
    assert receiver.got == []


async def test_case_69_durations_are_of_the_wire_and_leave_out_the_wait(
    database: Database, workspace_id: str, keyring: KeyRing, receiver: Receiver, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, receiver.url)
    await emit(database, workspace_id, 3)
    await admin.execute(
        "UPDATE webhook_deliveries SET due_at = due_at - interval '1 day', created_at = created_at - interval '1 day'"
    )
    begun = datetime.now(UTC)
    await delivered(database, keyring, 3)
    for row in await log(database, workspace_id):
        (attempt,) = row["attempt_log"]
        assert begun <= attempt["started_at"] <= datetime.now(UTC)
        assert attempt["started_at"] + timedelta(milliseconds=attempt["duration_ms"]) <= datetime.now(UTC)
        assert row["created_at"] < begun - timedelta(hours=23)


async def test_case_43_pages_forward_and_back_stand_still_while_deliveries_come_and_settle(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 23)
    whole, _, _ = await page(database, workspace_id, limit=100)
    assert len(whole) == 23
    assert whole == sorted(whole, reverse=True)
    forward: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        ids, cursor, _ = await page(database, workspace_id, cursor=cursor, limit=5)
        forward.append(ids)
        await settle(database, *await claim(database, 3))  # moves rows from one table to the other
        await emit(database, workspace_id)  # above all pages
    assert [len(ids) for ids in forward] == [5, 5, 5, 5, 3]
    assert list(chain(*forward)) == whole
    back: list[list[str]] = []
    cursor = f"-{whole[-1]}"
    while cursor is not None:
        ids, below, cursor = await page(database, workspace_id, cursor=cursor, limit=5)
        assert below == ids[-1]
        back.append(ids)
        await settle(database, *await claim(database, 3))
    seen = [*chain(*reversed(back)), whole[-1]]
    assert seen[-23:] == whole  # what came meanwhile lies above it
    assert len(seen) == len(set(seen)) == 28
    assert await page(database, workspace_id, cursor=whole[-1]) == ([], None, None)
    assert await page(database, workspace_id, cursor=f"-{seen[0]}") == ([], None, None)


async def test_case_43_since_and_until_hold_on_every_page(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    moments: list[datetime] = []
    for _ in range(3):
        await emit(database, workspace_id, 7)
        await asyncio.sleep(0.003)
        moments.append(datetime.now(UTC))
        await asyncio.sleep(0.003)
    whole, _, _ = await page(database, workspace_id, limit=100)
    middle = whole[7:14]
    asked: Json = {"since": moments[0], "until": moments[1], "limit": 3}
    first, below, above = await page(database, workspace_id, **asked)
    assert (first, below, above) == (middle[:3], middle[2], None)
    second, below, above = await page(database, workspace_id, cursor=below or "", **asked)
    assert (second, below, above) == (middle[3:6], middle[5], f"-{middle[3]}")
    third, below, above = await page(database, workspace_id, cursor=below or "", **asked)
    assert (third, below, above) == (middle[6:], None, f"-{middle[6]}")
    again, below, above = await page(database, workspace_id, cursor=above or "", **asked)
    assert (again, below, above) == (middle[3:6], middle[5], f"-{middle[3]}")
    assert (await page(database, workspace_id, since=moments[1], limit=100))[0] == whole[:7]
    assert (await page(database, workspace_id, until=moments[0], limit=100))[0] == whole[14:]


async def test_filters_reach_over_what_is_owed_and_what_is_settled(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    one, two = [await add(database, workspace_id, keyring, f"https://example.com/{n}") for n in (1, 2)]
    ids = await emit(database, workspace_id, 3) + await emit(database, workspace_id, 3, "session.started")
    await settle(database, *await claim(database))
    rows = await log(database, workspace_id)
    assert sorted(row["status"] for row in rows) == sorted(["delivered", "exhausted", "pending"] * 4)
    for name, value in (
        ("status", "pending"), ("status", "delivered"), ("status", "exhausted"), ("status", "cancelled"),
        ("webhook_id", one), ("webhook_id", two), ("event_id", ids[0]), ("event_type", "session.started"),
    ):  # fmt: skip
        found, _, _ = await page(database, workspace_id, limit=100, **{name: value})
        assert found == [row["delivery_id"] for row in rows if row[name] == value], (name, value)
    both, _, _ = await page(database, workspace_id, webhook_id=two, status="exhausted")
    assert both == [r["delivery_id"] for r in rows if (r["webhook_id"], r["status"]) == (two, "exhausted")]
    with pytest.raises(InvalidRequest):
        await page(database, workspace_id, status="leased")


async def test_what_is_settled_leaves_the_table_that_is_claimed_from(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 5)
    held = await claim(database, 3)
    await settle(database, *held)
    await admin.execute(
        "UPDATE webhook_deliveries SET status = 'cancelled', settled_at = now() "
        "WHERE delivery_id = (SELECT delivery_id FROM webhook_deliveries WHERE attempts = 0 LIMIT 1)"
    )
    owed = await admin.fetch("SELECT status, attempts FROM webhook_deliveries WHERE workspace_id = $1", workspace_id)
    assert sorted(map(tuple, owed)) == [("pending", 0), ("pending", 1)]
    done = await admin.fetch(
        "SELECT status, attempts, settled_at FROM webhook_deliveries_done WHERE workspace_id = $1", workspace_id
    )
    assert sorted(tuple(row)[:2] for row in done) == [("cancelled", 0), ("delivered", 1), ("exhausted", 1)]
    assert all(row["settled_at"] for row in done)
    assert len(await log(database, workspace_id)) == 5


async def test_a_resend_takes_a_settled_delivery_back_with_its_number_of_tries(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 2)
    done, given_up = await claim(database)
    await record(database, (done, OK, Delivered()), (given_up, DOWN, Exhausted()))
    for one in (done, given_up):
        async with database.workspace(workspace_id) as conn:
            shown = await deliveries.resend(conn, workspace_id, one.delivery_id)
            assert (shown["status"], shown["attempts"], shown["settled_at"]) == ("pending", 1, None)
    assert (
        await admin.fetchval("SELECT count(*) FROM webhook_deliveries_done WHERE workspace_id = $1", workspace_id) == 0
    )
    again = await claim(database)
    assert {(one.delivery_id, one.attempt, one.body) for one in again} == {
        (one.delivery_id, 2, one.body) for one in (done, given_up)
    }
    await record(database, *((one, DOWN, RetryAt(time.time() + 3_600)) for one in again))
    async with database.workspace(workspace_id) as conn:
        shown = await deliveries.resend(conn, workspace_id, done.delivery_id)  # which waits for a retry
    assert shown["next_attempt_at"] <= datetime.now(UTC)
    assert [one.attempt for one in await claim(database)] == [3]


async def test_reviving_passes_over_what_is_under_way_and_what_belongs_to_others(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 3)
    settled, under_way, waiting = sorted(await claim(database, 3), key=lambda one: one.delivery_id)
    await record(database, (settled, OK, Delivered()), (waiting, DOWN, RetryAt(time.time() + 3_600)))
    ids = [settled.delivery_id, under_way.delivery_id, waiting.delivery_id, "dlv_none"]
    statement = "SELECT revive_deliveries($1, $2)"
    async with database.workspace(second_workspace) as conn:
        assert await conn.fetch(statement, workspace_id, ids) == []
        assert await conn.fetch(statement, second_workspace, ids) == []
    async with database.workspace(workspace_id) as conn:
        revived = {row[0] for row in await conn.fetch(statement, workspace_id, ids)}
        with pytest.raises(Conflict, match="under way"):
            await deliveries.resend(conn, workspace_id, under_way.delivery_id)
        with pytest.raises(NotFound):
            await deliveries.resend(conn, workspace_id, "dlv_none")
    assert revived == {settled.delivery_id, waiting.delivery_id}
    assert await record(database, (under_way, OK, Delivered())) == [True]


async def test_two_who_revive_the_same_do_it_once(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 20)
    held = await claim(database)
    await record(database, *((one, OK, Delivered()) for one in held))
    ids = [one.delivery_id for one in held]

    async def revive(some: list[str]) -> set[str]:
        async with database.workspace(workspace_id) as conn:
            return {row[0] for row in await conn.fetch("SELECT revive_deliveries($1, $2)", workspace_id, some)}

    both = await asyncio.gather(*(revive(ids) for _ in range(4)))
    assert all(found == set(ids) for found in both)
    assert sorted(one.delivery_id for one in await claim(database)) == sorted(ids)


async def test_of_very_many_attempts_the_latest_are_shown(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id)
    (held,) = await claim(database)
    await admin.execute(
        "INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms) "
        "SELECT $1, $2, n, now(), 1 FROM generate_series(1, 250) AS n",
        workspace_id,
        held.delivery_id,
    )
    (row,) = await log(database, workspace_id)
    assert [attempt["attempt"] for attempt in row["attempt_log"]] == list(range(151, 251))


RECORD = "SELECT delivery_id FROM record_deliveries($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)"


async def test_an_attempt_tells_the_request_that_was_made(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    webhook_id = await add(database, workspace_id, keyring, "https://example.com/now")
    await emit(database, workspace_id)
    (held,) = await claim(database)
    sent = {"webhook-id": held.event_id, "webhook-signature": "v1,abc", "authorization": "Bearer ***", "X-Own": "1"}
    async with database.anywhere() as conn:
        row = (
            workspace_id, held.delivery_id, held.token, "delivered", None, 1.0, 2, 200, "", "", "{}", b"ok", False, "",
            "https://example.com/then", orjson.dumps(sent).decode(),
        )  # fmt: skip
        assert len(await conn.fetch(RECORD, *([value] for value in row))) == 1
    (shown,) = await log(database, workspace_id)
    (attempt,) = shown["attempt_log"]
    assert (attempt["url"], attempt["request_headers"]) == ("https://example.com/then", sent)
    async with database.workspace(workspace_id) as conn:
        kept = await conn.fetchval("SELECT webhook_id FROM webhook_attempts WHERE delivery_id = $1", held.delivery_id)
    assert kept == webhook_id


def nodes(plan: Json) -> list[Json]:
    return [plan, *(node for inner in plan.get("Plans", ()) for node in nodes(inner))]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"cursor": ""},
        {"cursor": "-"},
        {"webhook_id": "wh_3"},
        {"webhook_id": "wh_3", "cursor": ""},
        {"status": "pending"},
        {"status": "delivered"},
        {"status": "exhausted"},
        {"event_type": "session.started", "cursor": ""},
        {"since": timedelta(hours=1.5), "until": timedelta(hours=0.5)},
    ],
    ids=str,
)
async def test_a_page_of_a_long_log_is_read_from_indexes_in_order(
    database: Database, workspace_id: str, admin: asyncpg.Connection[Any], asked: Json
) -> None:
    """However many deliveries there are, no more are read than a page holds, and none is sorted.

    A cursor or its sign stands for one in the midst of them, times for so long ago.
    """
    async with admin.transaction():
        rollback = asyncpg.exceptions.RaiseError
        with pytest.raises(rollback):
            async with admin.transaction():
                await fill(admin, workspace_id)
                plan = await explained(admin, workspace_id, asked)
                await admin.execute("DO $$ BEGIN RAISE 'enough'; END $$")
    kinds = {node["Node Type"] for node in nodes(plan)}
    assert kinds <= {"Limit", "Result", "Merge Append", "Append", "Index Scan", "Index Only Scan"}, kinds
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan) if "Index Name" in node)
    days = sum("Index Name" in node for node in nodes(plan))
    assert read <= 51 + days


async def fill(admin: asyncpg.Connection[Any], workspace_id: str) -> None:
    """12,000 settled deliveries over two hours of today and 400 that are owed."""
    await admin.execute("SET LOCAL ROLE parley_owner")
    await admin.execute(
        """
        INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status,
            attempts, created_at, settled_at)
        SELECT $1, id_from('dlv', at) || lpad(n::text, 20, '0'), id_from('evt', at) || lpad(n::text, 20, '0'),
            (ARRAY['user.created', 'session.started'])[1 + n % 2], 'wh_' || n % 7,
            CASE WHEN n % 5 = 0 THEN 'exhausted' ELSE 'delivered' END, 1, at, at
        FROM generate_series(1, 12000) AS n, LATERAL (SELECT now() - n * interval '600 ms' AS at) AS made
        """,
        workspace_id,
    )
    await admin.execute(
        """
        INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id)
        SELECT $1, new_id('dlv'), new_id('evt'), 'user.created', 'wh_' || n % 7 FROM generate_series(1, 400) AS n
        """,
        workspace_id,
    )
    days = await admin.fetch("SELECT partition::text FROM day_partitions('webhook_deliveries_done')")
    # As autovacuum does it: it looks at what holds rows, and never at the parent.
    await admin.execute(f"ANALYZE webhook_deliveries, {', '.join(row[0] for row in days)}")


async def explained(admin: asyncpg.Connection[Any], workspace_id: str, asked: Json) -> Json:
    """The plan of the page's statement as the app runs it, under row security and with parameters."""
    middle = await admin.fetchval("SELECT id_from('dlv', now() - interval '1 hour')")
    cursor = asked["cursor"] + middle if "cursor" in asked else ""
    wanted = {name: value for name, value in asked.items() if name != "cursor"}
    wanted |= {name: datetime.now(UTC) - wanted[name] for name in ("since", "until") if name in wanted}
    statement, *given = deliveries.page_query(workspace_id, Filter(**wanted), cursor, 51)
    await admin.execute("SET LOCAL ROLE parley_app")
    await admin.execute("SELECT set_config('app.workspace_id', $1, true)", workspace_id)
    text = await admin.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}", *given)
    plan: Json = orjson.loads(text)[0]["Plan"]
    return plan
