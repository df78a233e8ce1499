"""Slash commands and buttons from press to answer, over the socket and over signed HTTP, on a local Discord."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels.discord import CHANNEL, DiscordClient
from channels.discord.edits import PREVIEW, edit
from channels.discord.find import NONCE_SECONDS, find
from channels.discord.listen import listen
from kernel.types import Absent, Account, Choice, InboundMessage, Json, NotSent, Refused, Reply, Sent, Unit
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.signing import public_key
from simulators.discord.state import Config
from tests.discord_kit import account_on, eventually, shown, wired


class Asked:
    """A local Discord, whose interactions are taken in and deferred; `heard` are the messages."""

    def __init__(self, sim: Simulator, client: DiscordClient, account: Account, heard: list[InboundMessage]) -> None:
        self.sim, self.client, self.account, self.heard = sim, client, account, heard

    async def next(self) -> InboundMessage:
        await eventually(lambda: bool(self.heard))
        return self.heard.pop(0)

    async def send(self, address: Json, unit: Unit, key: str = "out_1") -> Any:
        """Repeats what is not sent, as the sender does: the deferral may be on its way still."""
        while isinstance(outcome := await CHANNEL.send(self.client, address, unit, False, key), NotSent):
            assert outcome.retry_after is not None and outcome.retry_after < 1
            await asyncio.sleep(0.01)
        return outcome


def unit(text: str) -> Unit:
    return Unit({"content": text, "allowed_mentions": {"parse": []}}, text)


@asynccontextmanager
async def asking(config: Config | None = None) -> AsyncIterator[Asked]:
    async with run_simulator(config=config or Config(seed=7)) as sim, wired(sim) as wire:
        account = account_on(sim)
        assert CHANNEL.install is not None
        profile = await CHANNEL.install(account, wire, "")
        assert isinstance(profile, dict)
        heard: list[InboundMessage] = []

        async def take(update: Json, payload: bytes) -> None:
            heard.extend(m for m in CHANNEL.parse(account, update) if isinstance(m, InboundMessage))

        client = await CHANNEL.open(replace(account, profile=profile), wire)
        task = asyncio.create_task(listen(client, account, take, lambda: None))
        try:
            await eventually(lambda: bool(client.places.known))
            yield Asked(sim, client, account, heard)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with asking() as running:
        yield running


def in_channel(message: InboundMessage) -> Json:
    return {key: value for key, value in message.address.items() if key != "interaction"}


async def test_a_question_is_answered_where_it_thinks(asked: Asked) -> None:
    pressed = asked.sim.command("ada", "ask", "general", question="When?")
    heard = await asked.next()
    assert (heard.kind, heard.text) == ("text", "When?")
    first = await asked.send(heard.address, unit("At noon."))
    assert isinstance(first, Sent) and first.receipt["webhook"] == "@original"
    assert pressed.state == "answered" and shown(asked.sim, heard.address) == ["At noon."]
    second = await asked.send(heard.address, unit("Or later."), "out_2")
    assert shown(asked.sim, heard.address) == ["At noon.", "Or later."]
    for receipt, text in ((first.receipt, "At one."), (second.receipt, "Or never.")):
        changed = await edit(asked.client, heard.address, receipt, unit(text), False)
        assert isinstance(changed, Sent) and changed.receipt["message_id"] == receipt["message_id"]
    assert shown(asked.sim, heard.address) == ["At one.", "Or never."]
    assert isinstance(await edit(asked.client, in_channel(heard), first.receipt, unit("At two."), False), Sent)
    assert shown(asked.sim, heard.address)[0] == "At two."


@pytest.mark.parametrize("method", ["edit_response", "create_followup"])
async def test_an_answer_that_breaks_off_is_found(asked: Asked, method: str) -> None:
    asked.sim.command("ada", "ask", "general", question="When?")
    heard = await asked.next()
    began = time.time()
    if method == "create_followup":
        assert isinstance(await asked.send(heard.address, unit("first")), Sent)
    assert await find(asked.client, heard.address, unit("lost"), "out_2", began) == Absent()
    asked.sim.fault("drop_after", method, count=1)
    broken = await asked.send(heard.address, unit("lost"), "out_2")
    assert not isinstance(broken, Sent)
    found = await find(asked.client, heard.address, unit("lost"), "out_2", began)
    assert isinstance(found, Sent)
    assert shown(asked.sim, heard.address)[-1] == "lost"


async def test_a_preview_lives_in_the_deferred_answer(asked: Asked) -> None:
    asked.sim.command("ada", "ask", question="When?")
    heard = await asked.next()
    await eventually(lambda: len(asked.sim.sends()) == 1)
    assert await PREVIEW.recover(asked.client, heard.address, "turn_1", time.time()) is None
    state = await PREVIEW.show(asked.client, heard.address, {}, "At", "turn_1")
    assert state and state["webhook"] == "@original"
    assert await PREVIEW.show(asked.client, heard.address, state, "At **no", "turn_1") == state
    assert await PREVIEW.recover(asked.client, heard.address, "turn_1", time.time()) == state
    assert isinstance(await edit(asked.client, heard.address, state, unit("At noon."), False), Sent)
    assert shown(asked.sim, heard.address) == ["At noon."]
    await CHANNEL.typing(asked.client, heard.address)
    assert "trigger_typing" not in asked.sim.world.calls


async def test_when_its_time_is_over_the_answer_is_a_message(asked: Asked) -> None:
    asked.sim.command("ada", "ask", "general", question="When?")
    heard = await asked.next()
    late = {**heard.address, "interaction": {**heard.address["interaction"], "expires_at": time.time() + 1}}
    sent = await asked.send(late, unit("Sorry, late."))
    assert isinstance(sent, Sent) and "webhook" not in sent.receipt
    assert await asked.send(late, unit("Sorry, late.")) == sent
    dead = {**heard.address, "interaction": {**heard.address["interaction"], "token": "gone"}}
    dead["interaction"]["expires_at"] -= 60
    assert isinstance(await asked.send(dead, unit("Still here."), "out_2"), Sent)
    began = time.time() - NONCE_SECONDS - 1
    assert await find(asked.client, late, unit("Sorry, late."), "out_1", began) == sent


async def test_a_token_that_discord_has_dropped_early() -> None:
    async with asking(Config(seed=7, token_seconds=0.3)) as asked:
        asked.sim.command("ada", "ask", "general", question="When?")
        heard = await asked.next()
        await asyncio.sleep(0.4)
        sent = await asked.send(heard.address, unit("In the channel."))
        assert isinstance(sent, Sent) and "webhook" not in sent.receipt


async def test_an_answer_for_one_persons_eyes(asked: Asked) -> None:
    pressed = asked.sim.command("ada", "link", "general", code="123")
    heard = await asked.next()
    assert (heard.command, heard.text) == ("link", "123")
    for number, text in enumerate(("Linked.", "And more.")):
        assert isinstance(await asked.send(heard.address, unit(text), f"out_{number}"), Sent)
    channel = asked.sim.world.channels[int(heard.address["channel_id"])]
    assert [seen.only for seen in channel.messages.values()] == [pressed.user, pressed.user]
    late = {**heard.address, "interaction": {**heard.address["interaction"], "expires_at": 0.0}}
    refused = await asked.send(late, unit("Linked."))
    assert isinstance(refused, Refused) and refused.code == "interaction_expired"


async def test_buttons_are_thanked_for_and_choices_answered(asked: Asked) -> None:
    said = asked.sim.say("ada", f"<@{asked.sim.bot.id}> hi", "general")
    heard = await asked.next()
    reply = Reply("Which?", feedback="turn_1", choices=(Choice("Today", "When today?"),))
    (rendered,) = CHANNEL.render(reply, heard.address)
    sent = await asked.send(heard.address, rendered)
    assert isinstance(sent, Sent) and said["id"] == heard.message_ref
    pressed = asked.sim.press("ben", sent.receipt["message_id"], "fb:up:turn_1", "general")
    praise = await asked.next()
    assert (praise.kind, praise.detail, praise.about) == ("feedback", "up", "turn_1")
    await eventually(lambda: pressed.state == "updating")
    assert CHANNEL.acknowledge is not None
    await CHANNEL.acknowledge(asked.client, praise, "")
    assert pressed.messages == []
    await CHANNEL.acknowledge(asked.client, praise, "Thank you!")
    channel = asked.sim.world.channels[int(heard.address["channel_id"])]
    thanks = channel.messages[pressed.messages[0]]
    assert (thanks.message["content"], thanks.only) == ("Thank you!", pressed.user)
    asked.sim.press("ada", sent.receipt["message_id"], "say:When today?", "general")
    choice = await asked.next()
    assert (choice.kind, choice.text) == ("text", "When today?")
    assert isinstance(await asked.send(choice.address, unit("At noon."), "out_2"), Sent)
    assert shown(asked.sim, heard.address)[-1] == "At noon."
    assert shown(asked.sim, heard.address)[1] == "Which?"


@asynccontextmanager
async def endpoint(account: Callable[[], Account], heard: list[InboundMessage]) -> AsyncIterator[str]:
    """The inbound route in small: verify, decode, take in, answer."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        if not CHANNEL.verify(account(), request.headers, body):
            return web.Response(status=401)
        update = CHANNEL.decode(request.headers, body)
        heard.extend(m for m in CHANNEL.parse(account(), update) if isinstance(m, InboundMessage))
        assert CHANNEL.immediate is not None
        return web.json_response(CHANNEL.immediate(account(), update))

    app = web.Application()
    app.router.add_post("/channels/discord/acc_1", receive)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/channels/discord/acc_1"))
    finally:
        await server.close()


