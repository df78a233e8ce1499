"""Endpoints over REST: options there and back, PUT again and again, null in PATCH, refusals that name the field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import asyncpg
import pytest

from gateway.services import Ground
from kernel.types import Json
from tests.certificates import authority
from tests.http_face import Client, Reply, Server, client, served
from webhooks.engine import DeliveryEngine
from webhooks.options import open_json

HOOKS = "/api/v1/webhooks"
URL = "http://127.0.0.1:9001/hook"
ISSUED = authority("Clients").issue("parley")
EVERYTHING: Json = {
    "url": "https://127.0.0.1:9001/hook?a=b",
    "uid": "billing.v2",
    "events": ["chat.*", "*.failed"],
    "description": "Billing",
    "metadata": {"team": "payments", "owner": "ann"},
    "headers": {"X-Team": "payments", "X-Api-Key": "hush-header"},
    "auth": {
        "kind": "oauth2",
        "token_url": "https://127.0.0.1:9001/token",
        "client_id": "parley",
        "client_secret": "hush-oauth",
        "scopes": ["events:write"],
        "audience": "https://billing.example",
        "client_auth": "body",
    },
    "tls": {"certificate": ISSUED.certificate, "key": ISSUED.key},
    "timeout_seconds": 7.5,
    "schedule": [5, 60, 3_600],
    "schedules": {"chat.*": [], "chat.message.received": [1]},
    "rate_limit": {"count": 20, "seconds": 60},
    "max_in_flight": 4,
    "payload_mode": "redacted",
    "redact": ["text", "citations.quote"],
    "channels": ["telegram", "acc_1"],
    "condition": {"$or": [{"rating": {"$lt": 0}}, {"channel": {"$in": ["slack"]}}]},
    "signing": "v1+v1a",
    "ordering": "conversation",
    "on_stuck": "skip",
}
SECRETS = ("hush-header", "hush-oauth", "PRIVATE KEY", "whsec_", "whsk_")
FREE: Json = {
    "uid": None, "events": ["*"], "description": "", "metadata": {}, "headers": {}, "auth": None, "tls": None,
    "timeout_seconds": 15.0, "schedule": None, "schedules": {}, "rate_limit": None, "max_in_flight": None,
    "payload_mode": "full", "redact": [], "channels": None, "condition": None, "signing": "v1", "ordering": "none",
    "on_stuck": "block",
}  # fmt: skip


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def made(api: Client, **more: Any) -> str:
    reply = await api.post(HOOKS, {"url": URL, **more})
    assert reply.status == 201, reply.raw
    return f"{HOOKS}/{reply.body['webhook_id']}"


def fields(reply: Reply) -> list[str]:
    assert reply.status == 422, reply.raw
    return sorted(detail["field"] for detail in reply.body["details"])


async def test_every_option_goes_in_and_comes_out_without_its_secrets(
    api: Client, admin: asyncpg.Connection[Any]
) -> None:
    first = await api.post(HOOKS, EVERYTHING)
    assert first.status == 201
    assert first.body["secret"].startswith("whsec_")
    assert first.body["public_key"].startswith("whpk_")
    seen = await api.get(f"{HOOKS}/{first.body['webhook_id']}")
    assert seen.body["tls"].pop("not_after")
    assert len(seen.body["tls"].pop("fingerprint")) == 64
    shown = {
        **EVERYTHING,
        "headers": {"X-Team": "payments", "X-Api-Key": "(hidden)"},
        "auth": {name: value for name, value in EVERYTHING["auth"].items() if name != "client_secret"},
        "tls": {"subject": "CN=parley", "ca": False},
    }
    assert {name: seen.body[name] for name in EVERYTHING} == shown
    listed = await api.get(HOOKS)
    for reply in (seen, listed):
        assert not any(secret in reply.raw.decode() for secret in SECRETS)
    row = await admin.fetchrow("SELECT * FROM webhooks WHERE webhook_id = $1", first.body["webhook_id"])
    assert row
    assert not any(secret in repr({**row}) for secret in (*SECRETS, "hush"))
    opened = open_json(api.server.ground.ring, api.workspace_id, row["webhook_id"], row["sealed_options"])
    assert opened == {name: EVERYTHING[name] for name in ("headers", "auth", "tls")}
    assert row["condition_path"]


async def test_what_is_not_said_has_its_default(api: Client) -> None:
    seen = (await api.get(await made(api))).body
    assert {name: seen[name] for name in FREE} == FREE
    assert (seen["status"], seen["failing_since"], seen["paused_until"]) == ("enabled", None, None)


async def test_null_takes_a_field_back_and_what_is_not_said_stays(api: Client) -> None:
    path = await made(
        api, **{name: value for name, value in EVERYTHING.items() if name != "url"}, url=EVERYTHING["url"]
    )
    before = (await api.get(path)).body
    same = await api("PATCH", path, {})
    assert (same.body["secret"], same.body["updated_at"]) == (None, before["updated_at"])
    for name, default in FREE.items():
        if name in ("payload_mode", "signing", "uid"):
            continue
        changed = await api("PATCH", path, {name: None})
        assert changed.status == 200, changed.raw
        assert changed.body[name] == default, name
        others = {other for other in FREE if changed.body[other] != before[other]} - {name}
        assert not others
        before = (await api.get(path)).body
    for name in ("payload_mode", "signing", "uid"):
        assert (await api("PATCH", path, {name: None})).body[name] == FREE[name]
    assert fields(await api("PATCH", path, {"url": None})) == ["url"]
    assert fields(await api("PATCH", path, {"status": None})) == ["status"]


async def test_case_31_empty_filters_are_refused_and_null_resets_them(api: Client) -> None:
    path = await made(api, events=["chat.*"], channels=["slack"], condition={"channel": "slack"})
    for name, empty in (("events", []), ("channels", []), ("condition", {})):
        assert fields(await api("PATCH", path, {name: empty})) == [name]
        assert fields(await api.post(HOOKS, {"url": URL, name: empty})) == [name]
    reset = (await api("PATCH", path, {"events": None, "channels": None, "condition": None})).body
    assert (reset["events"], reset["channels"], reset["condition"]) == (["*"], None, None)


async def test_members_of_headers_and_metadata_are_merged_and_null_removes_one(api: Client) -> None:
    path = await made(api, headers={"X-A": "1", "X-Token": "hush"}, metadata={"a": "1", "b": "2"})
    body = {"headers": {"x-a": "3", "X-C": "4"}, "metadata": {"a": None, "c": "3"}}
    changed = (await api("PATCH", path, body)).body
    assert changed["headers"] == {"X-Token": "(hidden)", "x-a": "3", "X-C": "4"}
    assert changed["metadata"] == {"b": "2", "c": "3"}
    changed = (await api("PATCH", path, {"headers": {"X-A": None, "x-token": None}})).body
    assert changed["headers"] == {"X-C": "4"}


async def test_put_makes_replaces_and_changes_nothing_when_nothing_is_new(api: Client) -> None:
    path = f"{HOOKS}/uid/{EVERYTHING['uid']}"
    first = await api("PUT", path, EVERYTHING)
    assert (first.status, first.body["uid"]) == (201, "billing.v2")
    again = await api("PUT", path, {name: value for name, value in EVERYTHING.items() if name != "uid"})
    assert (again.status, again.body["secret"], again.body["public_key"]) == (200, None, None)
    same = {name: value for name, value in first.body.items() if name not in ("secret", "public_key")}
    assert {name: again.body[name] for name in same} == same
    await api.post(f"{HOOKS}/{first.body['webhook_id']}/disable")
    bare = await api("PUT", path, {"url": URL})
    assert (bare.status, bare.body["status"]) == (200, "disabled")
    assert {name: bare.body[name] for name in FREE} == {**FREE, "uid": "billing.v2"}
    assert bare.body["webhook_id"] == first.body["webhook_id"]
    assert [item["uid"] for item in (await api.get(f"{HOOKS}?uid=billing.v2")).body["items"]] == ["billing.v2"]
    assert (await api.get(f"{HOOKS}?uid=other")).body["items"] == []


async def test_put_takes_a_secret_to_begin_with_and_no_other_later(api: Client) -> None:
    path, own = f"{HOOKS}/uid/own", "whsec_" + "QUJD" * 10
    assert (await api("PUT", path, {"url": URL, "secret": own})).body["secret"] == own
    assert (await api("PUT", path, {"url": URL, "secret": own})).status == 200
    assert fields(await api("PUT", path, {"url": URL, "secret": "whsec_" + "QUJE" * 10})) == ["secret"]
    assert fields(await api("PUT", path, {"url": URL, "secret": "x"})) == ["secret"]
    assert fields(await api("PUT", path, {"url": URL, "uid": "another"})) == ["uid"]
    assert fields(await api("PUT", f"{HOOKS}/uid/a~b", {"url": URL})) == ["uid"]


async def test_puts_at_one_moment_make_one_endpoint(api: Client) -> None:
    replies = await asyncio.gather(*(api("PUT", f"{HOOKS}/uid/one", {"url": URL}) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [200] * 7 + [201]
    assert len({reply.body["webhook_id"] for reply in replies}) == 1


async def test_case_20_a_uid_that_is_taken_is_a_conflict(api: Client, server: Server, second_workspace: str) -> None:
    await made(api, uid="mine")
    again = await api.post(HOOKS, {"url": URL, "uid": "mine"})
    assert (again.status, again.body["details"][0]["field"]) == (409, "uid")
    other = await made(api, uid="other")
    changed = await api("PATCH", other, {"uid": "mine", "description": "x"})
    assert (changed.status, (await api.get(other)).body["description"]) == (409, "")
    stranger = await client(server, second_workspace)
    assert (await stranger.post(HOOKS, {"url": URL, "uid": "mine"})).status == 201
    assert (await stranger("PUT", f"{HOOKS}/uid/other", {"url": URL})).status == 201
    assert (await api.get(other)).body["uid"] == "other"


async def test_case_21_and_22_what_is_too_large_or_no_object_is_refused(api: Client) -> None:
    large = await api.post(HOOKS, {"url": URL, "description": "x" * 8_000_000})
    assert (large.status, large.body["code"]) == (413, "too_large")
    others: list[Any] = [[], "url", 5, True]
    for no_object in others[:3]:
        reply = await api("POST", HOOKS, no_object, headers={"Content-Type": "application/json"})
        assert reply.status == 422
    broken = await api("POST", HOOKS, headers={"Content-Type": "application/json"}, data=b'{"url": ')
    assert (broken.status, broken.body["code"]) == (400, "malformed_request")
    for name in ("metadata", "headers", "auth", "tls", "schedules", "rate_limit", "condition"):
        for wrong in others:
            assert fields(await api.post(HOOKS, {"url": URL, name: wrong})) == [name], (name, wrong)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": 5}, "url"),
        ({"url": "https://x.example/" + "a" * 2_048}, "url"),
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"events": "chat.*"}, "events"),
        ({"events": ["chat.nonsense"]}, "events"),
        ({"events": ["chat.*"] * 65}, "events"),
        ({"uid": "a b"}, "uid"),
        ({"uid": "x" * 129}, "uid"),
        ({"description": "x" * 501}, "description"),
        ({"metadata": {"a": 5}}, "metadata.a"),
        ({"metadata": {"a": "x" * 501}}, "metadata.a"),
        ({"metadata": {"x" * 65: "a"}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(51)}}, "metadata"),
        ({"headers": {"X-A": 5}}, "headers.X-A"),
        ({"headers": {"X-A": "é"}}, "headers.X-A"),
        ({"headers": {f"X-{n}": "1" for n in range(33)}}, "headers"),
        ({"auth": {"kind": "digest"}}, "auth"),
        ({"auth": {"kind": "basic", "username": "a"}}, "auth.password"),
        ({"auth": {"kind": "basic", "username": "a:b", "password": "c"}}, "auth.username"),
        ({"auth": {"kind": "basic", "username": "a", "password": "b", "token": "c"}}, "auth.token"),
        ({"auth": {"kind": "bearer", "token": "a b"}}, "auth.token"),
        ({"auth": {"kind": "bearer", "token": "x" * 4_097}}, "auth.token"),
        ({"auth": {**EVERYTHING["auth"], "token_url": "http://10.0.0.1/"}}, "auth.token_url"),
        ({"auth": {**EVERYTHING["auth"], "scopes": ["a b"]}}, "auth.scopes"),
        ({"auth": {**EVERYTHING["auth"], "client_auth": "jwt"}}, "auth.client_auth"),
        ({"auth": {"kind": "bearer", "token": "t"}, "headers": {"authorization": "x"}}, "headers.authorization"),
        ({"tls": {"certificate": ISSUED.certificate, "key": ISSUED.key}, "url": URL}, "tls"),
        ({"tls": {"certificate": ISSUED.certificate}, "url": EVERYTHING["url"]}, "tls.key"),
        ({"tls": {"certificate": "x" * 40_000, "key": ISSUED.key}, "url": EVERYTHING["url"]}, "tls.certificate"),
        ({"tls": {"pem": "x"}, "url": EVERYTHING["url"]}, "tls"),
        ({"timeout_seconds": 0.5}, "timeout_seconds"),
        ({"timeout_seconds": 31}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"schedule": [0]}, "schedule"),
        ({"schedule": [1] * 31}, "schedule"),
        ({"schedule": [172_800] * 4}, "schedule"),
        ({"schedule": ["5"]}, "schedule"),
        ({"schedule": [True]}, "schedule"),
        ({"schedules": {"nothing.here": [5]}}, "schedules.nothing.here"),
        ({"schedules": {"chat.*": [-1]}}, "schedules.chat.*"),
        ({"schedules": {"chat.*": None}}, "schedules.chat.*"),
        ({"rate_limit": {"count": 0}}, "rate_limit.count"),
        ({"rate_limit": {"count": 1, "seconds": 3_601}}, "rate_limit.seconds"),
        ({"rate_limit": {"seconds": 1}}, "rate_limit"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_in_flight": 1.5}, "max_in_flight"),
        ({"payload_mode": "fat"}, "payload_mode"),
        ({"redact": ["text"]}, "redact"),
        ({"redact": ["a..b"], "payload_mode": "redacted"}, "redact"),
        ({"channels": ["a b"]}, "channels"),
        ({"channels": [f"acc_{n}" for n in range(51)]}, "channels"),
        ({"condition": {"a": {"$regex": "x"}}}, "condition.a.$regex"),
        ({"condition": {"$or": [{"a": 1}, {"b": []}]}}, "condition.$or.1.b"),
        ({"condition": {"a": {"$in": ["x" * 1_000] * 100}}}, "condition"),
        ({"signing": "v2"}, "signing"),
        ({"ordering": "strict"}, "ordering"),
        ({"on_stuck": "wait"}, "on_stuck"),
        ({"status": "asleep"}, "status"),
        ({"secret": "whsec_short"}, "secret"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_registration_that_is_wrong_names_its_field(api: Client, given: Json, field: str) -> None:
    assert fields(await api.post(HOOKS, {"url": URL, **given})) == [field]
    if field not in ("secret", "colour"):
        path = await made(api)
        assert fields(await api("PATCH", path, given)) == [field]
        assert fields(await api("PUT", f"{HOOKS}/uid/new", {"url": URL, **given})) == [field]
    assert len((await api.get(HOOKS)).body["items"]) == (field not in ("secret", "colour"))


async def test_everything_that_is_wrong_is_said_at_once(api: Client) -> None:
    reply = await api.post(HOOKS, {"url": "http://10.0.0.1/", "events": [], "timeout_seconds": 99, "secret": "x"})
    assert fields(reply) == ["events", "secret", "timeout_seconds", "url"]


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-type", "Content-Length", "User-Agent", "Connection", "Transfer-Encoding", "Expect", "TE",
        "Via", "webhook-id", "Webhook-Anything", "svix-id", "Proxy-Authorization", "X-Forwarded-For", "X-Real-IP",
        "Metadata-Flavor", "X-aws-ec2-metadata-token", "Sec-Fetch-Mode", "bad name", "bad:name", "é", "X\r\nY",
        "x" * 129,
    ],
)  # fmt: skip
async def test_case_32_headers_that_are_not_for_setting_are_refused(api: Client, name: str) -> None:
    assert fields(await api.post(HOOKS, {"url": URL, "headers": {name: "1"}})) == [f"headers.{name}"]


@pytest.mark.parametrize(
    "value", ["", " a", "a ", "a\r\nX-B: c", "a\nb", "a\x00b", "ü", "x" * 4_097, "\x7f", "(hidden)"]
)
async def test_case_32_values_that_are_malformed_are_refused(api: Client, value: str) -> None:
    reply = await api.post(HOOKS, {"url": URL, "headers": {"X-A": value}})
    assert reply.status == 422
    assert "\0" in value or fields(reply) == ["headers.X-A"]


async def test_case_32_names_keep_their_case_and_sensitive_values_are_masked(api: Client) -> None:
    given = {"X-tEaM": "a", "Authorization": "x", "X-API-KEY": "x", "Cookie": "x", "x-amz-Security-Token": "x"}
    seen = (await api.get(await made(api, headers=given))).body["headers"]
    assert seen == {name: "a" if name == "X-tEaM" else "(hidden)" for name in given}
    twice = await api.post(HOOKS, {"url": URL, "headers": {"X-A": "1", "x-a": "2"}})
    assert fields(twice) == ["headers.x-a"]
    assert (await api.post(HOOKS, {"url": URL, "headers": {"X-A": "x" * 4_096}})).status == 201


async def test_case_33_https_only_refuses_http_wherever_a_url_is_set(ground: Ground, workspace_id: str) -> None:
    async with served(ground) as free:
        before = await made(await client(free, workspace_id))
    async with served(ground, webhook_https_only=True) as strict:
        api = await client(strict, workspace_id)
        assert fields(await api.post(HOOKS, {"url": URL})) == ["url"]
        assert fields(await api("PUT", f"{HOOKS}/uid/a", {"url": URL})) == ["url"]
        path = await made(api, url="https://127.0.0.1:9001/")
        assert fields(await api("PATCH", path, {"url": URL})) == ["url"]
        auth = {**EVERYTHING["auth"], "token_url": "http://127.0.0.1:9001/"}
        assert fields(await api("PATCH", path, {"auth": auth})) == ["auth.token_url"]
        assert (await api("PATCH", before, {"description": "still http"})).status == 200
        assert (await api("PATCH", before, {"url": "https://127.0.0.1:9001/"})).status == 200


async def test_case_34_a_login_in_the_url_becomes_basic_auth_unless_another_is_set(
    api: Client, admin: asyncpg.Connection[Any]
) -> None:
    login, bare = "http://ann:p%40ss:w@127.0.0.1:9001/hook", "http://127.0.0.1:9001/hook"
    path = await made(api, url=login)
    seen = (await api.get(path)).body
    assert (seen["url"], seen["auth"]) == (bare, {"kind": "basic", "username": "ann"})
    webhook_id = path.rpartition("/")[2]
    row = await admin.fetchrow("SELECT * FROM webhooks WHERE webhook_id = $1", webhook_id)
    assert row
    assert not any(word in repr({**row}) for word in ("p%40ss", "p@ss"))
    opened = open_json(api.server.ground.ring, api.workspace_id, webhook_id, row["sealed_options"])
    assert opened["auth"] == {"kind": "basic", "username": "ann", "password": "p@ss:w"}

    changed = (await api("PATCH", path, {"url": "http://bob@127.0.0.1:9001/hook"})).body
    assert (changed["url"], changed["auth"]["username"]) == (bare, "bob")
    assert (await api("PATCH", path, {"url": bare})).body["auth"]["username"] == "bob"
    bearer = await made(api, url=login, auth={"kind": "bearer", "token": "t"})
    header = await made(api, url=login, headers={"authorization": "x"})
    assert (await api.get(bearer)).body["auth"] == {"kind": "bearer"}
    assert (await api.get(header)).body["auth"] is None
    assert {(await api.get(other)).body["url"] for other in (bearer, header)} == {bare}
    assert (await api("PATCH", bearer, {"url": login})).body["auth"] == {"kind": "bearer"}
    for wrong in ("http://ann:pw@10.0.0.1/", "http://ann%00:pw@127.0.0.1:9001/"):
        assert (await api.post(HOOKS, {"url": wrong})).status == 422


async def test_endpoints_go_in_and_out_of_use(api: Client, admin: asyncpg.Connection[Any]) -> None:
    path = await made(api)
    webhook_id = path.rpartition("/")[2]
    watcher = await made(api, events=["webhook.*"])
    off = (await api.post(f"{path}/disable")).body
    assert (off["status"], off["disabled_reason"]) == ("disabled", "by request")
    assert (await api.post(f"{path}/disable")).body == off
    await admin.execute(
        "INSERT INTO webhook_health (workspace_id, webhook_id, failing_since, streak, open_until) "
        "VALUES ($1, $2, now(), 9, now())", api.workspace_id, webhook_id,
    )  # fmt: skip
    seen = (await api.get(path)).body
    assert seen["failing_since"]
    assert seen["paused_until"]
    on = (await api.post(f"{path}/enable")).body
    assert [on[name] for name in ("status", "disabled_reason", "failing_since", "paused_until")] == [
        "enabled", "", None, None,
    ]  # fmt: skip
    owed = (await api.get(f"/api/v1/deliveries?webhook_id={watcher.rpartition('/')[2]}")).body["items"]
    assert [row["event_type"] for row in owed] == ["webhook.enabled", "webhook.disabled"]
    own = (await api.get(f"/api/v1/deliveries?webhook_id={webhook_id}")).body["items"]
    assert own == []
    for what in ("enable", "disable"):
        assert (await api.post(f"{HOOKS}/wh_none/{what}")).status == 404


async def test_one_that_went_out_of_use_by_itself_stays_so_when_that_is_asked_for(
    api: Client, admin: asyncpg.Connection[Any]
) -> None:
    path = await made(api)
    await made(api, events=["webhook.*"])
    await admin.execute(
        "UPDATE webhooks SET status = 'disabled', disabled_reason = 'failing' WHERE webhook_id = $1",
        path.rpartition("/")[2],
    )
    assert (await api.post(f"{path}/disable")).body["disabled_reason"] == "by request"
    assert (await api.get("/api/v1/events?type=webhook.disabled")).body["items"] == []


async def test_a_test_tells_what_came_of_it_when_somebody_waits(api: Client, ground: Ground) -> None:
    path = await made(api, url="http://127.0.0.1:1025/", schedule=[])
    soon = await api.post(f"{path}/test?wait=0.2")
    assert (soon.status, soon.body["attempt_log"]) == (202, [])
    engine, stop = DeliveryEngine(ground.database, ground.ring, [ip_network("127.0.0.0/8")]), asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    tried = await api.post(f"{path}/test?wait=20")
    stop.set()
    await task
    assert (tried.status, tried.body["event_type"]) == (200, "ping")
    assert [attempt["error_code"] for attempt in tried.body["attempt_log"]] == ["connection_refused"]
    assert fields(await api.post(f"{path}/test?wait=31")) == ["wait"]


async def test_secrets_are_rotated_listed_and_revoked(api: Client) -> None:
    path = await made(api)
    first = (await api.get(f"{path}/secrets")).body["items"]
    assert [(s["kind"], s["expires_at"], s["public_key"]) for s in first] == [("v1", None, None)]
    turned = await api.post(f"{path}/rotate-secret")
    assert (turned.status, turned.body["kind"]) == (201, "v1")
    own = await api.post(f"{path}/rotate-secret", {"kind": "v1a", "overlap_seconds": 60})
    assert (own.body["secret"], own.body["public_key"][:5]) == (None, "whpk_")
    assert (await api.get(path)).body["signing"] == "v1a"
    items = (await api.get(f"{path}/secrets")).body["items"]
    assert [(s["kind"], s["public_key"]) for s in items] == [
        ("v1a", own.body["public_key"]), ("v1", None), ("v1", None),
    ]  # fmt: skip
    assert (await api("DELETE", f"{path}/secrets/{items[2]['secret_id']}")).status == 204
    assert (await api("DELETE", f"{path}/secrets/{items[2]['secret_id']}")).status == 404
    assert (await api("DELETE", f"{path}/secrets/{items[0]['secret_id']}")).status == 409
    for wrong, field in (
        ({"overlap_seconds": 604_801}, "overlap_seconds"),
        ({"overlap_seconds": -1}, "overlap_seconds"),
        ({"secret": "whsec_x"}, "secret"),
        ({"kind": "v2"}, "kind"),
        ({"expire": 1}, "expire"),
    ):
        assert fields(await api.post(f"{path}/rotate-secret", wrong)) == [field]
    for _ in range(3):
        turned = await api.post(f"{path}/rotate-secret")
    assert turned.status == 201
    full = await api.post(f"{path}/rotate-secret")
    assert (full.status, full.body["code"]) == (400, "too_many_secrets")


async def test_case_24_a_repeat_under_one_key_registers_once(api: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await api.post(HOOKS, {"url": URL}, headers=headers)
    again = await api.post(HOOKS, {"url": URL}, headers=headers)
    assert (first.status, first.raw) == (again.status, again.raw)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await api.post(HOOKS, {"url": URL, "uid": "x"}, headers=headers)
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")
    assert len((await api.get(HOOKS)).body["items"]) == 1


async def test_case_25_repeats_at_one_moment_register_once(api: Client) -> None:
    replies = await asyncio.gather(
        *(api.post(HOOKS, {"url": URL}, headers={"Idempotency-Key": "k1"}) for _ in range(6))
    )
    good = [reply for reply in replies if reply.status == 201]
    waiting = [reply for reply in replies if reply.status == 409]
    assert len(good) + len(waiting) == 6
    assert {reply.body["code"] for reply in waiting} <= {"idempotency_running"}
    assert all(reply.headers["Retry-After"] for reply in waiting)
    assert len({reply.body["webhook_id"] for reply in good}) == 1
    last = await api.post(HOOKS, {"url": URL}, headers={"Idempotency-Key": "k1"})
    assert last.raw == good[0].raw
    assert len((await api.get(HOOKS)).body["items"]) == 1


async def test_case_26_an_answer_without_a_body_is_repeated_too(api: Client) -> None:
    path = await made(api)
    for _ in range(2):
        gone = await api("DELETE", path, headers={"Idempotency-Key": "k1"})
        assert (gone.status, gone.raw) == (204, b"")
    assert (await api("DELETE", path)).status == 404


async def test_a_ring_that_lost_its_key_asks_for_the_options_anew(
    api: Client, admin: asyncpg.Connection[Any], ground: Ground
) -> None:
    path = await made(api, headers={"X-A": "1"})
    await admin.execute(
        "UPDATE webhooks SET sealed_options = $2 WHERE webhook_id = $1", path.rpartition("/")[2], b"\x01damaged"
    )
    assert (await api("PATCH", path, {"description": "x"})).status == 409
    anew = await api("PATCH", path, {"headers": {"X-B": "2"}, "auth": None, "tls": None})
    assert (anew.status, anew.body["headers"]) == (200, {"X-B": "2"})
