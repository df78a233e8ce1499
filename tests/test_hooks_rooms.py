"""Hooks that speak into rooms: groups and channels of Telegram, Slack and Discord, whoever spoke there before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from channels.discord.interactions import EPHEMERAL
from gateway.listen import listening
from gateway.services import Ground
from simulators.discord.server import run_simulator as run_discord
from simulators.discord.state import Config as DiscordConfig
from simulators.slack.server import run_simulator as run_slack
from simulators.slack.state import Config as SlackConfig
from simulators.telegram import groups, people
from tests.discord_kit import address_in, eventually, shown
from tests.gateway_parts import until
from tests.hooks_kit import ANN, Rig, hook, telegram_rig
from tests.http_face import Client, client, served
from tests.test_discord_gateway import connect as connect_discord
from tests.test_slack_gateway import connect as connect_slack


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async with telegram_rig(ground, workspace_id) as rig:
        yield rig


async def conversations(api: Client) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await api.get("/api/v1/conversations")).body["items"]
    return found


async def test_a_telegram_group_hears_it_and_it_answers_nobody(rig: Rig) -> None:
    world = rig.sim.world
    chat = groups.add_chat(world, "group", "Ops", False, [ANN], [rig.sim.bot], ANN)
    _, github = await hook(rig.api, example="github", target={"account_id": rig.account, "chat": str(chat.id)})
    told = await github.push("d-1")
    assert told.status == 202, told.body
    await rig.shows("Rent by the hour", chat.id)
    (place,) = await conversations(rig.api)
    assert (place["conversation_id"], place["private"], place["user_id"]) == (told.body["conversation_id"], False, None)
    # Once the bot was spoken to there, it is the same conversation, and a later push still answers nobody.
    rig.sim.say(ANN, "@parley_bot hello", chat.id)
    await rig.shows("you said: hello", chat.id)
    assert (await github.push("d-2", forced=True)).body["conversation_id"] == place["conversation_id"]
    await rig.shows("force- pushed", chat.id)
    said = [seen.message for seen in chat.messages.values() if seen.message["from"]["is_bot"]]
    assert [("reply_to_message" in message, message["text"][:8]) for message in said] == [
        (False, "harbour/"), (True, "you said"), (False, "harbour/"),
    ]  # fmt: skip
    # The group becomes a supergroup, which has another id: the old one still reaches it.
    moved, _ = groups.migrate(world, chat, people.known_user(world, ANN))
    assert (await github.push("d-3", deleted=True)).status == 202
    await rig.shows("annberg deleted", moved.id)


async def test_a_topic_of_a_telegram_forum(rig: Rig) -> None:
    world = rig.sim.world
    chat = groups.add_chat(world, "supergroup", "Ops", True, [ANN], [rig.sim.bot], ANN)
    topic = groups.add_topic(world, chat, people.known_user(world, ANN), "Deploys")
    target = {"account_id": rig.account, "chat": str(chat.id), "thread": str(topic)}
    _, github = await hook(rig.api, example="github", target=target)
    await github.push("d-1")
    await rig.shows("Rent by the hour", chat.id)
    (message,) = [seen.message for seen in chat.messages.values() if seen.message["from"]["is_bot"]]
    assert message["message_thread_id"] == topic


async def test_a_slack_channel_hears_it_at_the_top(ground: Ground, workspace_id: str) -> None:
    async with (
        run_slack(config=SlackConfig(seed=7)) as sim,
        served(ground, slack_api_base_url=sim.api_url.rstrip("/")) as server,
    ):
        account = await connect_slack(ground, workspace_id, sim, "webhook")
        await sim.subscribe(f"{server.url}/channels/slack/{account}")
        api = await client(server, workspace_id)
        target = {"account_id": account, "chat": sim.channel("#support")}
        _, github = await hook(api, example="github", target=target)
        assert (await github.push("d-1")).status == 202
        held = sim.world.channels[sim.channel("#support")].messages
        await eventually(lambda: len(held) == 1)
        (seen,) = held.values()
        assert "Rent by the hour" in seen.message["text"]
        assert "thread_ts" not in seen.message
        again = await github.push("d-1")
        assert again.headers["Idempotency-Replayed"] == "true"
        thread, _ = await hook(api, template={"text": "below"}, target={**target, "thread": seen.message["ts"]})
        assert thread["target"]["thread"] == seen.message["ts"]


async def test_a_discord_channel_hears_it_also_after_a_command_for_one_persons_eyes(
    ground: Ground, workspace_id: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with (
        run_discord(config=DiscordConfig(seed=7)) as sim,
        served(ground, discord_api_base_url=sim.api_url, discord_gateway_url=sim.gateway_url) as server,
    ):
        account = await connect_discord(ground, workspace_id, sim)
        async with listening(server.services):
            await eventually(lambda: bool(sim.world.sessions))
            api = await client(server, workspace_id)
            place = address_in(sim, "general")
            target = {"account_id": account, "chat": place["channel_id"]}
            _, github = await hook(api, example="github", target=target)
            assert (await github.push("d-1")).status == 202
            await eventually(lambda: len(shown(sim, place)) == 1)
            asked = sim.command("ada", "help", "general")
            await eventually(lambda: asked.state == "answered")

            async def kept() -> bool:
                row = await admin.fetchrow(
                    "SELECT address FROM conversations WHERE workspace_id = $1 AND conversation_key = $2",
                    workspace_id, place["channel_id"],
                )  # fmt: skip
                return row is not None and "discreet" in str(row["address"])

            await until(kept)
            assert (await github.push("d-2", forced=True)).status == 202
            await eventually(lambda: any("force- pushed" in text for text in shown(sim, place)))
            said = sim.world.channels[int(place["channel_id"])].messages.values()
            flags = [seen.message.get("flags", 0) for seen in said if "pushed" in seen.message["content"]]
            assert [bool(flag & EPHEMERAL) for flag in flags] == [False, False]
