"""What waits for a person: updates set aside and sends of unknown outcome; webhooks, deliveries and events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from gateway.services import Ground
from tests.gateway_parts import SECRET, telegram_account, until
from tests.http_face import Client, Server, client, served


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def test_an_update_that_was_set_aside_is_shown_and_tried_again(
    api: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await telegram_account(server.ground, api.workspace_id)
    poison = {"update_id": 7, "message": {"message_id": 1, "date": "never", "chat": 5}}
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert (await api.post(f"/channels/telegram/{account}", poison, headers=headers)).status == 200
    [dead] = (await api.get("/api/v1/updates?status=dead")).body["items"]
    assert dead["cause"]
    still = await api.post(f"/api/v1/updates/{dead['update_id']}/replay")
    assert (still.status, "still cannot be read" in still.body["message"]) == (409, True)
    person = {"id": 5, "is_bot": False, "first_name": "Ann"}
    message = {"message_id": 1, "date": 1, "chat": {"id": 5, "type": "private"}, "from": person, "text": "hi"}
    async with server.ground.database.workspace(api.workspace_id) as conn:
        repaired = orjson.dumps({"update_id": 7, "message": message})
        await conn.execute("UPDATE inbound_updates SET payload = $1 WHERE update_id = $2", repaired, dead["update_id"])
    assert (await api.post(f"/api/v1/updates/{dead['update_id']}/replay")).body["status"] == "pending"

    async def answered() -> bool:
        return bool((await api.get("/api/v1/updates?status=answered")).body["items"])

    await until(answered)
    assert (await api.post(f"/api/v1/updates/{dead['update_id']}/replay")).status == 404


async def test_a_send_of_unknown_outcome_is_shown_and_sent_again(api: Client, server: Server) -> None:
    await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})

    async def sent() -> bool:
        return bool((await api.get("/api/v1/outbound?state=sent")).body["items"])

    await until(sent)
    assert (await api.get("/api/v1/outbound?state=unknown")).body["items"] == []
    async with server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE outbound_messages SET state = 'unknown', cause = 'cut off'")
    [unknown] = (await api.get("/api/v1/outbound")).body["items"]
    assert (unknown["cause"], unknown["text"]) == ("cut off", "you said: hi")
    assert (await api.post(f"/api/v1/outbound/{unknown['outbound_id']}/resend")).status == 200
    await until(sent)
    assert (await api.post(f"/api/v1/outbound/{unknown['outbound_id']}/resend")).status == 404


async def test_lists_of_operations_have_pages(api: Client) -> None:
    for n in range(3):
        await api.post("/api/v1/messages?wait=20", {"user_id": f"u{n}", "text": "hi"})
    first = (await api.get("/api/v1/updates?status=answered&limit=2")).body
    rest = (await api.get(f"/api/v1/updates?status=answered&limit=2&cursor={first['next_cursor']}")).body
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)
    assert (await api.get("/api/v1/updates?cursor=x")).status == 422


async def test_an_endpoint_lives(api: Client) -> None:
    body = {"url": "http://127.0.0.1:9001/hook", "events": ["chat.*"], "description": "mine"}
    made = await api.post("/api/v1/webhooks", body)
    assert made.status == 201
    assert made.body["secret"].startswith("whsec_")
    path = f"/api/v1/webhooks/{made.body['webhook_id']}"
    shown = {name: value for name, value in made.body.items() if name not in ("secret", "public_key")}
    assert (await api.get(path)).body == shown
    assert (await api.get("/api/v1/webhooks")).body["items"] == [(await api.get(path)).body]
    assert (await api("PATCH", path, {"events": ["*"], "status": "disabled"})).body["status"] == "disabled"
    assert (await api.post(f"{path}/test")).status == 409
    await api("PATCH", path, {"status": "enabled"})
    ping = await api.post(f"{path}/test")
    assert (ping.status, ping.body["event_type"], ping.body["status"]) == (202, "ping", "pending")
    assert (await api("DELETE", path)).status == 204
    assert (await api.get(path)).status == 404


async def test_bad_endpoints_are_refused(api: Client) -> None:
    bad = {"url": "http://10.0.0.1/x", "events": ["chat.nothing"]}
    refused = await api.post("/api/v1/webhooks", bad)
    assert {detail["field"] for detail in refused.body["details"]} == {"url", "events"}
    own = {"url": "http://127.0.0.1:9001/", "events": ["*"], "secret": "weak"}
    assert (await api.post("/api/v1/webhooks", own)).body["details"][0]["field"] == "secret"


async def test_what_happened_is_owed_listed_and_sent_again(api: Client) -> None:
    hook = (await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["chat.*"]})).body
    await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})
    owed = (await api.get(f"/api/v1/deliveries?webhook_id={hook['webhook_id']}&status=pending")).body["items"]
    assert {"chat.message.received", "chat.response.generated"} <= {item["event_type"] for item in owed}
    whole = (await api.get(f"/api/v1/deliveries/{owed[0]['delivery_id']}")).body
    assert whole["attempt_log"] == []
    assert (await api.post(f"/api/v1/deliveries/{owed[0]['delivery_id']}/resend")).status == 202
    event = (await api.get(f"/api/v1/events/{owed[0]['event_id']}")).body
    assert event["workspace_id"] == api.workspace_id
    listed = (await api.get("/api/v1/events?type=chat.message.received")).body["items"]
    assert [item["data"]["text"] for item in listed] == ["hi"]
    types = (await api.get("/api/v1/event-types")).body["items"]
    assert "ping" in {item["type"] for item in types}
