"""The Discord simulator as discord.py's own client meets it."""

from collections.abc import AsyncIterator

import pytest

from simulators.discord.server import Simulator
from tests.simulator_discord_kit import Client, discord, eventually, talking


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Client]]:
    async with talking() as pair:
        yield pair


async def test_people_are_heard_and_answered(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    said = sim.say("ada", "hello")
    sim.say("ben", "hello all", "general")
    await eventually(lambda: len(client.heard) == 2)
    assert client.texts() == ["hello", "hello all"]
    private, public = client.heard
    assert private.guild is None and public.guild and public.guild.name == "Fernhill"
    assert isinstance(public.author, discord.Member) and public.author.name == "ben"
    sent = await private.reply("**hi**")
    assert sent.reference and sent.reference.message_id == int(said["id"])
    await sent.edit(content="hi, Ada")
    history = [message.content async for message in private.channel.history(oldest_first=True)]
    assert history == ["hello", "hi, Ada"]
    assert [(e["method"], e["text"]) for e in sim.sends(said["channel_id"])] == [
        ("create_message", "**hi**"),
        ("edit_message", "hi, Ada"),
    ]


async def test_a_nonce_makes_one_message_for_each_author(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    sim.say("ada", "hello")
    await eventually(lambda: len(client.heard) == 1)
    channel = client.heard[0].channel
    first = await channel.send("once", nonce="turn-1.0")
    again = await channel.send("once, again", nonce="turn-1.0")
    assert again.id == first.id and again.content == "once"
    assert [entry["text"] for entry in sim.sends()] == ["once"]
