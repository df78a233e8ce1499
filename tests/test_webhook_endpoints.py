"""Registration, subscriptions, the log over REST, and that workspaces see only their own."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.db import Database
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.events import EVENT_TYPES, get_event, list_events, matches, pattern_fault, publish, publish_many
from kernel.secrets import KeyRing, SealBroken, generate_ring, place
from kernel.types import Json
from webhooks import deliveries, endpoints
from webhooks.fields import DEFAULTS, faults, merged
from webhooks.rows import COLUMNS, values_of
from webhooks.urls import Rules, split_credentials

LOOPBACK = (ip_network("127.0.0.0/8"),)
URL = "https://example.com/hook"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["*", "chat.*", "v1", URL]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                ["kind", "token", "token_url", "count", "seconds", "certificate", "ca", "$eq", "$or", "a.b"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


async def add(database: Database, workspace_id: str, keyring: KeyRing, *patterns: str) -> str:
    async with database.workspace(workspace_id) as conn:
        webhook_id, _ = await endpoints.register(conn, workspace_id, URL, patterns or ("*",), keyring=keyring)
    return webhook_id


async def test_register_shows_the_secret_once_and_stores_it_sealed(
    database: Database, workspace_id: str, keyring: KeyRing, admin: asyncpg.Connection[Any]
) -> None:
    async with database.workspace(workspace_id) as conn:
        webhook_id, secret = await endpoints.register(
            conn, workspace_id, URL, ["chat.*", "chat.*", "ping"], keyring=keyring, description="mine"
        )
        seen = await endpoints.get(conn, workspace_id, webhook_id)
    assert webhook_id.startswith("wh_")
    assert secret.startswith("whsec_")
    assert (seen["url"], seen["events"], seen["status"]) == (URL, ["chat.*", "ping"], "enabled")
    assert secret not in repr(seen)
    sealed = await admin.fetchval("SELECT sealed FROM webhook_secrets WHERE webhook_id = $1", webhook_id)
    assert secret.encode() not in sealed
    assert keyring.open(sealed, place(workspace_id, "webhook_secrets", "sealed", webhook_id)) == secret.encode()
    with pytest.raises(SealBroken):
        keyring.open(sealed, place(workspace_id, "webhook_secrets", "sealed", "wh_other"))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"events": []}, "events"),
        ({"events": "chat.*"}, "events"),
        ({"events": ["chat.nonsense"]}, "events"),
        ({"events": ["chat*"]}, "events"),
        ({"events": ["Chat.*"]}, "events"),
        ({"description": 5}, "description"),
        ({"secret": "whsec_short"}, "secret"),
    ],
)
async def test_registration_names_the_field_at_fault(
    database: Database, workspace_id: str, keyring: KeyRing, asked: dict[str, Any], field: str
) -> None:
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(InvalidRequest) as caught:
            await endpoints.register(conn, workspace_id, **{"url": URL, "events": ["*"], "keyring": keyring, **asked})
    assert [detail["field"] for detail in caught.value.details] == [field]


@given(
    asked=st.dictionaries(st.sampled_from(["url", "status", *DEFAULTS, "else"]), JUNK, max_size=5),
    current=st.sampled_from([{}, {"url": URL, "auth": {"kind": "basic", "username": "a", "password": "b"}}]),
)
def test_whatever_is_asked_is_judged_and_what_has_no_fault_can_be_stored(asked: Json, current: Json) -> None:
    wanted = merged(current, asked)
    found = faults(wanted, asked, Rules(LOOPBACK))
    assert all(isinstance(fault["field"], str) and fault["message"] for fault in found)
    if not found:
        ring = KeyRing.parse(generate_ring())
        assert len(values_of(wanted, ring, "ws_1", "wh_1")) == len(COLUMNS)


@pytest.mark.parametrize(
    ("url", "plain", "login"),
    [
        ("https://a:b@x.example/p?q#f", "https://x.example/p?q#f", ("a", "b")),
        ("https://a%40:%3Ab@x.example", "https://x.example", ("a@", ":b")),
        ("HTTP://a@x.example/@b", "HTTP://x.example/@b", ("a", "")),
        ("https://:b@x.example", "https://x.example", ("", "b")),
        ("https://@x.example", "https://x.example", None),
        ("https://a@b@x.example", "https://x.example", ("a@b", "")),
        ("https://x.example/a@b", "https://x.example/a@b", None),
        ("https://x.example?a@b", "https://x.example?a@b", None),
        ("ftp://a:b@x.example", "ftp://a:b@x.example", None),
    ],
)
def test_case_34_a_login_is_cut_out_of_a_url(url: str, plain: str, login: tuple[str, str] | None) -> None:
    assert split_credentials(url) == (plain, login)


async def test_update_list_delete(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    ids = [await add(database, workspace_id, keyring) for _ in range(3)]
    async with database.workspace(workspace_id) as conn:
        first, cursor = await endpoints.list_endpoints(conn, workspace_id, limit=2)
        rest, end = await endpoints.list_endpoints(conn, workspace_id, limit=2, cursor=cursor or "")
        assert [row["webhook_id"] for row in first + rest] == ids[::-1]
        assert end is None
        changed = await endpoints.update(
            conn, workspace_id, ids[0], {"events": ["ping"], "status": "disabled"}, keyring=keyring
        )
        assert (changed["events"], changed["status"], changed["disabled_reason"]) == (
            ["ping"],
            "disabled",
            "by request",
        )
        changed = await endpoints.update(
            conn, workspace_id, ids[0], {"status": "enabled", "description": ""}, keyring=keyring
        )
        assert (changed["status"], changed["disabled_reason"], changed["url"]) == ("enabled", "", URL)
        refused: list[Json] = [{"colour": "red"}, {"url": None}, {"events": []}, {"status": "asleep"}, {"status": None}]
        for wrong in refused:
            with pytest.raises(InvalidRequest):
                await endpoints.update(conn, workspace_id, ids[0], wrong, keyring=keyring)
        await endpoints.delete(conn, workspace_id, ids[0])
        for missing in (endpoints.get, endpoints.delete):
            with pytest.raises(NotFound):
                await missing(conn, workspace_id, ids[0])
        with pytest.raises(NotFound):
            await endpoints.update(conn, workspace_id, ids[0], {"description": "x"}, keyring=keyring)


async def test_an_event_is_owed_to_those_who_asked(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    wanted = {
        await add(database, workspace_id, keyring, pattern)
        for pattern in ("*", "chat.*", "chat.message.*", "chat.message.received")
    }
    for other in ("chat.response.*", "session.started", "ping"):
        await add(database, workspace_id, keyring, other)
    off = await add(database, workspace_id, keyring, "*")
    await add(database, second_workspace, keyring, "*")
    async with database.workspace(workspace_id) as conn:
        await endpoints.set_status(conn, workspace_id, off, "disabled")
        event_id = await publish(conn, workspace_id, "chat.message.received", {"text": "héllo"})
        owed, _ = await deliveries.list_deliveries(conn, workspace_id, event_id=event_id)
        event = await get_event(conn, workspace_id, event_id)
        body = await conn.fetchval("SELECT body FROM events WHERE event_id = $1", event_id)
    assert {row["webhook_id"] for row in owed} == wanted
    assert {(row["status"], row["attempts"]) for row in owed} == {("pending", 0)}
    assert event is not None
    assert list(orjson.loads(body)) == ["id", "type", "timestamp", "workspace_id", "data"]
    assert (event["id"], event["workspace_id"], event["data"]) == (event_id, workspace_id, {"text": "héllo"})
    assert event["timestamp"].endswith("Z")
    assert len(event["timestamp"]) == len("2026-11-21T03:00:00.000Z")


async def test_events_are_part_of_the_transaction(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    await add(database, workspace_id, keyring)
    with pytest.raises(ZeroDivisionError):
        async with database.workspace(workspace_id) as conn:
            await publish(conn, workspace_id, "user.created", {"user_id": "usr_1"})
            raise ZeroDivisionError
    async with database.workspace(workspace_id) as conn:
        assert await list_events(conn, workspace_id) == ([], None)
        assert await deliveries.list_deliveries(conn, workspace_id) == ([], None)


async def test_several_events_in_one_statement(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    await add(database, workspace_id, keyring, "session.*")
    async with database.workspace(workspace_id) as conn:
        ids = await publish_many(
            conn,
            workspace_id,
            [("session.started", {"n": 1}), ("user.created", {"n": 2}), ("session.started", {"n": 3})],
        )
        found = [await get_event(conn, workspace_id, event_id) for event_id in ids]
        owed, _ = await deliveries.list_deliveries(conn, workspace_id)
        newest, cursor = await list_events(conn, workspace_id, event_type="session.started", limit=1)
        older, _ = await list_events(conn, workspace_id, event_type="session.started", cursor=cursor or "")
    assert [event and event["data"]["n"] for event in found] == [1, 2, 3]
    assert {row["event_id"] for row in owed} == {ids[0], ids[2]}
    assert {event["id"] for event in newest + older} == {ids[0], ids[2]}


async def test_unknown_types_are_refused(database: Database, workspace_id: str) -> None:
    async with database.workspace(workspace_id) as conn:
        with pytest.raises(ValueError, match=r"no\.such"):
            await publish(conn, workspace_id, "no.such", {})
        with pytest.raises(ValueError, match=r"no\.such"):
            await publish_many(conn, workspace_id, [("ping", {}), ("no.such", {})])


async def test_sql_and_python_agree_on_patterns(database: Database) -> None:
    async with database.anywhere() as conn:
        for event_type in EVENT_TYPES:
            listed = set(await conn.fetchval("SELECT patterns_for($1)", event_type))
            assert all(matches(pattern, event_type) and not pattern_fault(pattern) for pattern in listed)
            others = {part for other in EVENT_TYPES for part in await conn.fetchval("SELECT patterns_for($1)", other)}
            assert not any(matches(pattern, event_type) for pattern in others - listed)


async def test_other_workspaces_see_nothing(
    database: Database, workspace_id: str, second_workspace: str, keyring: KeyRing
) -> None:
    webhook_id = await add(database, workspace_id, keyring)
    async with database.workspace(workspace_id) as conn:
        await publish(conn, workspace_id, "ping", {})
        (delivery,), _ = await deliveries.list_deliveries(conn, workspace_id)
    async with database.workspace(second_workspace) as conn:
        for table in ("events", "webhooks", "webhook_secrets", "webhook_deliveries", "webhook_attempts"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await endpoints.list_endpoints(conn, workspace_id) == ([], None)
        for refused in (endpoints.get, endpoints.delete, deliveries.send_test):
            with pytest.raises(NotFound):
                await refused(conn, workspace_id, webhook_id)
        for hidden in (deliveries.get, deliveries.resend):
            with pytest.raises(NotFound):
                await hidden(conn, workspace_id, delivery["delivery_id"])
    async with database.workspace(second_workspace) as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await publish(conn, workspace_id, "ping", {})


async def test_the_log_filters_and_pages(database: Database, workspace_id: str, keyring: KeyRing) -> None:
    one, two = await add(database, workspace_id, keyring), await add(database, workspace_id, keyring)
    async with database.workspace(workspace_id) as conn:
        for _ in range(3):
            await publish(conn, workspace_id, "user.created", {})
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = await deliveries.list_deliveries(conn, workspace_id, limit=4, cursor=cursor)
            seen += [row["delivery_id"] for row in page]
        assert len(seen) == len(set(seen)) == 6
        assert seen == sorted(seen, reverse=True)
        for webhook_id in (one, two):
            page, _ = await deliveries.list_deliveries(conn, workspace_id, webhook_id=webhook_id, status="pending")
            assert len(page) == 3
        assert await deliveries.list_deliveries(conn, workspace_id, status="delivered") == ([], None)
        assert await deliveries.list_deliveries(conn, workspace_id, event_type="ping") == ([], None)
        with pytest.raises(InvalidRequest):
            await deliveries.list_deliveries(conn, workspace_id, status="leased")


async def test_a_test_reaches_one_endpoint_whatever_it_asked_for(
    database: Database, workspace_id: str, keyring: KeyRing
) -> None:
    webhook_id = await add(database, workspace_id, keyring, "user.created")
    await add(database, workspace_id, keyring, "*")
    async with database.workspace(workspace_id) as conn:
        made = await deliveries.send_test(conn, workspace_id, webhook_id)
        rows, _ = await deliveries.list_deliveries(conn, workspace_id)
        assert [row["delivery_id"] for row in rows] == [made["delivery_id"]]
        assert (made["event_type"], made["webhook_id"], made["attempt_log"]) == ("ping", webhook_id, [])
        await endpoints.set_status(conn, workspace_id, webhook_id, "disabled")
        with pytest.raises(Conflict):
            await deliveries.send_test(conn, workspace_id, webhook_id)
        with pytest.raises(Conflict):
            await deliveries.resend(conn, workspace_id, made["delivery_id"])
        await endpoints.delete(conn, workspace_id, webhook_id)
        with pytest.raises(Conflict):
            await deliveries.resend(conn, workspace_id, made["delivery_id"])
        assert (await deliveries.get(conn, workspace_id, made["delivery_id"]))["status"] == "cancelled"
