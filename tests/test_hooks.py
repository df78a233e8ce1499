"""Inbound hooks over a served gateway: made, called, repeated, refused; whose token reaches whom; nothing in a log."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import asyncpg
import orjson
import pytest
import structlog

from gateway import hooks as flow
from gateway.services import Ground
from kernel.ratelimit import Rate
from kernel.secrets import place
from tests.gateway_parts import telegram_account
from tests.hooks_kit import Rig, hook, sample, signed_by_github, signed_by_stripe, telegram_rig
from tests.http_face import ERROR_FIELDS, Client, Reply, Server, client, served
from webhooks.hooks import calls, registered

JSON: dict[str, Any] = {"example": "json", "target": {"user_id": "ann"}}


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    """In a workspace where `ann` has spoken by REST."""
    await server.ground.redis.flushdb()
    api = await client(server, workspace_id)
    assert (await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})).status == 200
    return api


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    await ground.redis.flushdb()
    async with telegram_rig(ground, workspace_id) as rig:
        yield rig


def refused(reply: Reply, status: int, code: str) -> bool:
    assert set(reply.body) == ERROR_FIELDS
    return (reply.status, reply.body["code"]) == (status, code)


async def texts(api: Client) -> list[str]:
    """What ann was told besides her answer."""
    (conversation,) = (await api.get("/api/v1/conversations")).body["items"]
    said = (await api.get(f"/api/v1/conversations/{conversation['conversation_id']}/messages")).body["items"]
    return [message["text"] for message in said if message["role"] == "assistant"][1:]


# ---- a call becomes a message --------------------------------------------------------------------------------------


async def test_a_push_on_github_arrives_in_the_chat_once(rig: Rig) -> None:
    user_id = await rig.met()
    made, github = await hook(rig.api, example="github", target={"user_id": user_id})
    told = await github.push("d-1")
    assert told.status == 202
    text = await rig.shows("Rent by the hour")
    assert "Fix rounding of prices with `Decimal` *everywhere*" in text
    again = await github.push("d-1")
    assert (again.status, again.body) == (told.status, told.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await github.push("d-2")
    assert other.body["message_id"] != told.body["message_id"]
    conversation = told.body["conversation_id"]
    said = (await rig.api.get(f"/api/v1/conversations/{conversation}/messages")).body["items"]
    pushed = [message["message_id"] for message in said if "Rent by the hour" in message["text"]]
    assert pushed == [told.body["message_id"], other.body["message_id"]]
    listed = (await rig.api.get(f"/api/v1/hooks/{made['hook_id']}/calls")).body["items"]
    assert [(call["external_id"], call["outcome"]) for call in listed] == [
        ("github:d-2", "accepted"), ("github:d-1", "accepted"),
    ]  # fmt: skip


async def test_repeats_at_the_same_moment_say_it_once(rig: Rig) -> None:
    user_id = await rig.met()
    _, github = await hook(rig.api, example="github", target={"user_id": user_id})
    async with served(rig.ground, telegram_url=rig.sim.url) as second:
        other = second.url + "/hooks/" + github.url.rpartition("/")[2]
        told = await asyncio.gather(*(github.push("d-1", url=url) for _ in range(12) for url in (github.url, other)))
        assert {reply.status for reply in told} == {202}
        assert len({reply.raw for reply in told}) == 1
        assert sum("Idempotency-Replayed" not in reply.headers for reply in told) == 1
        await rig.shows("Rent by the hour")
        await github.push("d-2")
        await rig.shows("Rent by the hour")
    assert sum("Rent by the hour" in text for text in rig.seen()) in (1, 2)
    async with rig.ground.database.workspace(rig.api.workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM messages WHERE text LIKE '%Rent by the hour%'") == 2


async def test_a_named_channel_and_a_conversation_are_targets_too(rig: Rig) -> None:
    user_id = await rig.met()
    (conversation,) = (await rig.api.get("/api/v1/conversations")).body["items"]
    targets: list[dict[str, str]] = [
        {"user_id": user_id, "channel": "telegram"},
        {"user_id": "{{ to }}", "account_id": rig.account},
        {"conversation_id": conversation["conversation_id"]},
    ]
    for n, target in enumerate(targets):
        _, outside = await hook(rig.api, template={"text": f"number {n}"}, target=target)
        assert (await outside.call({"to": user_id})).status == 202
        await rig.shows(f"number {n}")
    _, outside = await hook(rig.api, template={"text": "x"}, target={"user_id": user_id, "channel": "slack"})
    assert refused(await outside.call({}), 409, "unreachable")


async def test_stripe_standard_webhooks_and_plain_callers_are_deduplicated(api: Client) -> None:
    secret = "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"
    made, stripe = await hook(api, example="stripe", target={"user_id": "ann"})
    headers, body = sample("stripe")
    assert (made["secret"], made["has_secret"]) == (None, False)
    assert refused(await stripe.call(body, headers | signed_by_stripe(secret, body)), 401, "unauthorized")
    changed = await api("PATCH", f"/api/v1/hooks/{made['hook_id']}", {"secret": secret})
    assert (changed.status, changed.body["has_secret"], changed.body["secret"]) == (200, True, None)
    one, two = [await stripe.call(body, headers | signed_by_stripe(secret, body, at)) for at in (None, 1 << 31)]
    assert (one.status, two.status) == (202, 401)
    assert (await stripe.call(body, headers | signed_by_stripe(secret, body))).body == one.body
    _, plain = await hook(api, **JSON)
    for headers in ({"Idempotency-Key": "k"}, {"webhook-id": "msg_1"}):
        assert (await plain.call({"text": "a"}, headers)).body == (await plain.call({"text": "a"}, headers)).body
    free = [await plain.call({"text": "b"}) for _ in range(2)]
    assert free[0].body["message_id"] != free[1].body["message_id"]
    _, own = await hook(api, template={"text": "{{ n }}", "dedupe": {"key": "{{ order }}"}}, target={"user_id": "ann"})
    told = [await own.call({"order": order, "n": n}) for n, order in enumerate("aab")]
    assert told[0].body == told[1].body != told[2].body
    assert await texts(api) == [
        "💰 **59.00 EUR** paid by lind@example.org: E-bike, one weekend (`pi_3PqTa1LkdIwHu7ix0qOyL4tH`)",
        "a", "a", "b", "b", "0", "2",
    ]  # fmt: skip


async def test_a_window_ends(api: Client, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    made, alerts = await hook(api, example="alertmanager", target={"user_id": "ann"})
    headers, body = sample("alertmanager")
    first, again = [await alerts.call(body, headers) for _ in range(2)]
    assert first.body == again.body
    await admin.execute(
        "UPDATE hook_calls SET created_at = created_at - interval '4 minutes' WHERE hook_id = $1", made["hook_id"]
    )
    reminder = await alerts.call(body, headers)
    assert reminder.body["message_id"] != first.body["message_id"]
    assert (await alerts.call(body, headers)).body == reminder.body
    assert len(await texts(api)) == 2


async def test_what_is_to_be_ignored_is_answered_and_says_nothing(api: Client) -> None:
    made, github = await hook(api, example="github", target={"user_id": "ann"})
    headers, body = sample("github", "issues")
    body = orjson.dumps({**orjson.loads(body), "action": "labeled"})
    told = [await github.call(body, headers | signed_by_github(github.secret, body)) for _ in range(2)]
    for reply in told:
        assert (reply.status, reply.body["outcome"], reply.body["message_id"]) == (200, "ignored", None)
    assert await texts(api) == []
    listed = (await api.get(f"/api/v1/hooks/{made['hook_id']}/calls")).body["items"]
    assert [call["outcome"] for call in listed] == ["ignored"]
    mine = {"text": "{{ action }}"}
    assert (await api("PATCH", f"/api/v1/hooks/{made['hook_id']}", {"template": mine})).body["example"] == ""
    again = await github.call(body, headers | signed_by_github(github.secret, body))
    assert (again.status, again.body["outcome"]) == (202, "accepted")  # redelivered, now that it is wanted
    assert await texts(api) == ["labeled"]


async def test_forms(api: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _, outside = await hook(api, **JSON)
    assert (await outside.call(b"title=Door&text=opened+by+%3Cann%3E", form)).status == 202
    _, github = await hook(api, example="github", target={"user_id": "ann"})
    headers, body = sample("github", "push")
    body = b"payload=" + quote_plus(body).encode()
    assert (await github.call(body, headers | form | signed_by_github(github.secret, body))).status == 202
    door, push = await texts(api)
    assert door == "**Door**\n\nopened by \\<ann>"
    assert "Rent by the hour" in push


# ---- refusals ------------------------------------------------------------------------------------------------------


async def test_refusals(api: Client, server: Server) -> None:
    _, outside = await hook(api, **JSON)
    unknown = outside.url[:-6] + "AAAAAA"
    for reply, status, code in (
        (await outside.call({"text": "x"}, url=unknown), 404, "not_found"),
        (await outside.call({"text": "x"}, url=server.url + "/hooks/short"), 404, "not_found"),
        (await outside.call(b"{"), 400, "malformed_request"),
        (await outside.call(b""), 400, "malformed_request"),
        (await outside.call(b"<a/>", {"Content-Type": "text/xml"}), 415, "unsupported"),
        (await outside.call({"text": "x" * flow.LIMIT}), 413, "too_large"),
        (await outside.call(gzip.compress(b" " * flow.LIMIT + b"{}"), {"Content-Encoding": "gzip"}), 413, "too_large"),
        (await outside.call(b"{}", {"Content-Encoding": "gzip"}), 400, "malformed_request"),
    ):
        assert refused(reply, status, code), reply.raw
    gone, elsewhere = [await hook(api, template={"text": "x"}, target=t) for t in (
        {"user_id": "{{ to }}"}, {"conversation_id": "conv_none"},
    )]  # fmt: skip
    for reply, field in (
        (await gone[1].call({}), "target.user_id"),
        (await gone[1].call({"to": "nobody"}), "target.user_id"),
        (await elsewhere[1].call({}), "target.conversation_id"),
    ):
        assert refused(reply, 422, "invalid_request"), reply.raw
        assert reply.body["details"][0]["field"] == field
    async with outside.http.get(outside.url) as response:
        assert response.status == 405
    assert await texts(api) == []
    assert (await api.get(f"/api/v1/hooks/{gone[0]['hook_id']}/calls")).body["items"] == []


async def test_a_refused_call_may_come_again_under_its_name(api: Client) -> None:
    _, outside = await hook(api, template={"text": "x"}, target={"user_id": "{{ to }}"})
    key = {"Idempotency-Key": "k"}
    assert (await outside.call({"to": "nobody"}, key)).status == 422
    assert (await outside.call({"to": "ann"}, key)).status == 202
    assert await texts(api) == ["x"]


async def test_only_a_right_signature_is_believed(api: Client) -> None:
    made, github = await hook(api, example="github", target={"user_id": "ann"})
    headers, body = sample("github", "push")
    for signature in ({}, {"X-Hub-Signature-256": "sha256=" + "0" * 64}, signed_by_github("another", body),
                      signed_by_github(github.secret, body + b" ")):  # fmt: skip
        assert refused(await github.call(body, headers | signature), 401, "unauthorized")
    assert (await github.push()).status == 202
    other = await api("PATCH", f"/api/v1/hooks/{made['hook_id']}", {"verify": {"kind": "hmac", "header": "X-Sign"}})
    assert other.body["secret"] not in (None, github.secret)
    assert refused(await github.push(), 401, "unauthorized")


async def test_a_hook_is_not_called_too_often(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_CALLS", Rate(count=3, seconds=3600, burst=3))
    _, first = await hook(api, **JSON)
    _, second = await hook(api, **JSON)
    statuses = [(await first.call({"text": "x"})).status for _ in range(4)]
    assert statuses == [202, 202, 202, 429]
    assert (await first.call({"text": "x"})).headers["Retry-After"]
    assert (await second.call({"text": "x"})).status == 202


async def test_guessing_tokens_is_slowed_down_and_known_ones_are_not(api: Client) -> None:
    _, outside = await hook(api, **JSON)
    guesses = [(await outside.call({}, url=f"{outside.url[:-4]}{n:04}")).status for n in range(60)]
    assert set(guesses) == {404, 429}
    assert (await outside.call({"text": "x"})).status == 202


# ---- keeping them --------------------------------------------------------------------------------------------------


async def test_token_and_secret_are_shown_once_and_kept_as_hash_and_sealed(
    api: Client, ground: Ground, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    made, github = await hook(api, example="github", target={"user_id": "ann"})
    token, hook_id = made["url"].rpartition("/")[2], made["hook_id"]
    row = await admin.fetchrow("SELECT * FROM hooks WHERE hook_id = $1", hook_id)
    assert row
    kept = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
    assert token.encode() not in kept
    assert github.secret.encode() not in kept
    where = place(api.workspace_id, "hooks", "sealed_secret", hook_id)
    assert ground.ring.open(row["sealed_secret"], where).decode() == github.secret
    for path in ("/api/v1/hooks", f"/api/v1/hooks/{hook_id}"):
        shown = (await api.get(path)).raw
        assert token.encode() not in shown
        assert github.secret.encode() not in shown
    rotated = (await api.post(f"/api/v1/hooks/{hook_id}/rotate-token")).body["url"]
    assert rotated != made["url"]
    assert (await github.push()).status == 404
    assert (await github.push(url=api.server.url + "/hooks/" + rotated.rpartition("/")[2])).status == 202


async def test_a_hook_is_listed_changed_put_out_of_use_and_removed(api: Client) -> None:
    made, outside = await hook(api, **JSON)
    path = f"/api/v1/hooks/{made['hook_id']}"
    assert [h["hook_id"] for h in (await api.get("/api/v1/hooks")).body["items"]] == [made["hook_id"]]
    assert (await api.get(path)).body["last_call_at"] is None
    changed = await api("PATCH", path, {"name": "Other", "template": {"text": "new"}})
    assert (changed.body["name"], changed.body["template"], changed.body["target"]) == (
        "Other", {"text": "new"}, {"user_id": "ann"},
    )  # fmt: skip
    assert (await outside.call({})).status == 202
    assert await texts(api) == ["new"]
    assert (await api.get(path)).body["last_call_at"]
    await api("PATCH", path, {"status": "disabled"})
    assert (await outside.call({})).status == 404
    await api("PATCH", path, {"status": "enabled"})
    assert (await outside.call({})).status == 202
    assert (await api("DELETE", path)).status == 204
    assert (await outside.call({})).status == 404
    assert (await api.get(path)).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"target": {"user_id": "a"}}, "template"),
        ({"example": "json", "template": {"text": "x"}, "target": {"user_id": "a"}}, "template"),
        ({"example": "gitlab", "target": {"user_id": "a"}}, "example"),
        ({"example": "json", "target": {}}, "target"),
        ({"example": "json", "target": {"user_id": "a", "chat": "1"}}, "target"),
        ({"template": {"text": "{{ a"}, "target": {"user_id": "a"}}, "template.text"),
        ({"template": {"cases": [{"when": {"a": {"$is": 1}}, "text": "x"}]}, "target": {"user_id": "a"}},
         "template.cases.0.when.a"),
        ({"example": "json", "target": {"account_id": "acc_none", "chat": "-1"}}, "target.account_id"),
        ({"example": "json", "target": {"user_id": "a", "channel": "pigeon"}}, "target.channel"),
        ({"example": "json", "target": {"user_id": "a"}, "verify": {"kind": "hmac"}}, "verify.header"),
        ({"example": "json", "target": {"user_id": "a"}, "secret": "12345678"}, "secret"),
        ({"example": "github", "target": {"user_id": "a"}, "secret": "x"}, "secret"),
        ({"example": "json", "target": {"user_id": "a"}, "colour": "red"}, "colour"),
    ],
)  # fmt: skip
async def test_what_cannot_be_a_hook_names_the_field(api: Client, body: dict[str, Any], field: str) -> None:
    reply = await api.post("/api/v1/hooks", {"name": "x", **body})
    assert refused(reply, 422, "invalid_request")
    assert [detail["field"] for detail in reply.body["details"]] == [field]
    assert (await api.get("/api/v1/hooks")).body["items"] == []


async def test_a_dry_run_shows_and_sends_nothing(rig: Rig) -> None:
    user_id = await rig.met()
    made, _ = await hook(rig.api, example="github", target={"user_id": user_id})
    path = f"/api/v1/hooks/{made['hook_id']}/test"
    shown = (await rig.api.post(path)).body
    assert (shown["outcome"], shown["channel"], shown["key"]) == (
        "message", "telegram", "github:72d3162e-cc78-11e3-81ab-4c9367dc0958",
    )  # fmt: skip
    assert shown["text"].startswith("**harbour/bikes**: annberg pushed")
    assert shown["shown"][0].startswith("harbour/bikes: annberg pushed 2 commits to main")
    assert "#57" in (await rig.api.post(path, {"sample": "issues"})).body["text"]
    own = {"payload": {"ref": "refs/heads/x", "deleted": True}, "headers": {"X-GitHub-Event": "push"}}
    assert "deleted `x`" in (await rig.api.post(path, own)).body["text"]
    ping = (await rig.api.post(path, {"payload": {}, "headers": {"X-GitHub-Event": "ping"}})).body
    assert (ping["outcome"], ping["reason"]) == ("ignored", "none of the cases fits")
    assert refused(await rig.api.post(path, {"sample": "none"}), 422, "invalid_request")
    room, _ = await hook(rig.api, template={"text": "hi"}, target={"account_id": rig.account, "chat": "-100{{ n }}"})
    path = f"/api/v1/hooks/{room['hook_id']}/test"
    assert refused(await rig.api.post(path), 422, "invalid_request")
    told = (await rig.api.post(path, {"payload": {"n": 5}})).body
    assert (told["outcome"], told["target"]["chat"], told["shown"]) == ("message", "-1005", ["hi"])
    lost = (await rig.api.post(path, {"payload": {"n": "x"}})).body
    assert (lost["outcome"], lost["channel"]) == ("refused", None)
    assert "numeric id" in lost["reason"]
    assert len((await rig.api.get("/api/v1/conversations")).body["items"]) == 1
    for hook_id in (made["hook_id"], room["hook_id"]):
        assert (await rig.api.get(f"/api/v1/hooks/{hook_id}/calls")).body["items"] == []
    assert rig.seen() == ["you said: hello"]


async def test_the_shipped_examples_are_listed_and_their_samples_rehearse(api: Client) -> None:
    items = (await api.get("/api/v1/hook-examples")).body["items"]
    assert [item["name"] for item in items] == ["alertmanager", "github", "json", "stripe"]
    for item in items:
        made, _ = await hook(api, example=item["name"], target={"user_id": "ann"})
        own, _ = await hook(api, template=item["template"], target={"user_id": "ann"})
        for name, told in item["samples"].items():
            one = (await api.post(f"/api/v1/hooks/{made['hook_id']}/test", {"sample": name})).body
            two = (await api.post(f"/api/v1/hooks/{own['hook_id']}/test", told)).body
            assert one["outcome"] == two["outcome"] == "message"
            assert one["text"] == two["text"]


async def test_calls_are_forgotten_in_time(
    api: Client, ground: Ground, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    made, outside = await hook(api, **JSON)
    for key in ("old", "new"):
        await outside.call({"text": key}, {"Idempotency-Key": key})
    await admin.execute(
        "UPDATE hook_calls SET created_at = now() - interval '31 days' WHERE external_id = 'key:old' AND hook_id = $1",
        made["hook_id"],
    )
    async with ground.database.anywhere() as conn:
        assert await calls.forget_old(conn) == 1
        assert await calls.forget_old(conn) == 0
    listed = (await api.get(f"/api/v1/hooks/{made['hook_id']}/calls")).body["items"]
    assert [call["external_id"] for call in listed] == ["key:new"]
    assert len(await texts(api)) == 2


# ---- apart ---------------------------------------------------------------------------------------------------------


async def test_a_token_reaches_its_own_workspace_and_no_other(
    api: Client, server: Server, ground: Ground, second_workspace: str
) -> None:
    """By no target that the outside system may name: a user, a conversation, a bot or a chat of somebody else's."""
    other = await client(server, second_workspace)
    await other.post("/api/v1/messages?wait=20", {"user_id": "bea", "text": "hi"})
    (conversation,) = (await other.get("/api/v1/conversations")).body["items"]
    account = await telegram_account(ground, second_workspace)
    payload = {
        "user": "bea", "usr": conversation["user_id"], "conv": conversation["conversation_id"],
        "bot": account, "own": conversation["account_id"],
    }  # fmt: skip
    targets: list[dict[str, str]] = [
        {"user_id": "{{ user }}"}, {"user_id": "{{ usr }}"}, {"conversation_id": "{{ conv }}"},
        {"account_id": "{{ bot }}", "chat": "-1001"}, {"account_id": "{{ own }}", "chat": "user:bea"},
    ]  # fmt: skip
    for target in targets:
        made, outside = await hook(api, template={"text": "intruder"}, target=target)
        assert refused(await outside.call(payload), 422, "invalid_request"), target
        shown = (await api.post(f"/api/v1/hooks/{made['hook_id']}/test", {"payload": payload})).body
        assert (shown["outcome"], shown["channel"]) == ("refused", None)
        literal = {name: orjson.loads(orjson.dumps(payload))[text.strip("{} ")] for name, text in target.items()
                   if text.startswith("{{")}  # fmt: skip
        tried = await api.post("/api/v1/hooks", {"name": "x", "example": "json", "target": {**target, **literal}})
        assert tried.status == (422 if "account_id" in target else 201)
    same, outside = await hook(api, template={"text": "mine"}, target={"user_id": "{{ user }}"})
    assert (await outside.call({"user": "ann"})).status == 202
    stranger = await other.get(f"/api/v1/hooks/{same['hook_id']}/calls")
    assert stranger.status == 404
    said = (await other.get(f"/api/v1/conversations/{conversation['conversation_id']}/messages")).raw
    assert b"intruder" not in said
    async with ground.database.workspace(second_workspace) as conn:
        assert await conn.fetchval("SELECT count(*) FROM hooks") == 0
        assert await conn.fetchval("SELECT count(*) FROM hook_calls") == 0


