"""Bots connected over HTTP to a Telegram that is a simulator, and the webhooks' side of the face."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.services import Ground
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import TOKEN, simulator, until
from tests.http_face import Client, Server, client, served


@pytest.fixture(scope="module")
async def sim() -> AsyncIterator[Simulator]:
    async with simulator() as sim:
        people.add_user(sim.world, 1001, "Ann")
        yield sim


@pytest.fixture(scope="module")
async def server(ground: Ground, sim: Simulator) -> AsyncIterator[Server]:
    async with served(ground, telegram_url=sim.url) as server:
        object.__setattr__(server.ground.settings, "public_url", server.url)
        object.__setattr__(server.services.ground.settings, "public_url", server.url)
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


def bot(token: str = TOKEN, mode: str = "webhook") -> dict[str, object]:
    return {"kind": "telegram", "name": "Support", "mode": mode, "credentials": {"token": token}}


async def test_a_bot_is_connected_answers_and_is_disconnected(api: Client, sim: Simulator) -> None:
    made = await api.post("/api/v1/channels", bot())
    assert made.status == 201
    account = made.body["account_id"]
    assert made.body["inbound_url"] == f"{api.server.url}/channels/telegram/{account}"
    assert len(made.body["webhook_secret"]) >= 32
    assert made.body["profile"]["username"] == "parley_bot"
    sim.say(1001, "hello bot")

    async def answered() -> bool:
        return any(sent["text"] == "you said: hello bot" for sent in sim.sends(1001) if "text" in sent)

    await until(answered)
    [listed] = [item for item in (await api.get("/api/v1/channels")).body["items"] if item["kind"] == "telegram"]
    assert TOKEN not in str(listed)
    assert made.body["webhook_secret"] not in str(listed)
    assert (await api.get(f"/api/v1/channels/{account}")).body == listed
    assert (await api("DELETE", f"/api/v1/channels/{account}")).status == 204
    assert (await api.get(f"/api/v1/channels/{account}")).status == 404
    again = await api.post("/api/v1/channels", bot())
    assert again.status == 201
    await api("DELETE", f"/api/v1/channels/{again.body['account_id']}")


async def test_a_bot_is_changed(api: Client) -> None:
    account = (await api.post("/api/v1/channels", bot())).body["account_id"]
    path = f"/api/v1/channels/{account}"
    changed = await api("PATCH", path, {"name": "Help", "settings": {"answer": "echo", "unknown_sends": "hold"}})
    assert (changed.body["name"], changed.body["settings"]) == ("Help", {"answer": "echo", "unknown_sends": "hold"})
    changed = await api("PATCH", path, {"settings": {"answer": None}})
    assert (changed.body["name"], changed.body["settings"]) == ("Help", {"unknown_sends": "hold"})
    assert (await api("PATCH", path, {"settings": {"answer": "sing"}})).status == 422
    await api("DELETE", path)


async def test_the_same_bot_is_connected_once(api: Client) -> None:
    account = (await api.post("/api/v1/channels", bot())).body["account_id"]
    assert (await api.post("/api/v1/channels", bot())).status == 409
    await api("DELETE", f"/api/v1/channels/{account}")


async def test_a_token_that_telegram_refuses_is_a_fault_of_its_field(api: Client) -> None:
    refused = await api.post("/api/v1/channels", bot("999:" + "B" * 35))
    assert (refused.status, refused.body["details"][0]["field"]) == (422, "credentials.token")
    malformed = await api.post("/api/v1/channels", bot("no token"))
    assert (malformed.status, malformed.body["details"][0]["field"]) == (422, "credentials.token")
    assert "no token" not in str(malformed.body)


async def test_polling_needs_no_address(api: Client) -> None:
    made = await api.post("/api/v1/channels", bot(mode="polling"))
    assert (made.status, made.body["inbound_url"], made.body["webhook_secret"]) == (201, None, None)
    await api("DELETE", f"/api/v1/channels/{made.body['account_id']}")


async def test_without_a_public_address_there_is_no_webhook(ground: Ground, workspace_id: str) -> None:
    async with served(ground, public_url="") as server:
        api = await client(server, workspace_id)
        refused = await api.post("/api/v1/channels", bot())
        assert (refused.status, refused.body["details"][0]["field"]) == (422, "mode")
        away = await api.post("/api/v1/channels", bot(mode="polling"))
        assert away.status == 503


async def test_the_rest_channel_stays(api: Client) -> None:
    await api.post("/api/v1/messages", {"user_id": "ann", "text": "hi"})
    [rest] = (await api.get("/api/v1/channels")).body["items"]
    assert (await api("DELETE", f"/api/v1/channels/{rest['account_id']}")).status == 409
