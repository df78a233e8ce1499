"""Sending, editing, finding and previewing against a local Discord, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from channels.discord import CHANNEL, DiscordClient
from channels.discord.client import Answer
from channels.discord.edits import PREVIEW, edit
from channels.discord.find import NONCE_SECONDS, find
from channels.discord.send import nonce_of, outcome
from kernel.types import Absent, Choice, Json, NotSent, Refused, Reply, Sent, Unit, Unknown
from simulators.discord.limits import Limits, Rate
from simulators.discord.server import Simulator
from simulators.discord.state import Config
from tests.discord_kit import account_on, address_in, local_discord, shown, wired

Discord = tuple[Simulator, DiscordClient]
LONG_AGO = 1_000_000_000.0


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as pair:
        yield pair


def unit(text: str = "**hi**", plain: str = "hi") -> Unit:
    return Unit({"content": text, "allowed_mentions": {"parse": []}}, plain)


async def test_a_message_once_however_often_it_is_sent(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    sent = await CHANNEL.send(client, address, unit(), False, "out_1")
    assert isinstance(sent, Sent) and sent.receipt["channel_id"] == address["channel_id"]
    assert await CHANNEL.send(client, address, unit(), False, "out_1") == sent
    assert await CHANNEL.send(client, address, unit(), True, "out_2") != sent
    assert shown(sim, address) == ["**hi**", "hi"]
    assert len(nonce_of("out_1")) == 24


async def test_an_answer_that_breaks_off_is_found_by_its_nonce(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    sim.fault("drop_after", "create_message", count=1)
    assert isinstance(await CHANNEL.send(client, address, unit(), False, "out_1"), Unknown)
    assert await find(client, address, unit(), "out_1", time.time()) == Absent()
    assert isinstance(await CHANNEL.send(client, address, unit(), False, "out_1"), Sent)
    assert shown(sim, address) == ["**hi**"]


async def test_later_the_history_tells(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim, "general")
    began = time.time() - NONCE_SECONDS - 1
    for number in range(3):
        sim.say("ada", f"{number} **hi**", "general")
    assert await find(client, address, unit(), "out_1", began) == Absent()
    sent = await CHANNEL.send(client, address, unit(), False, "out_1")
    found = await find(client, address, unit(), "out_1", began)
    assert found == sent
    assert await find(client, address, unit("other", "other"), "out_2", began) == Absent()
    sim.fault("status", "get_messages", status=500, count=1)
    assert isinstance(await find(client, address, unit(), "out_1", began), Unknown)


async def test_units_with_the_same_words_are_told_apart(discord: Discord) -> None:
    sim, client = discord
    said = sim.say("ada", "hello", "general")
    address = address_in(sim, "general", reply_to=said["id"])
    began = time.time() - NONCE_SECONDS - 1
    (first,) = CHANNEL.render(Reply("*Yes*", feedback="turn_1"), address)
    (second,) = CHANNEL.render(Reply("*Yes*", feedback="turn_2"), address)
    sent = await CHANNEL.send(client, address, first, False, "out_1")
    assert await find(client, address, first, "out_1", began) == sent
    assert await find(client, address, second, "out_2", began) == Absent()
    other = sim.say("ben", "hello", "general")
    (third,) = CHANNEL.render(Reply("*Yes*", feedback="turn_1"), {**address, "reply_to": other["id"]})
    assert await find(client, address, third, "out_3", began) == Absent()


async def test_more_than_a_page_of_history(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim, "general")
    began = time.time() - NONCE_SECONDS - 1
    for number in range(150):
        sim.say("ada", str(number), "general")
    sent = await CHANNEL.send(client, address, unit(), False, "out_1")
    assert await find(client, address, unit(), "out_1", began) == sent


async def test_in_a_server_the_first_unit_answers_the_message(discord: Discord) -> None:
    sim, client = discord
    said = sim.say("ada", "hello", "general")
    address = address_in(sim, "general", reply_to=said["id"])
    units = CHANNEL.render(Reply("word " * 600, choices=(Choice("Yes", "yes"),)), address)
    assert len(units) > 1
    for number, each in enumerate(units):
        assert isinstance(await CHANNEL.send(client, address, each, False, f"out_{number}"), Sent)
    messages = [s.message for s in sim.world.channels[int(address["channel_id"])].messages.values()][1:]
    assert [m.get("message_reference", {}).get("message_id") for m in messages] == [
        said["id"],
        *[None] * len(units[1:]),
    ]
    assert messages[-1]["components"][0]["components"][0]["custom_id"] == "say:yes"
    people_say = address_in(sim, "general", reply_to="1")
    assert isinstance(
        await CHANNEL.send(client, people_say, CHANNEL.render(Reply("x"), people_say)[0], False, "o"), Sent
    )


async def test_who_may_not_reply_just_says_it(discord: Discord) -> None:
    sim, client = discord
    said = sim.say("ada", "hello", "general")
    address = address_in(sim, "general", reply_to=said["id"])
    sim.fault("status", "create_message", status=400, code=160002, count=1)
    (first,) = CHANNEL.render(Reply("hi"), address)
    assert isinstance(await CHANNEL.send(client, address, first, False, "out_1"), Sent)
    assert "message_reference" not in list(sim.world.channels[int(address["channel_id"])].messages.values())[1].message


async def test_refusals_are_told_apart(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    person = next(iter(sim.world.people.values()))
    person.closed.add(sim.bot.id)
    refused = await CHANNEL.send(client, address, unit(), False, "out_1")
    assert refused == Refused("blocked", "Cannot send messages to this user", blocked=True)
    gone = await CHANNEL.send(client, {**address, "channel_id": "5"}, unit(), False, "out_2")
    assert isinstance(gone, Refused) and (gone.code, gone.blocked) == ("channel_not_found", True)
    general = address_in(sim, "general")
    long = await CHANNEL.send(client, general, unit("x" * 2001), False, "out_3")
    assert isinstance(long, Refused) and long.plainer and "content" in long.reason
    assert isinstance(await CHANNEL.send(client, general, unit("x" * 2001), True, "out_3"), Sent)
    sim.world.channels[int(general["channel_id"])].denied[sim.bot.id] = 1 << 11
    denied = await CHANNEL.send(client, general, unit(), False, "out_4")
    assert isinstance(denied, Refused) and denied.code == "no_permission"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(500, {"message": "x"}), Unknown("x")),
        (Answer(502), Unknown("HTTP 502")),
        (Answer(301), Unknown("HTTP 301")),
        (Answer(200, {}), Unknown("an answer without a message id")),
        (Answer(429, {"message": "slow"}, 1.5), NotSent("slow", 1.5, "chat")),
        (Answer(429, None, 9.0, bot=True), NotSent("HTTP 429", 9.0, "bot")),
        (Answer(401, {"message": "401: Unauthorized", "code": 0}), Refused("unauthorized", "401: Unauthorized")),
        (Answer(403, {"message": "no", "code": 50001}), Refused("no_access", "no", blocked=True)),
        (Answer(400, {"message": "no", "code": 50006}), Refused("bad_request", "no")),
        (Answer(400, {"message": "busy", "code": 130000}), NotSent("busy")),
    ],
)
def test_what_answers_mean(answer: Answer, expected: object) -> None:
    assert outcome(answer, plain=False) == expected


async def test_limits_are_kept_without_asking(discord: Discord) -> None:
    config = Config(seed=7, flood=True, limits=Limits(routes=(("create_message", Rate(2, 60.0)),)))
    async with local_discord(config) as (sim, client):
        address = address_in(sim, "general")
        for number in range(2):
            assert isinstance(await CHANNEL.send(client, address, unit(), False, f"out_{number}"), Sent)
        held = await CHANNEL.send(client, address, unit(), False, "out_2")
        assert isinstance(held, NotSent) and held.retry_after and held.retry_after > 50 and held.scope == "chat"
        assert sim.world.calls["create_message"] == {"ok": 2}
        assert isinstance(await CHANNEL.send(client, address_in(sim, "support"), unit(), False, "o"), Sent)


async def test_a_429_is_waited_out(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim, "general")
    sim.fault("status", "create_message", status=429, retry_after=30.0, scope="user", count=1)
    first = await CHANNEL.send(client, address, unit(), False, "out_1")
    assert isinstance(first, NotSent) and first.retry_after == 30.0
    assert isinstance(await CHANNEL.send(client, address, unit(), False, "out_1"), NotSent)
    assert isinstance(await CHANNEL.send(client, address_in(sim, "support"), unit(), False, "out_2"), Sent)
    sim.fault("status", "create_message", status=429, retry_after=20.0, scope="global", count=1)
    whole = await CHANNEL.send(client, address_in(sim, "support"), unit(), False, "out_3")
    assert isinstance(whole, NotSent) and whole.scope == "bot"
    receipt = {"channel_id": address["channel_id"], "message_id": "1"}
    assert isinstance(await edit(client, address, receipt, unit(), False), NotSent)


async def test_a_refused_token_is_not_tried_again_and_again() -> None:
    async with local_discord() as (sim, _), wired(sim) as wire:
        account = account_on(sim)
        account.credentials["bot_token"] = "nonsense"
        client = await CHANNEL.open(account, wire)
        for _ in range(3):
            refused = await CHANNEL.send(client, address_in(sim), unit(), False, "out_1")
            assert isinstance(refused, Refused) and refused.code == "unauthorized"
        assert sum(sim.world.calls.get("create_message", {}).values()) == 1


async def test_nobody_there_is_not_sent(unused_tcp_port: int) -> None:
    async with local_discord() as (sim, _), wired(sim) as wire:
        client = DiscordClient(account_on(sim), wire)
        client._root = f"http://127.0.0.1:{unused_tcp_port}/api/v10"
        assert isinstance(await CHANNEL.send(client, address_in(sim), unit(), False, "out_1"), NotSent)
        await CHANNEL.typing(client, address_in(sim))


async def test_typing_is_shown(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    await CHANNEL.typing(client, address)
    assert sim.bot.id in sim.world.channels[int(address["channel_id"])].typing


async def test_an_edit_may_be_repeated_and_a_lost_message_is_told(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    sent = await CHANNEL.send(client, address, unit("draft"), False, "out_1")
    assert isinstance(sent, Sent)
    for _ in range(2):
        assert await edit(client, address, sent.receipt, unit("final"), False, "out_2") == sent
    assert shown(sim, address) == ["final"]
    lost = await edit(client, address, {**sent.receipt, "message_id": "5"}, unit(), False)
    assert isinstance(lost, Refused) and lost.code == "message_not_found"


async def test_a_preview_grows_in_one_message_and_becomes_the_answer(discord: Discord) -> None:
    sim, client = discord
    address = address_in(sim)
    preview = PREVIEW
    sim.fault("drop_after", "create_message", count=1)
    state = await preview.show(client, address, {}, "The", "turn_1")
    assert state == {}
    state = await preview.show(client, address, {}, "The answer", "turn_1")
    assert state
    state = await preview.show(client, address, state, "The answer is", "turn_1")
    assert state and shown(sim, address) == ["The answer is"]
    assert await preview.recover(client, address, "turn_1", time.time()) == state
    assert await preview.recover(client, address, "turn_1", LONG_AGO) is None
    final = await edit(client, address, state, unit("The answer is 42."), False, "out_1")
    assert isinstance(final, Sent) and shown(sim, address) == ["The answer is 42."]
    assert await preview.show(client, {**address, "channel_id": "5"}, {}, "x", "turn_2") is None


async def test_calls_side_by_side_in_many_channels(discord: Discord) -> None:
    sim, client = discord
    places = [address_in(sim, channel) for channel in ("general", "support", None)]
    outcomes = await asyncio.gather(
        *(CHANNEL.send(client, place, unit(str(n)), False, f"{n}{place}") for n in range(10) for place in places)
    )
    assert all(isinstance(each, Sent) for each in outcomes)
    seen: list[Json] = sim.sends()
    assert len(seen) == 30