async def test_two_workspaces_calls_of_one_name_are_two(api: Client, server: Server, second_workspace: str) -> None:
    other = await client(server, second_workspace)
    await other.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})
    told = []
    for who in (api, other):
        _, outside = await hook(who, **JSON)
        told.append(await outside.call({"text": "x"}, {"Idempotency-Key": "same"}))
    assert [reply.status for reply in told] == [202, 202]
    assert told[0].body["message_id"] != told[1].body["message_id"]
    assert await texts(api) == await texts(other) == ["x"]


async def test_a_copied_seal_does_not_open_in_another_hook(
    api: Client, ground: Ground, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    one, _ = await hook(api, example="github", target={"user_id": "ann"})
    two, github = await hook(api, example="github", target={"user_id": "ann"})
    await admin.execute(
        "UPDATE hooks SET sealed_secret = (SELECT sealed_secret FROM hooks WHERE hook_id = $1) WHERE hook_id = $2",
        one["hook_id"], two["hook_id"],
    )  # fmt: skip
    with structlog.testing.capture_logs():
        assert (await github.push()).status == 500


async def test_the_hash_of_a_token_is_found_by_nothing_but_the_token(api: Client, ground: Ground) -> None:
    made, _ = await hook(api, **JSON)
    token = made["url"].rpartition("/")[2]
    async with ground.database.anywhere() as conn:
        found = await registered.find(conn, ground.ring, token)
        assert found is not None
        assert found.workspace_id == api.workspace_id
        for wrong in ("", token[:-1], token + "a", token.lower(), token[:-1] + ("a" if token[-1] != "a" else "b"), "%"):
            assert await registered.find(conn, ground.ring, wrong) is None
