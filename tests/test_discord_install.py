"""Connecting a bot, probing it, reading what was missed and fetching files, on a local Discord."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from channels.discord import CHANNEL, DiscordClient
from channels.discord.history import history
from channels.discord.install import install, probe, uninstall
from kernel.types import Account, Attachment, Disconnected, Health, InboundMessage, Json, NotSent, Refused
from simulators.discord import people, threads
from simulators.discord.params import Params, Upload
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.signing import public_key
from simulators.discord.state import Config
from tests.discord_kit import account_on, address_in, local_discord, wired

Discord = tuple[Simulator, DiscordClient]


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as pair:
        yield pair


async def test_installing_registers_the_commands_and_tells_who_we_are(discord: Discord) -> None:
    sim, _ = discord
    async with wired(sim) as wire:
        profile = await install(account_on(sim), wire, "")
        assert profile == {
            "id": str(sim.bot.id),
            "username": "Parley",
            "name": "Parley",
            "application_id": str(sim.bot.id),
            "interactions_url": "",
        }
        assert [command["name"] for command in sim.bot.commands[0]] == ["ask", "help", "new", "link", "unlink"]
        assert await install(account_on(sim), wire, "") == profile
        assert await uninstall(account_on(sim), wire) is None
        assert sim.bot.commands[0] == []


async def test_what_cannot_serve_is_refused_with_the_reason(discord: Discord) -> None:
    sim, _ = discord

    async def refused(account: Account, sim: Simulator) -> Refused:
        async with wired(sim) as wire:
            outcome = await install(account, wire, "")
        assert isinstance(outcome, Refused)
        return outcome

    account = account_on(sim)
    assert (await refused(replace(account, credentials={"bot_token": "x"}), sim)).code == "unauthorized"
    wrong = await refused(replace(account, credentials={**account.credentials, "public_key": "00" * 32}), sim)
    assert wrong.code == "unfit" and "public_key" in wrong.reason
    async with run_simulator(config=Config(seed=7, message_content=False)) as strict:
        assert "Message Content Intent" in (await refused(account_on(strict), strict)).reason
        async with wired(strict) as wire:
            assert isinstance(await install(account_on(strict, message_content=False), wire, ""), dict)
    async with run_simulator() as away:
        away.fault("outage")
        async with wired(away) as wire:
            assert isinstance(await install(account_on(away), wire, ""), NotSent)
            assert isinstance(await uninstall(account_on(away), wire), NotSent)


async def test_an_endpoint_that_does_not_answer_yet_is_made_up_for(discord: Discord, unused_tcp_port: int) -> None:
    sim, client = discord
    url = f"http://127.0.0.1:{unused_tcp_port}/channels/discord/acc_1"
    account = account_on(sim, "webhook")
    account.credentials["public_key"] = public_key(sim.bot.key)
    async with wired(sim) as wire:
        profile = await install(account, wire, url)
    assert isinstance(profile, dict) and profile["interactions_url"] == ""
    found = await probe(client, account, url)
    assert not found.ok and "is empty" in found.detail and url in found.detail


async def test_probes_tell_what_is_wrong(discord: Discord) -> None:
    sim, client = discord
    socket, webhook = account_on(sim), account_on(sim, "webhook")
    assert (await probe(client, socket, "")).ok
    sim.bot.interactions_url = "https://elsewhere.example/x"
    elsewhere = await probe(client, socket, "")
    assert not elsewhere.ok and "elsewhere.example" in elsewhere.detail
    assert not (await probe(client, webhook, "https://here.example/x")).ok
    assert sim.bot.interactions_url == "https://elsewhere.example/x"
    assert await probe(client, webhook, "https://elsewhere.example/x") == Health(
        True, "interactions are delivered here"
    )
    sim.fault("status", "get_current_application", status=500, count=1)
    assert not (await probe(client, socket, "")).ok
    sim.fault("outage")
    assert not (await probe(client, socket, "")).ok


async def read(client: DiscordClient, account: Account, since: float, places: list[Json]) -> list[InboundMessage]:
    updates = [update async for update in history(client, account, since, places)]
    found = [message for update in updates for message in CHANNEL.parse(account, update)]
    return [message for message in found if isinstance(message, InboundMessage)]


async def test_everything_since_then_is_read_once_and_in_order(discord: Discord) -> None:
    sim, client = discord
    account = account_on(sim)
    ada = people.find_person(sim.world, "ada")
    general, forum = (people.find_channel(sim.world, ada, name) for name in ("general", "ideas"))
    thread, _ = threads.person_opens(sim.world, ada, general, "A thread", "in a thread", 0, Params({}))
    post, _ = threads.person_opens(sim.world, ada, forum, "A post", "in a forum", 0, Params({}))
    for number in range(120):
        sim.say("ada", f"{number}", "general")
    sim.say("ben", f"<@{sim.bot.id}> help me", "support")
    sim.say("ada", "in private")
    heard = await read(client, account, time.time() - 60, [address_in(sim)])
    by_place: dict[str, list[str]] = {}
    for message in heard:
        by_place.setdefault(message.conversation_key, []).append(message.text)
    assert by_place[str(general.id)] == [str(number) for number in range(120)]
    assert by_place[str(thread.id)] == ["in a thread"]
    assert by_place[str(post.id)] == ["A post\n\nin a forum"]
    assert by_place[address_in(sim)["channel_id"]] == ["in private"]
    assert by_place[address_in(sim, "support")["channel_id"]] == ["help me"]
    assert len(heard) == len({message.external_id for message in heard})
    assert {message.chat for message in heard if message.thread} == {str(general.id), str(forum.id)}
    assert await read(client, account, time.time() + 60, [address_in(sim)]) == []


async def test_threads_archived_meanwhile_are_read_after_a_long_absence(discord: Discord) -> None:
    sim, client = discord
    ada = people.find_person(sim.world, "ada")
    general = people.find_channel(sim.world, ada, "general")
    thread, _ = threads.person_opens(sim.world, ada, general, "Closed", "said before it closed", 0, Params({}))
    thread.archived = True
    heard = await read(client, account_on(sim), time.time() - 7200, [])
    assert [message.text for message in heard] == ["said before it closed"]


async def test_what_may_not_be_seen_is_passed_over(discord: Discord) -> None:
    sim, client = discord
    sim.say("ada", "secret", "general")
    sim.say("ada", "open", "support")
    sim.world.channels[int(address_in(sim, "general")["channel_id"])].denied[sim.bot.id] = 1 << 10
    heard = await read(client, account_on(sim), time.time() - 60, [{"channel_id": "5", "private": True}])
    assert [message.text for message in heard] == ["open"]
    assert await read(client, account_on(sim, "webhook"), time.time() - 60, []) == []


async def test_a_history_that_cannot_be_read_now(discord: Discord) -> None:
    sim, client = discord
    sim.say("ada", "hello", "general")
    sim.fault("status", "get_messages", status=500, count=1)
    with pytest.raises(Disconnected) as ended:
        await read(client, account_on(sim), time.time() - 60, [])
    assert ended.value.kind == "away"
    sim.fault("status", "get_current_user_guilds", status=401, count=1)
    with pytest.raises(Disconnected) as ended:
        await read(client, account_on(sim), time.time() - 60, [])
    assert ended.value.kind == "refused"


async def test_files_are_fetched_anew(discord: Discord) -> None:
    sim, client = discord
    ada = people.find_person(sim.world, "ada")
    files = Params({}, {"files[0]": Upload("notes.txt", "text/plain", b"some notes")})
    people.write(sim.world, people.find_channel(sim.world, ada), ada, "", None, files)
    (heard,) = await read(client, account_on(sim), time.time() - 60, [address_in(sim)])
    (found,) = heard.attachments
    assert (found.name, found.mime, found.size, found.kind) == ("notes.txt", "text/plain", 10, "file")
    assert CHANNEL.fetch is not None
    assert await CHANNEL.fetch(client, found, 100) == b"some notes"
    told = await CHANNEL.fetch(client, found, 9)
    assert isinstance(told, Refused) and told.code == "too_large"
    lying = await CHANNEL.fetch(client, replace(found, size=0), 9)
    assert isinstance(lying, Refused) and lying.code == "too_large"
    gone = await CHANNEL.fetch(client, replace(found, ref={**found.ref, "message_id": "5"}), 100)
    assert isinstance(gone, Refused) and gone.code == "message_not_found"
    other = await CHANNEL.fetch(client, replace(found, ref={**found.ref, "attachment_id": "5"}), 100)
    assert isinstance(other, Refused) and other.code == "gone"
    sim.fault("drop_before", "get_message")
    assert isinstance(await CHANNEL.fetch(client, found, 100), NotSent)
    assert isinstance(found, Attachment)
