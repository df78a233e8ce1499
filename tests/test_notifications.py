"""Words that nobody asked for: where a user was last seen, or where the caller says; refused politely otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from channels.telegram import connect
from gateway.services import Ground
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, client, served

ANN = 1001


@dataclass
class Rig:
    sim: Simulator
    api: Client
    account: str

    def seen(self) -> list[str]:
        return [entry["text"] for entry in self.sim.sends(ANN) if entry["method"] == "sendMessage"]

    async def shows(self, text: str) -> None:
        async def there() -> bool:
            return text in self.seen()

        await until(there)


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async with simulator() as sim, served(ground, telegram_url=sim.url) as server:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(server.services) as url:
            found = await server.services.directory.account(account)
            assert found
            bot = await server.services.directory.client(found)
            assert isinstance(await connect(bot, "webhook", f"{url}/channels/telegram/{account}", SECRET), dict)
            people.add_user(sim.world, ANN, "Ann")
            yield Rig(sim, await client(server, workspace_id), account)


async def met(rig: Rig) -> str:
    """Ann has written; her user id."""
    rig.sim.say(ANN, "hello")
    await rig.shows("you said: hello")
    (conversation,) = (await rig.api.get("/api/v1/conversations?limit=1")).body["items"]
    return str(conversation["user_id"])


async def test_a_user_is_told_where_they_were_last_seen(rig: Rig) -> None:
    user_id = await met(rig)
    told = await rig.api.post("/api/v1/notifications", {"user_id": user_id, "text": "Your **bike** is ready."})
    assert told.status == 202
    assert told.body["channel"] == "telegram"
    await rig.shows("Your bike is ready.")
    said = (await rig.api.get(f"/api/v1/conversations/{told.body['conversation_id']}/messages")).body["items"]
    assert said[-1]["message_id"] == told.body["message_id"]
    assert said[-1]["role"] == "assistant"


async def test_a_repeated_key_tells_once(rig: Rig) -> None:
    user_id = await met(rig)
    body = {"user_id": user_id, "text": "once"}
    first = await rig.api.post("/api/v1/notifications", body, headers={"Idempotency-Key": "n1"})
    again = await rig.api.post("/api/v1/notifications", body, headers={"Idempotency-Key": "n1"})
    assert first.body["message_id"] == again.body["message_id"]
    await rig.shows("once")
    assert rig.seen().count("once") == 1


async def test_rest_users_go_by_their_callers_name(rig: Rig) -> None:
    await rig.api.post("/api/v1/messages?wait=20", {"user_id": "dora", "text": "hi"})
    told = await rig.api.post("/api/v1/notifications", {"user_id": "dora", "text": "news"})
    assert (told.status, told.body["channel"]) == (202, "rest")


async def test_who_cannot_be_reached_is_said_so(rig: Rig) -> None:
    user_id = await met(rig)
    for body, status, code in (
        ({"user_id": "usr_nobody", "text": "x"}, 404, "not_found"),
        ({"user_id": user_id, "text": "x", "channel": "slack"}, 409, "unreachable"),
        ({"conversation_id": "conv_none", "text": "x"}, 404, "not_found"),
        ({"text": "x"}, 422, "invalid_request"),
        ({"user_id": user_id, "conversation_id": "conv_x", "text": "x"}, 422, "invalid_request"),
    ):
        refused = await rig.api.post("/api/v1/notifications", body)
        assert (refused.status, refused.body["code"]) == (status, code), body


async def test_who_has_blocked_the_bot_is_left_alone(rig: Rig) -> None:
    user_id = await met(rig)
    ann = people.known_user(rig.sim.world, ANN)
    people.set_blocked(rig.sim.world, people.find_chat(rig.sim.world, rig.sim.bot, ann, None), ann, True)

    async def refused() -> bool:
        told = await rig.api.post("/api/v1/notifications", {"user_id": user_id, "text": "still there?"})
        return told.status == 409 and "put the bot out" in told.body["message"]

    await until(refused)


async def test_another_workspace_reaches_nobody_here(rig: Rig, ground: Ground, second_workspace: str) -> None:
    user_id = await met(rig)
    stranger = await client(rig.api.server, second_workspace)
    refused = await stranger.post("/api/v1/notifications", {"user_id": user_id, "text": "x"})
    assert refused.status == 404
