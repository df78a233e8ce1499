"""What the tests of the Discord channel share: payloads as Discord documents them, and a client on a local Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from channels.discord import CHANNEL, DiscordClient
from channels.wire import Wire, open_wire
from kernel.settings import Settings
from kernel.types import Account, Ignored, InboundMessage, Json
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.state import Config

BOT_ID, APPLICATION_ID = "1100000000000000001", "1100000000000000002"
GUILD, TEXT_CHANNEL, DM_CHANNEL = "1200000000000000001", "1200000000000000002", "1200000000000000003"
MESSAGE = "1300000000000000001"
SENT_AT = ((int(MESSAGE) >> 22) + 1_420_070_400_000) / 1000
PROFILE = {"id": BOT_ID, "username": "parley", "application_id": APPLICATION_ID}
ACCOUNT = Account("ws_1", "acc_1", "discord", "socket", {"bot_token": "t"}, {}, PROFILE)
ANN: Json = {
    "id": "1400000000000000001",
    "username": "ann",
    "global_name": "Ann Lee",
    "discriminator": "0",
    "avatar": None,
}
US: Json = {"id": BOT_ID, "username": "parley", "discriminator": "0001", "bot": True}


def message(content: Any = "", **fields: Any) -> Json:
    """A message in direct messages. https://docs.discord.com/developers/resources/message#message-object"""
    return {
        "id": MESSAGE,
        "type": 0,
        "channel_id": DM_CHANNEL,
        "author": ANN,
        "content": content,
        "timestamp": "2024-10-27T12:00:00.000000+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "flags": 0,
        **fields,
    }


def in_guild(content: str = "", **fields: Any) -> Json:
    return message(content, **{"channel_id": TEXT_CHANNEL, "guild_id": GUILD, "member": {"nick": None}, **fields})


def event(name: str, data: Json, **beside: Any) -> Json:
    return {"t": name, "d": data, **beside}


def interaction(kind: int, data: Json | None = None, **fields: Any) -> Json:
    """https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object"""
    return {
        "id": MESSAGE,
        "application_id": APPLICATION_ID,
        "type": kind,
        "data": data,
        "channel_id": DM_CHANNEL,
        "channel": {"id": DM_CHANNEL, "type": 1},
        "user": ANN,
        "token": "aW50ZXJhY3Rpb24-_token",
        "version": 1,
        "locale": "de",
        **fields,
    }


def guild_interaction(kind: int, data: Json | None = None, **fields: Any) -> Json:
    place = {"guild_id": GUILD, "channel_id": TEXT_CHANNEL, "channel": {"id": TEXT_CHANNEL, "type": 0}}
    found = interaction(kind, data, **{**place, "member": {"user": ANN, "nick": "Annie"}, **fields})
    del found["user"]
    return found


def told(update: Json, account: Account = ACCOUNT) -> InboundMessage:
    (parsed,) = CHANNEL.parse(account, update)
    assert isinstance(parsed, InboundMessage), parsed
    return parsed


def ignored(update: Json, account: Account = ACCOUNT) -> str:
    (parsed,) = CHANNEL.parse(account, update)
    assert isinstance(parsed, Ignored), parsed
    return parsed.reason


@asynccontextmanager
async def wired(sim: Simulator) -> AsyncIterator[Wire]:
    wire = open_wire(Settings(discord_api_base_url=sim.api_url, discord_gateway_url=sim.gateway_url))
    try:
        yield wire
    finally:
        await wire.close()


def account_on(sim: Simulator, mode: str = "socket", **settings: Any) -> Account:
    bot = sim.bot
    profile = {"id": str(bot.id), "username": bot.name, "application_id": str(bot.id)}
    return replace(ACCOUNT, mode=mode, credentials={"bot_token": bot.token}, settings=settings, profile=profile)


@asynccontextmanager
async def local_discord(config: Config | None = None) -> AsyncIterator[tuple[Simulator, DiscordClient]]:
    """A Discord of our own, and the channel's client for its bot."""
    async with run_simulator(config=config or Config(seed=7)) as sim, wired(sim) as wire:
        client = await CHANNEL.open(account_on(sim), wire)
        assert isinstance(client, DiscordClient)
        yield sim, client


def address_in(sim: Simulator, channel: str | None = None, user: str = "ada", reply_to: str | None = None) -> Json:
    """Where a person sees what is sent: a channel by name, or their direct messages."""
    from simulators.discord import people

    found = people.find_channel(sim.world, people.find_person(sim.world, user), channel)
    return {
        "channel_id": str(found.id),
        "guild_id": str(found.guild) if found.guild else None,
        "reply_to": reply_to,
        "private": not found.guild,
    }


def shown(sim: Simulator, address: Json) -> list[str]:
    """What stands in a channel now."""
    channel = sim.world.channels[int(address["channel_id"])]
    return [seen.message["content"] for seen in channel.messages.values() if not seen.deleted]


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the check reads plain values in this loop
            await asyncio.sleep(0.01)
