"""Which endpoint is owed which event, and in what form: judged once, when the event is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.catalogue import EVENT_TYPES
from kernel.db import Database
from kernel.errors import TooLarge
from kernel.events import MAX_DATA, matches, pattern_fault, publish, publish_many
from kernel.ids import new_id
from kernel.secrets import KeyRing
from kernel.types import Json
from webhooks import endpoints
from webhooks.conditions import compile_condition
from webhooks.engine import DeliveryEngine

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
MESSAGE = {"message_id": "msg_1", "conversation_id": "conv_1", "user_id": "usr_1", "text": "my card is 4111"}


async def add(admin: Admin, workspace_id: str, *patterns: str, condition: Any = None, **columns: Any) -> str:
    """An endpoint with these columns."""
    webhook_id = new_id("wh")
    row = {
        "workspace_id": workspace_id,
        "webhook_id": webhook_id,
        "url": "https://example.com/hook",
        "events": list(patterns) or ["*"],
        **columns,
    }
    if condition is not None:
        row["condition_path"] = compile_condition(condition)
    casts = {"condition_path": "::text::jsonpath"}
    values = ", ".join(f"${n}{casts.get(name, '')}" for n, name in enumerate(row, start=1))
    await admin.execute(f"INSERT INTO webhooks ({', '.join(row)}) VALUES ({values})", *row.values())
    return webhook_id


async def bot(admin: Admin, workspace_id: str, kind: str, *conversations: str) -> str:
    """A bot's account with conversations of these ids."""
    account_id = new_id("acc")
    await admin.execute(
        "INSERT INTO channel_accounts (workspace_id, account_id, kind, name, mode) VALUES ($1, $2, $3, $3, 'webhook')",
        workspace_id,
        account_id,
        kind,
    )
    for conversation_id in conversations:
        await admin.execute(
            "INSERT INTO conversations (workspace_id, conversation_id, account_id, conversation_key, address) "
            "VALUES ($1, $2, $3, $2, '{}')",
            workspace_id,
            conversation_id,
            account_id,
        )
    return account_id


async def tell(database: Database, workspace_id: str, event_type: str, data: Mapping[str, Any]) -> str:
    async with database.workspace(workspace_id) as conn:
        return await publish(conn, workspace_id, event_type, data)


async def owed(admin: Admin, event_id: str) -> dict[str, asyncpg.Record]:
    """What is owed for an event, by endpoint."""
    rows = await admin.fetch("SELECT * FROM webhook_deliveries WHERE event_id = $1", event_id)
    return {row["webhook_id"]: row for row in rows}


async def body_of(admin: Admin, event_id: str) -> Json:
    return Json(orjson.loads(await admin.fetchval("SELECT body FROM events WHERE event_id = $1", event_id)))