async def test_interactions_over_http_from_installation_to_answer() -> None:
    heard: list[InboundMessage] = []
    async with run_simulator(config=Config(seed=7)) as sim, wired(sim) as wire:
        credentials = {"bot_token": sim.bot.token, "public_key": public_key(sim.bot.key)}
        account = replace(account_on(sim, "webhook"), credentials=credentials)
        async with endpoint(lambda: account, heard) as url:
            assert CHANNEL.install is not None and CHANNEL.probe is not None and CHANNEL.uninstall is not None
            profile = await CHANNEL.install(account, wire, url)
            assert isinstance(profile, dict) and profile["interactions_url"] == url == sim.bot.interactions_url
            client = await CHANNEL.open(replace(account, profile=profile), wire)
            assert (await CHANNEL.probe(client, account, url)).ok
            sim.fault("bad_signature", "interaction_create", count=1)
            forged = sim.command("ada", "ask", "general", question="Forged?")
            await eventually(lambda: forged.state == "failed")
            genuine = sim.command("ada", "ask", "general", question="When?")
            await eventually(lambda: genuine.state == "deferred")
            assert [message.text for message in heard] == ["When?"]
            assert isinstance(await CHANNEL.send(client, heard[0].address, unit("At noon."), False, "out_1"), Sent)
            assert shown(sim, heard[0].address) == ["At noon."]
            assert await CHANNEL.uninstall(account, wire) is None
            assert sim.bot.interactions_url == "" and sim.bot.commands == {0: []}
