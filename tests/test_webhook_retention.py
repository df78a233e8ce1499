"""Days of events, deliveries and attempts: made ahead, taken over, dropped; and payloads that are taken away before."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kernel.db import Database
from kernel.errors import Conflict, NotFound
from kernel.events import get_event, publish
from kernel.ids import new_id
from kernel.migrate import migrate, read_migrations
from kernel.secrets import KeyRing
from tests.conftest import Stores
from tests.delivery_kit import DOWN, OK, add, claim, emit, log, record, until
from webhooks import deliveries, retention
from webhooks.decide import Delivered, Exhausted

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
PARENTS = ("events", "webhook_attempts", "webhook_deliveries_done")


@pytest.fixture(autouse=True)
async def nothing_owed(admin: asyncpg.Connection[Any]) -> None:
    """Claims span workspaces, so what other tests left owing must not be in the way."""
    await admin.execute("DELETE FROM webhook_deliveries")


async def partitions(admin: asyncpg.Connection[Any], parent: str) -> set[str]:
    rows = await admin.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass", parent)
    return {row[0] for row in rows}


async def make_day(admin: asyncpg.Connection[Any], days_ago: int) -> list[str]:
    """The partitions of a day that is gone, as if they had been made in time."""
    async with admin.transaction():
        await admin.execute("SET LOCAL ROLE parley_owner")
        await admin.execute(
            "SELECT make_partition(t.parent, t.key, t.prefix, (now() AT TIME ZONE 'UTC')::date - $1::integer) "
            "FROM parted_tables() AS t",
            days_ago,
        )
        day = await admin.fetchval(
            "SELECT to_char((now() AT TIME ZONE 'UTC')::date - $1::integer, 'YYYYMMDD')", days_ago
        )
    return [f"{parent}_d{day}" for parent in PARENTS]


async def age(admin: asyncpg.Connection[Any], workspace_id: str, days: int) -> None:
    """Makes everything of a workspace so many days older, ids and all: the rows move to where they belong."""
    older = "overlay({0} PLACING substring(id_from('x', time_of({0}) - $2 * interval '1 day') FROM 3) FROM 5)"
    event, delivery = older.format("event_id"), older.format("delivery_id")
    async with admin.transaction():
        for table, changes in (
            ("events", f"event_id = {event}"),
            ("webhook_deliveries", f"event_id = {event}, delivery_id = {delivery}"),
            ("webhook_deliveries_done", f"event_id = {event}, delivery_id = {delivery}"),
            ("webhook_attempts", f"delivery_id = {delivery}"),
        ):
            await admin.execute(f"UPDATE {table} SET {changes} WHERE workspace_id = $1", workspace_id, days)


async def count(admin: asyncpg.Connection[Any], workspace_id: str) -> dict[str, int]:
    tables = (*PARENTS, "webhook_deliveries")
    return {t: await admin.fetchval(f"SELECT count(*) FROM {t} WHERE workspace_id = $1", workspace_id) for t in tables}


async def test_case_27_what_is_older_than_its_days_goes_from_every_table_and_the_rest_stays(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    for workspace in (workspace_id, second_workspace):
        await add(database, workspace, keyring, "https://example.com/")
        await emit(database, workspace, 4)
        held = await claim(database)
        await record(database, *((one, OK, Delivered()) for one in held[:3]))
        await record(database, (held[3], DOWN, Exhausted()))
    names = await make_day(admin, 9)
    await age(admin, workspace_id, 9)
    await age(admin, second_workspace, 6)
    # One event more tells that a delivery was exhausted.
    kept = {"events": 5, "webhook_attempts": 4, "webhook_deliveries_done": 4, "webhook_deliveries": 0}
    assert await count(admin, workspace_id) == kept
    assert await retention.tidy(database, 9)  # the ninth day is not over yet
    assert await count(admin, workspace_id) == kept
    assert await retention.tidy(database, 8)
    assert set((await count(admin, workspace_id)).values()) == {0}
    assert await count(admin, second_workspace) == kept
    assert await log(database, workspace_id) == []
    assert len(await log(database, second_workspace)) == 4
    for parent, name in zip(PARENTS, names, strict=True):
        assert name not in await partitions(admin, parent)


async def test_what_is_still_owed_from_a_day_that_goes_is_given_up(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 3)
    (under_way,) = await claim(database, 1)
    await make_day(admin, 20)
    await age(admin, workspace_id, 20)
    tail = under_way.delivery_id[-20:]
    (aged,) = [row["delivery_id"] for row in await log(database, workspace_id) if row["delivery_id"].endswith(tail)]
    under_way = under_way._replace(delivery_id=aged)
    assert await retention.tidy(database, 10)
    left = await count(admin, workspace_id)
    assert (left["events"], left["webhook_deliveries"]) == (3, 1)  # its payload is needed until the try has ended
    assert await claim(database) == []
    assert await record(database, (under_way, OK, Delivered())) == [True]
    assert await retention.tidy(database, 10)
    assert set((await count(admin, workspace_id)).values()) == {0}


@pytest.mark.parametrize("days", [0, 6, -1])
async def test_nobody_can_drop_what_is_younger_than_a_week(database: Database, days: int) -> None:
    async with database.anywhere() as conn:
        with pytest.raises(asyncpg.RaiseError, match="seven days"):
            await conn.fetchval("SELECT drop_next_partition($1)", days)


async def test_the_days_ahead_are_there_and_hidden(
    database: Database, stores: Stores, admin: asyncpg.Connection[Any]
) -> None:
    assert await retention.tidy(database, 3_650)
    days = await admin.fetch(
        "SELECT to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD') FROM generate_series(0, 3) n"
    )
    for parent in PARENTS:
        names = await partitions(admin, parent)
        assert {f"{parent}_d{row[0]}" for row in days} | {f"{parent}_default"} <= names
        for name in names:
            async with database.anywhere() as conn:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await conn.fetchval(f"SELECT count(*) FROM {name}")
    assert await admin.fetch("SELECT unprotected_tables()") == []
    await (await Database.connect(stores.app_url)).close()  # which refuses to start with a table that is bare


async def test_partition_rollover_at_midnight_under_load(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    """A day that nobody made in time: its rows lie in the default partition and move while others write to it."""
    await add(database, workspace_id, keyring, "https://example.com/")
    stop = asyncio.Event()
    published: list[str] = []

    async def load() -> None:
        """Events around a midnight long ago, published, delivered and logged."""
        while not stop.is_set():
            async with database.workspace(workspace_id) as conn:
                event_id = await publish(conn, workspace_id, "user.created", {"user_id": "usr_1"})
            published.append(event_id)
            await record(database, *((one, OK, Delivered()) for one in await claim(database)))

    real = await admin.fetchval("SELECT pg_get_functiondef('new_id(text)'::regprocedure)")
    await admin.execute(
        """
        CREATE OR REPLACE FUNCTION new_id(prefix text) RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE
        RETURN id_from(prefix, date_trunc('day', clock_timestamp(), 'UTC') - interval '300 days'
            + (random() - 0.5) * interval '2 seconds') || overlay(gen_random_uuid()::text PLACING '' FROM 9 FOR 16);
        """
    )
    try:
        tasks = [asyncio.create_task(load()) for _ in range(3)]
        await until(lambda: len(published) > 30)
        made = [await make_late(admin, days) for days in (301, 300)]
        await until(lambda: len(published) > 60)
        stop.set()
        await asyncio.gather(*tasks)
        while found := await claim(database):
            await record(database, *((one, OK, Delivered()) for one in found))
    finally:
        await admin.execute(real)
    assert await count(admin, workspace_id) == {
        "events": len(published),
        "webhook_attempts": len(published),
        "webhook_deliveries_done": len(published),
        "webhook_deliveries": 0,
    }
    for names in made:
        for name in names:
            assert await admin.fetchval(f"SELECT count(*) FROM {name} WHERE workspace_id = $1", workspace_id) > 0
    for parent in PARENTS:
        assert await admin.fetchval(f"SELECT count(*) FROM {parent}_default WHERE workspace_id = $1", workspace_id) == 0
    rows = await log(database, workspace_id)
    assert sorted(row["event_id"] for row in rows) == sorted(published)
    assert {(row["status"], len(row["attempt_log"])) for row in rows} == {("delivered", 1)}
    async with admin.transaction():
        await admin.execute("SET LOCAL ROLE parley_owner")
        for name in [name for names in made for name in names]:
            await admin.execute(f"DROP TABLE {name}")


async def make_late(admin: asyncpg.Connection[Any], days: int) -> list[str]:
    """Tries until the locks are to be had, as the loop does."""
    while True:
        try:
            return await make_day(admin, days)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(0.01)


async def test_the_loop_makes_the_day_of_strays_and_moves_them(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    """As after a week in which no worker ran."""
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id, 2)
    await record(database, *((one, OK, Delivered()) for one in await claim(database)))
    await age(admin, workspace_id, 5)
    spare = "SELECT count(*) FROM events_default WHERE workspace_id = $1"
    assert await admin.fetchval(spare, workspace_id) == 2
    stop = asyncio.Event()
    loop = asyncio.create_task(retention.keep_days(database, 30, stop))

    async def moved() -> bool:
        return not await admin.fetchval(spare, workspace_id)

    await until(moved)
    stop.set()
    await loop
    assert [row["status"] for row in await log(database, workspace_id)] == ["delivered"] * 2


async def test_a_lock_that_is_not_to_be_had_postpones_and_holds_up_nobody(
    database: Database, stores: Stores, workspace_id: str, admin: asyncpg.Connection[Any]
) -> None:
    names = await make_day(admin, 40)
    reader = await asyncpg.connect(stores.admin_url)
    try:
        async with reader.transaction():
            await reader.fetchval("SELECT count(*) FROM events")  # a dump, say
            assert not await retention.tidy(database, 30)
            async with database.workspace(workspace_id) as conn:
                await publish(conn, workspace_id, "user.created", {"user_id": "usr_1"})
        assert names[0] in await partitions(admin, "events")
        assert await retention.tidy(database, 30)
        assert names[0] not in await partitions(admin, "events")
    finally:
        await reader.close()


async def test_two_workers_do_not_get_into_each_others_way(database: Database, admin: asyncpg.Connection[Any]) -> None:
    for days in range(40, 44):
        await make_day(admin, days)
    while not all(await asyncio.gather(*(retention.tidy(database, 30) for _ in range(4)))):
        pass
    assert await retention.tidy(database, 30)
    assert (
        await admin.fetch("SELECT * FROM day_partitions('events') WHERE time_of(until) < now() - interval '30 days'")
        == []
    )


async def test_case_28_expunge_removes_the_payload_and_a_later_resend_says_so(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/a")
    await add(database, workspace_id, keyring, "https://example.com/b")
    await admin.execute("UPDATE webhooks SET payload_mode = 'thin' WHERE url LIKE '%/b'")
    async with database.workspace(workspace_id) as conn:
        data = {"user_id": "usr_1", "text": "a secret of hers"}
        event_id = await publish(conn, workspace_id, "user.created", data)
        before = await get_event(conn, workspace_id, event_id)
    await record(database, *((one, OK, Delivered()) for one in await claim(database)))
    for _ in range(2):  # once more changes nothing
        async with database.workspace(workspace_id) as conn:
            await retention.expunge_event(conn, event_id)
    async with database.workspace(workspace_id) as conn:
        after = await get_event(conn, workspace_id, event_id)
        for row in await log(database, workspace_id):
            assert (row["status"], row["body"], len(row["attempt_log"])) == ("delivered", None, 1)
            with pytest.raises(Conflict, match="expunged"):
                await deliveries.resend(conn, workspace_id, row["delivery_id"])
            assert await conn.fetch("SELECT revive_deliveries($1, $2)", workspace_id, [row["delivery_id"]]) == []
    assert before and after and after.pop("expunged_at")
    assert after == {**before, "data": {}}
    for table in ("events", "webhook_deliveries", "webhook_deliveries_done"):
        held = await admin.fetch(f"SELECT body FROM {table} WHERE event_id = $1", event_id)
        assert not any(b"secret" in (row["body"] or b"") or b"usr_1" in (row["body"] or b"") for row in held), table


async def test_case_28_expunge_ends_what_is_owed_and_what_is_under_way(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    for n in range(2):
        await add(database, workspace_id, keyring, f"https://example.com/{n}")
    (event_id,) = await emit(database, workspace_id)
    (under_way,) = await claim(database, 1)
    async with database.workspace(second_workspace) as conn:
        for unknown in (event_id, "evt_none"):
            with pytest.raises(NotFound):
                await retention.expunge_event(conn, unknown)
    async with database.anywhere() as conn:
        with pytest.raises(NotFound):
            await retention.expunge_event(conn, event_id)
    async with database.workspace(workspace_id) as conn:
        await retention.expunge_event(conn, event_id)
    assert await claim(database) == []
    assert await record(database, (under_way, OK, Delivered())) == [False]  # too late: it was ended
    rows = {row["delivery_id"]: row for row in await log(database, workspace_id)}
    assert {row["status"] for row in rows.values()} == {"cancelled"}
    tried = rows[under_way.delivery_id]["attempt_log"]
    assert [(attempt["attempt"], attempt["error_code"]) for attempt in tried] == [(1, "unknown_outcome")]
    assert sum(len(row["attempt_log"]) for row in rows.values()) == 1


async def test_case_29_expunge_takes_away_the_answer_to_one_attempt(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    await add(database, workspace_id, keyring, "https://example.com/")
    await emit(database, workspace_id)
    for _ in range(2):
        (held,) = await claim(database)
        await record(database, (held, DOWN, Exhausted()))
        async with database.workspace(workspace_id) as conn:
            await deliveries.resend(conn, workspace_id, held.delivery_id)
    async with database.workspace(second_workspace) as conn:
        with pytest.raises(NotFound):
            await retention.expunge_response(conn, second_workspace, held.delivery_id, 1)
    async with database.workspace(workspace_id) as conn:
        await retention.expunge_response(conn, workspace_id, held.delivery_id, 1)
        await retention.expunge_response(conn, workspace_id, held.delivery_id, 1)
        with pytest.raises(NotFound):
            await retention.expunge_response(conn, workspace_id, held.delivery_id, 3)
    (row,) = await log(database, workspace_id)
    first, second = row["attempt_log"]
    assert (first["response"], first["status_code"], bool(first["expunged_at"])) == ("", 500, True)
    assert (second["response"], second["expunged_at"]) == ("oops", None)


async def test_the_migration_carries_over_what_was_there(stores: Stores, tmp_path: Path, keyring: KeyRing) -> None:
    """A database of the version before, with settled, owed and leased deliveries: all of it is there afterwards."""
    name = new_id("db")
    admin_url, app_url = (url.replace("/parley?", f"/{name}?") for url in (stores.admin_url, stores.app_url))
    assert name in admin_url and name in app_url
    for migration in read_migrations()[:12]:
        shutil.copy(MIGRATIONS / f"{migration.number:04}_{migration.name}.sql", tmp_path)
    server = await asyncpg.connect(stores.admin_url)
    await server.execute(f"CREATE DATABASE {name}")
    try:
        await migrate(admin_url, app_url, folder=tmp_path)
        conn = await asyncpg.connect(admin_url)
        ws = await conn.fetchval("SELECT workspace_id FROM create_workspace('o', 'w', 'w')")
        await conn.execute(
            "INSERT INTO webhooks (workspace_id, webhook_id, url, events) VALUES ($1, 'wh_1', 'x', '{*}')", ws
        )
        for _ in range(6):
            await conn.execute("SELECT publish_event($1, 'user.created', '{}')", ws)
        held = await conn.fetch("SELECT * FROM claim_deliveries(4, 0, 9, 'tok', 60)")
        ids = [row["delivery_id"] for row in held]
        record_14 = "SELECT * FROM record_deliveries($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)"
        ends = [("delivered", None), ("exhausted", None), ("pending", 4e9)]
        rows = [
            (ws, ids[n], "tok", status, due, 1.0, 2, 200, "", "", "{}", b"ok", False, "")
            for n, (status, due) in enumerate(ends)
        ]
        assert len(await conn.fetch(record_14, *map(list, zip(*rows, strict=True)))) == 3
        assert await migrate(admin_url, app_url) == len(read_migrations()) - 12
        await check_carried(conn, ws, ids)
        await conn.close()
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()


async def check_carried(conn: asyncpg.Connection[Any], ws: str, ids: list[str]) -> None:
    owed = await conn.fetch("SELECT delivery_id, status FROM webhook_deliveries")
    done = await conn.fetch("SELECT delivery_id, status FROM webhook_deliveries_done")
    assert {row["delivery_id"]: row["status"] for row in done} == {ids[0]: "delivered", ids[1]: "exhausted"}
    found = {row["delivery_id"]: row["status"] for row in owed}
    assert (found[ids[2]], found[ids[3]], len(found)) == ("pending", "leased", 4)
    assert await conn.fetchval("SELECT count(*) FROM events_before") == 6
    assert await conn.fetchval("SELECT count(*) FROM webhook_attempts_before") == 3
    assert await conn.fetch("SELECT unprotected_tables()") == []
    await conn.execute("SELECT publish_event($1, 'user.created', '{}')", ws)
    assert await conn.fetchval("SELECT count(*) FROM events") == 7
    again = await conn.fetch("SELECT revive_deliveries($1, $2)", ws, ids)
    assert {row[0] for row in again} == {ids[0], ids[1], ids[2]}
    assert await conn.fetchval("SELECT has_table_privilege('parley_app', 'events_before', 'SELECT')") is False