async def test_case_30_types_and_channels_decide_who_is_owed_an_event(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    telegram = await bot(admin, workspace_id, "telegram", "conv_1", "conv_2")
    slack = await bot(admin, workspace_id, "slack", "conv_3")
    everything = await add(admin, workspace_id, "*")
    overlapping = await add(admin, workspace_id, "*", "chat.*", "chat.message.received")
    endings = await add(admin, workspace_id, "*.received", "*.failed")
    by_kind = await add(admin, workspace_id, channels=["telegram", "web"])
    by_account = await add(admin, workspace_id, channels=[slack])
    by_place = await add(admin, workspace_id, "chat.*", channels=["conv_2"])
    by_either = await add(admin, workspace_id, "session.*", channels=["discord", "conv_1", slack])

    in_one = await tell(database, workspace_id, "chat.message.received", {**MESSAGE, "account_id": telegram})
    in_two = await tell(database, workspace_id, "chat.response.failed", {"conversation_id": "conv_2", "reason": "x"})
    in_three = await tell(database, workspace_id, "session.started", {"conversation_id": "conv_3"})
    nowhere = await tell(database, workspace_id, "document.failed", {"reason": "x"})
    elsewhere = await tell(database, workspace_id, "session.started", {"conversation_id": "conv_of_nobody"})

    assert set(await owed(admin, in_one)) == {everything, overlapping, endings, by_kind}
    assert set(await owed(admin, in_two)) == {everything, overlapping, endings, by_kind, by_place}
    assert set(await owed(admin, in_three)) == {everything, overlapping, by_account, by_either}
    assert set(await owed(admin, nowhere)) == {everything, overlapping, endings}
    assert set(await owed(admin, elsewhere)) == {everything, overlapping}


async def test_an_event_about_a_bot_or_a_conversation_tells_which_channel(
    database: Database, admin: Admin, workspace_id: str, second_workspace: str
) -> None:
    account_id = await bot(admin, workspace_id, "discord", "conv_1")
    for data, added in [
        ({"account_id": account_id}, {"channel": "discord"}),
        ({"conversation_id": "conv_1"}, {"account_id": account_id, "channel": "discord"}),
        ({"account_id": account_id, "channel": "else"}, {}),
        ({"account_id": "acc_gone"}, {}),
        ({"conversation_id": "conv_gone"}, {}),
        ({"document_id": "doc_1"}, {}),
    ]:
        event_id = await tell(database, workspace_id, "user.created", data)
        assert (await body_of(admin, event_id))["data"] == {**data, **added}
    strange = await tell(database, second_workspace, "user.created", {"account_id": account_id})
    assert (await body_of(admin, strange))["data"] == {"account_id": account_id}


async def test_conditions_are_judged_on_the_data_and_what_cannot_be_judged_is_not_met(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    praise = await add(admin, workspace_id, condition={"rating": {"$gt": 0}})
    blame = await add(admin, workspace_id, condition={"rating": -1, "comment": {"$ne": ""}})
    either = await add(admin, workspace_id, condition={"$or": [{"rating": 1}, {"source": {"$in": ["api"]}}]})
    placed = await add(admin, workspace_id, condition={"channel": "telegram"})
    # What no condition of ours compiles to: a path that is no question, and one that fails on what it meets.
    odd = [await add(admin, workspace_id, condition_path=path) for path in ("$.rating", "strict $.no.such.member == 1")]
    account_id = await bot(admin, workspace_id, "telegram")

    async def who(**data: Any) -> set[str]:
        return set(await owed(admin, await tell(database, workspace_id, "chat.feedback.received", data)))

    assert await who(rating=1) == {praise, either}
    assert await who(rating=-1, comment="no", source="api", account_id=account_id) == {blame, either, placed}
    assert await who(rating=-1, comment="") == set()
    assert await who(rating="1") == set()
    assert await who() == set()
    assert not {praise, blame, either, placed} & set(odd)


async def test_case_46_what_does_not_match_is_not_sent_while_what_comes_later_is(
    database: Database, admin: Admin, keyring: KeyRing, workspace_id: str
) -> None:
    await admin.execute("UPDATE webhooks SET status = 'disabled'")
    got: list[Json] = []
    arrived = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        got.append(orjson.loads(await request.read()))
        arrived.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    local = (ip_network("127.0.0.0/8"),)
    async with database.workspace(workspace_id) as conn:
        url = "http://{}:{}/".format(*runner.addresses[0][:2])
        webhook_id, _ = await endpoints.register(
            conn, workspace_id, url, ["chat.message.*"], keyring=keyring, allow=local
        )
    await admin.execute(
        "UPDATE webhooks SET condition_path = $2::text::jsonpath, payload_mode = 'redacted' WHERE webhook_id = $1",
        webhook_id,
        compile_condition({"channel": "slack"}),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(DeliveryEngine(database, keyring, local).run(stop))
    try:
        await tell(database, workspace_id, "chat.response.generated", {**MESSAGE, "channel": "slack"})
        await tell(database, workspace_id, "chat.message.received", {**MESSAGE, "channel": "web"})
        later = await tell(database, workspace_id, "chat.message.received", {**MESSAGE, "channel": "slack"})
        await asyncio.wait_for(arrived.wait(), 20)
    finally:
        stop.set()
        await running
        await runner.cleanup()
    assert [event["id"] for event in got] == [later]
    assert got[0]["data"] == {**MESSAGE, "channel": "slack", "text": "[redacted]"}


async def test_case_49_what_is_told_twice_happened_once(database: Database, admin: Admin, workspace_id: str) -> None:
    """The same update from a platform, twice: one event, one delivery. And no pair of event and endpoint twice."""
    webhook_id = await add(admin, workspace_id, "chat.message.received")
    account_id = await bot(admin, workspace_id, "telegram")
    message = {
        "kind": "text",
        "text": "hi",
        "conversation_key": "5",
        "message_ref": "7",
        "external_id": "5:7",
        "private": True,
        "address": {"chat_id": 5},
        "sender": {"external_id": "5", "name": "Ann", "username": "ann", "language": "en"},
    }
    for _ in range(2):
        await admin.fetch(
            "SELECT accept_updates($1, $2, $3::jsonb[], $4)",
            [new_id("upd")],
            [account_id],
            [orjson.dumps(message).decode()],
            [b"{}"],
        )
        await admin.fetchval("SELECT open_turn($1, '5', $2, 60, 3, 10)", account_id, new_id("tok"))
    rows = await admin.fetch(
        "SELECT event_id FROM webhook_deliveries WHERE workspace_id = $1 AND webhook_id = $2", workspace_id, webhook_id
    )
    assert len(rows) == 1
    told = await body_of(admin, rows[0]["event_id"])
    assert (told["data"]["channel"], told["data"]["account_id"], told["data"]["text"]) == ("telegram", account_id, "hi")
    with pytest.raises(asyncpg.UniqueViolationError):
        await admin.execute(
            "INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id) "
            "VALUES ($1, 'dlv_again', $2, 'chat.message.received', $3)",
            workspace_id,
            rows[0]["event_id"],
            webhook_id,
        )


async def test_case_22_data_that_is_no_object_is_refused_and_nothing_is_stored(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    async with database.workspace(workspace_id) as conn:
        for wrong in (["text"], "text", 5, True, None):
            with pytest.raises(ValueError, match="an object"):
                await publish(conn, workspace_id, "ping", wrong)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="an object"):
                await publish_many(conn, workspace_id, [("ping", {}), ("ping", wrong)])  # type: ignore[list-item]
        assert await publish_many(conn, workspace_id, []) == []
        good = await publish(conn, workspace_id, "ping", {})  # the transaction goes on
    for wrong in ("[1]", '"text"', "5", "null", None):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="an object of at most 1 MiB"):
            await admin.fetchval("SELECT publish_event($1, 'ping', $2::jsonb)", workspace_id, wrong)
    assert [row["event_id"] for row in await admin.fetch("SELECT event_id FROM events WHERE workspace_id = $1",
                                                         workspace_id)] == [good]  # fmt: skip


async def test_case_21_oversized_data_is_refused_with_413(database: Database, admin: Admin, workspace_id: str) -> None:
    whole = len(orjson.dumps({"text": ""}))
    async with database.workspace(workspace_id) as conn:
        for length in (MAX_DATA - whole + 1, 8 << 20):
            with pytest.raises(TooLarge) as refused:
                await publish(conn, workspace_id, "chat.message.received", {"text": "x" * length})
            assert refused.value.status == 413
        kept = await publish(conn, workspace_id, "chat.message.received", {"text": "x" * 1_000_000})
    assert len((await body_of(admin, kept))["data"]["text"]) == 1_000_000
    with pytest.raises(asyncpg.InvalidParameterValueError):
        data = orjson.dumps({"text": "x" * MAX_DATA}).decode()
        await admin.fetchval("SELECT publish_event($1, 'ping', $2::jsonb)", workspace_id, data)


async def test_thin_and_redacted_bodies_are_fixed_when_they_are_owed(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    account_id = await bot(admin, workspace_id, "slack", "conv_1")
    full = await add(admin, workspace_id)
    thin = await add(admin, workspace_id, payload_mode="thin")
    usual = await add(admin, workspace_id, payload_mode="redacted")
    named = await add(
        admin, workspace_id, payload_mode="redacted", redact=["citations.quote", "user_id", "no.such", "text.deeper"]
    )
    data = {
        **MESSAGE,
        "session_id": None,
        "citations": [{"number": 1, "quote": "We open"}, {"number": 2, "quote": "at nine"}, "odd"],
        "files": [{"name": "a.pdf"}],
        "rating": 1,
    }
    event_id = await tell(database, workspace_id, "chat.response.generated", data)
    event = await body_of(admin, event_id)
    rows = await owed(admin, event_id)
    bodies = {who: orjson.loads(row["body"]) for who, row in rows.items() if row["body"] is not None}
    assert set(rows) == {full, *bodies} == {full, thin, usual, named}
    for body in bodies.values():
        assert list(body) == list(event)
        assert {**body, "data": event["data"]} == event
    ids = {"message_id": "msg_1", "conversation_id": "conv_1", "user_id": "usr_1", "session_id": None}
    assert bodies[thin]["data"] == {**ids, "account_id": account_id, "channel": "slack"}
    hidden = {"text": "[redacted]", "citations": "[redacted]", "files": "[redacted]"}
    assert bodies[usual]["data"] == {**event["data"], **hidden}
    cut = [{"number": 1, "quote": "[redacted]"}, {"number": 2, "quote": "[redacted]"}, "odd"]
    assert bodies[named]["data"] == {**event["data"], "citations": cut, "user_id": "[redacted]"}
    for body in (rows[thin]["body"], rows[usual]["body"]):
        assert b"4111" not in body and b"We open" not in body and b"a.pdf" not in body


async def test_a_lane_is_kept_for_endpoints_that_ask_for_order_only(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    plain = await add(admin, workspace_id)
    ordered = await add(admin, workspace_id, ordering="conversation")
    for data, lane in (({"conversation_id": "conv_1"}, "conv_1"), ({"document_id": "doc_1"}, "")):
        rows = await owed(admin, await tell(database, workspace_id, "document.deleted", data))
        assert {who: row["ordering_key"] for who, row in rows.items()} == {plain: None, ordered: lane}


async def test_an_endpoint_is_not_told_of_its_own_trouble(database: Database, admin: Admin, workspace_id: str) -> None:
    one, other = await add(admin, workspace_id), await add(admin, workspace_id, "webhook.*", "delivery.*")
    for event_type in EVENT_TYPES:
        if event_type.startswith(("webhook.", "delivery.")):
            data = {**EVENT_TYPES[event_type].example, "webhook_id": one}
            told = set(await owed(admin, await tell(database, workspace_id, event_type, data)))
            trouble = event_type in ("webhook.failing", "webhook.warned", "delivery.exhausted")
            assert told == ({other} if trouble else {one, other}), event_type


async def test_stored_events_are_judged_and_formed_as_they_were_when_they_happened(
    database: Database, admin: Admin, workspace_id: str
) -> None:
    """What replaying asks of an event's bytes is what publishing did: for every type, and every kind of endpoint."""
    account_id = await bot(admin, workspace_id, "telegram", "conv_1")
    wanted: list[Json] = [{"payload_mode": mode} for mode in ("full", "thin", "redacted")]
    wanted += [{"channels": ["telegram"], "payload_mode": "thin"}, {"condition": {"rating": 1}}]
    wanted += [{"redact": ["text", "url"], "payload_mode": "redacted", "ordering": "conversation"}]
    for columns in wanted:
        for patterns in (["*"], ["chat.*", "*.failed"], ["webhook.*", "delivery.*", "ping"]):
            await add(admin, workspace_id, *patterns, **columns)
    async with database.workspace(workspace_id) as conn:
        for event_type, kind in EVENT_TYPES.items():
            places = {"account_id": account_id, "conversation_id": "conv_1"}
            example = {name: places.get(name, value) for name, value in kind.example.items()}
            example.pop("channel", None)
            await publish(conn, workspace_id, event_type, example)
    then = await admin.fetch(
        "SELECT event_id, webhook_id, body, ordering_key FROM webhook_deliveries WHERE workspace_id = $1", workspace_id
    )
    now = await admin.fetch(
        """
        SELECT e.event_id, w.webhook_id, delivery_body(w, e.body) AS body, webhook_lane(w, event_data(e.body)) AS lane
        FROM events e JOIN webhooks w USING (workspace_id)
        WHERE workspace_id = $1 AND webhook_wants(w, e.type, event_data(e.body))
        """,
        workspace_id,
    )
    assert len(then) > 200
    assert {tuple(row) for row in now} == {tuple(row) for row in then}


@given(st.lists(st.sampled_from(["*", "chat", "message", "received", "webhook", "failed", "secret_rotated", "x"]),
                min_size=1, max_size=4).map(".".join))  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_patterns_mean_the_same_in_sql_and_in_python(database: Database, pattern: str) -> None:
    if pattern.count("*") > 1:
        assert pattern_fault(pattern)
        return
    async with database.anywhere() as conn:
        rows = await conn.fetch(
            "SELECT type, $2 = ANY (patterns_for(type)) AS fits FROM unnest($1::text[]) AS type",
            list(EVENT_TYPES),
            pattern,
        )
    fits = {row["type"] for row in rows if row["fits"]}
    assert fits == {name for name in EVENT_TYPES if matches(pattern, name)}
    assert (pattern_fault(pattern) is None) == bool(fits)


async def counted(admin: Admin) -> dict[str, int]:
    """What this transaction has done so far: rows read and written by table, calls by function."""
    rows = await admin.fetch(
        """
        SELECT 'read ' || relname AS what, seq_tup_read + coalesce(idx_tup_fetch, 0) AS n FROM pg_stat_xact_user_tables
        UNION ALL SELECT 'write ' || relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
        UNION ALL SELECT funcname, calls FROM pg_stat_xact_user_functions
        """
    )
    return {row["what"]: row["n"] for row in rows}


async def test_one_event_for_ten_thousand_endpoints(admin: Admin, workspace_id: str) -> None:
    """Bounded by what is read and written, not by the clock."""
    await admin.execute(
        """
        INSERT INTO webhooks (workspace_id, webhook_id, url, events, payload_mode)
        SELECT $1, 'wh_many' || n, 'https://example.com/' || n,
            CASE n % 10 WHEN 9 THEN '{ping}'::text[] ELSE '{chat.*,ping}' END,
            CASE n % 10 WHEN 8 THEN 'thin' ELSE 'full' END
        FROM generate_series(1, 10000) AS n
        """,
        workspace_id,
    )
    async with admin.transaction():
        await admin.execute("SET LOCAL track_functions = 'all'")
        before = await counted(admin)
        event_id = await admin.fetchval(
            "SELECT publish_event($1, 'chat.message.received', $2::jsonb)", workspace_id, orjson.dumps(MESSAGE).decode()
        )
        after = await counted(admin)
    cost = {what: n - before.get(what, 0) for what, n in after.items()}
    rows = await admin.fetchrow(
        """
        SELECT count(*) AS n, count(DISTINCT webhook_id) AS endpoints, count(body) AS thin,
            sum(octet_length(body)) AS bytes
        FROM webhook_deliveries WHERE event_id = $1
        """,
        event_id,
    )
    assert rows
    assert (rows["n"], rows["endpoints"], rows["thin"]) == (9_000, 9_000, 1_000)
    assert cost["write webhook_deliveries"] == 9_000
    assert sum(n for what, n in cost.items() if what.startswith("write events")) == 1
    assert cost["read webhooks"] <= 10_100
    assert (cost["patterns_for"], cost["event_place"], cost["publish_events"]) == (1, 1, 1)
    assert cost.get("redacted", 0) == 0 and cost.get("redact_path", 0) == 0
    assert rows["bytes"] < 1_000 * 400


async def test_where_nobody_listens_an_event_costs_a_row_and_a_look(admin: Admin, workspace_id: str) -> None:
    await add(admin, workspace_id, status="disabled", payload_mode="thin")
    async with admin.transaction():
        await admin.execute("SET LOCAL track_functions = 'all'")
        before = await counted(admin)
        await admin.fetchval("SELECT publish_event($1, 'user.erased', '{\"user_id\": \"usr_1\"}')", workspace_id)
        after = await counted(admin)
    cost = {what: n - before.get(what, 0) for what, n in after.items() if n != before.get(what, 0)}
    (written,) = [what for what in cost if what.startswith("write ")]
    assert written.startswith("write events") and cost[written] == 1
    assert cost["read webhooks"] <= 5
    assert "patterns_for" not in cost and "read webhook_deliveries" not in cost
