"""Slash commands and buttons, through the gateway to discord.py's command tree and over HTTP to a signed endpoint."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from simulators.discord.endpoint import SIGNATURE_HEADER, TIMESTAMP_HEADER
from simulators.discord.errors import ApiError
from simulators.discord.people import Refused
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.signing import public_key
from simulators.discord.state import Config, Seen, World
from tests.simulator_discord_kit import QUICK, Client, discord, eventually, named, refusal, talking

Answer = Callable[[discord.Interaction, str], Awaitable[None]]


@asynccontextmanager
async def commanding(answer: Answer, config: Config = QUICK) -> AsyncIterator[tuple[Simulator, Client]]:
    """A client whose command /ask does what `answer` does; what it raises is kept in `client.failures`."""
    async with talking(config) as (sim, client):
        tree = discord.app_commands.CommandTree(client)

        @tree.command(name="ask", description="Ask a question")
        async def ask(interaction: discord.Interaction, question: str) -> None:
            await answer(interaction, question)

        @tree.error
        async def failed(interaction: discord.Interaction, error: discord.app_commands.AppCommandError) -> None:
            client.failures.append(getattr(error, "original", error))

        assert [command.name for command in await tree.sync()] == ["ask"]
        yield sim, client


def seen(sim: Simulator, number: str | int) -> Seen:
    return next(c.messages[int(number)] for c in sim.world.channels.values() if int(number) in c.messages)


async def test_a_command_is_answered_at_once() -> None:
    async def answer(interaction: discord.Interaction, question: str) -> None:
        await interaction.response.send_message(f"You asked: {question}", ephemeral=question == "secret")

    async with commanding(answer) as (sim, _):
        asked = sim.command("ada", "ask", "general", question="why?")
        await eventually(lambda: asked.state == "answered")
        message = seen(sim, asked.response).message
        assert message["content"] == "You asked: why?" and message["type"] == 20
        assert message["interaction_metadata"]["user"]["username"] == "ada"
        private = sim.command("ben", "ask", "general", question="secret")
        await eventually(lambda: private.state == "answered")
        assert seen(sim, private.response).only == private.user
        assert sim.sends()[-1]["seen_by"] == [str(private.user)]
        for wrong in ({"name": "nothing"}, {"name": "ask"}, {"name": "ask", "strange": 1, "question": "x"}):
            with pytest.raises(Refused):
                sim.command("ada", channel="general", **wrong)


async def test_thinking_gives_way_to_the_answer_and_more_follows() -> None:
    async def answer(interaction: discord.Interaction, question: str) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.followup.send("first")
        await interaction.followup.send("second", file=discord.File(io.BytesIO(b"text"), "a.txt"))
        await interaction.edit_original_response(content="first, edited")
        assert (await interaction.original_response()).content == "first, edited"

    async with commanding(answer) as (sim, client):
        asked = sim.command("ada", "ask", question="why?")
        await eventually(lambda: len(sim.sends()) == 4)
        first, second = (seen(sim, number) for number in asked.messages)
        assert [edit["content"] for edit in first.edits] == ["", "first"] and first.message[
            "content"
        ] == "first, edited"
        assert second.message["attachments"][0]["filename"] == "a.txt"
        assert [entry["method"] for entry in sim.sends()] == [
            "create_interaction_response", "create_followup", "create_followup", "edit_response",
        ]  # fmt: skip
        assert client.failures == []


async def test_a_late_answer_is_to_nothing_and_an_old_token_too() -> None:
    world: list[World] = []

    def later(seconds: float) -> None:
        clock = world[0].now
        world[0].now = lambda: clock() + seconds

    async def answer(interaction: discord.Interaction, question: str) -> None:
        if question == "late":
            later(3.5)
        await interaction.response.send_message("here")
        later(890)
        await interaction.followup.send("more")
        later(20)
        await interaction.followup.send("too much")

    async with commanding(answer) as (sim, client):
        world.append(sim.world)
        sim.command("ada", "ask", question="late")
        await eventually(lambda: len(client.failures) == 1)
        sim.command("ada", "ask", question="old")
        await eventually(lambda: len(client.failures) == 2)
        assert [(error.status, error.code) for error in client.failures] == [(404, 10062), (401, 50027)]
        assert [entry["text"] for entry in sim.sends()] == ["here", "more"]


async def test_a_person_is_told_that_nobody_answered() -> None:
    async with run_simulator(config=Config(seed=7, response_seconds=0.05)) as sim:
        sim.bot.commands[0] = [{"id": "1", "name": "ask", "type": 1, "contexts": None, "dm_permission": True}]
        asked = sim.command("ada", "ask")
        await eventually(lambda: asked.state == "failed")
        assert sim.world.missed == 1 and sim.sends() == []


async def test_a_press_updates_the_message_or_answers_it() -> None:
    async with talking() as (sim, client):
        channel = named(client, "general")

        class Feedback(discord.ui.View):
            @discord.ui.button(label="Good", custom_id="up")
            async def up(self, interaction: discord.Interaction, _: discord.ui.Button[Any]) -> None:
                await interaction.response.edit_message(content="Thanks", view=None)

            @discord.ui.button(label="Bad", custom_id="down")
            async def down(self, interaction: discord.Interaction, _: discord.ui.Button[Any]) -> None:
                await interaction.response.defer()
                await interaction.followup.send("What was wrong?", ephemeral=True)

        good = await channel.send("42", view=Feedback())
        bad = await channel.send("43", view=Feedback())
        pressed = sim.press("ada", good.id, "up", "general")
        await eventually(lambda: pressed.state == "answered")
        assert seen(sim, good.id).message["content"] == "Thanks" and seen(sim, good.id).message["components"] == []
        with pytest.raises(Refused):
            sim.press("ada", good.id, "up", "general")
        again = sim.press("ben", bad.id, "down", "general")
        await eventually(lambda: bool(again.messages))
        assert again.state == "updating" and seen(sim, again.messages[0]).only == again.user
        assert seen(sim, bad.id).message["content"] == "43"


async def test_what_a_response_may_not_be() -> None:
    async with talking() as (sim, client):
        asked = sim.press("ada", (await _buttons(client)).id, "go", "general")
        url = f"{sim.api_url}/interactions/{asked.id}/{asked.token}/callback"
        hook = f"{sim.api_url}/webhooks/{sim.bot.id}/{asked.token}"
        async with aiohttp.ClientSession() as session:

            async def post(where: str, **body: Any) -> tuple[int, int]:
                async with session.post(where, json=body) as answer:
                    return answer.status, (await answer.json())["code"] if answer.status != 204 else 0

            assert await post(hook, content="too early") == (404, 10015)
            assert await post(url, type=9) == (400, 50035)
            assert await post(url, type=4, data={"content": "x" * 2001}) == (400, 50035)
            assert await post(url.replace(asked.token, "other"), type=4) == (404, 10062)
            assert await post(url, type=4, data={"content": "yes"}) == (204, 0)
            assert await post(url, type=4, data={"content": "twice"}) == (400, 40060)
            assert await post(hook.replace(str(sim.bot.id), "7"), content="x") == (404, 10015)
            async with session.delete(f"{hook}/messages/@original") as answer:
                assert answer.status == 204
            async with session.get(f"{hook}/messages/@original") as answer:
                assert (await answer.json())["code"] == 10008


async def _buttons(client: Client) -> discord.Message:
    view = discord.ui.View()
    view.add_item(discord.ui.Button(label="Go", custom_id="go"))
    return await named(client, "general").send("ready?", view=view)


async def test_commands_are_checked_and_keep_their_ids() -> None:
    async with talking() as (sim, client):
        tree = discord.app_commands.CommandTree(client)
        group = discord.app_commands.Group(name="knowledge", description="What I know")

        @group.command(name="add", description="Teach me")
        async def add(interaction: discord.Interaction, who: discord.Member, times: int = 1) -> None:
            await interaction.response.send_message(f"{who.name} x{times}")

        tree.add_command(group, guild=client.guilds[0])
        first = await tree.sync(guild=client.guilds[0])
        again = await tree.sync(guild=client.guilds[0])
        assert first[0].id == again[0].id
        asked = sim.command("ada", "knowledge add", "general", who="ben", times="3")
        await eventually(lambda: asked.state == "answered")
        assert seen(sim, asked.response).message["content"] == "ben x3"
        with pytest.raises(Refused, match="no command"):
            sim.command("ada", "knowledge add", who="ben")
        bad = {"name": "Not Good", "description": "x", "type": 1}
        with pytest.raises(discord.HTTPException) as refused:
            await client.http.bulk_upsert_global_commands(sim.bot.id, [bad])
        assert refusal(refused) == (400, 50035)


@dataclass
class Endpoint:
    """An application's interactions endpoint: verifies, remembers, answers as told."""

    key: str
    url: str = ""
    strict: bool = True
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    answer: dict[str, Any] = field(default_factory=lambda: {"type": 4, "data": {"content": "over HTTP"}})
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        signed = request.headers[TIMESTAMP_HEADER].encode() + body
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key)).verify(
                bytes.fromhex(request.headers[SIGNATURE_HEADER]), signed
            )
        except InvalidSignature:
            self.refused += 1
            if self.strict:
                return web.Response(status=401)
        self.bodies.append(await request.json())
        if self.bodies[-1]["type"] == 1:
            return web.json_response({"type": 1})
        if self.answer.get("type") == 0:
            await self.gate.wait()
        return web.json_response(self.answer)


@asynccontextmanager
async def endpoint(sim: Simulator) -> AsyncIterator[Endpoint]:
    served = Endpoint(public_key(sim.bot.key))
    app = web.Application()
    app.router.add_post("/interactions", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/interactions"
    try:
        yield served
    finally:
        served.gate.set()
        await runner.cleanup()


async def test_interactions_over_http_are_signed_and_answered_in_place() -> None:
    async with talking(Config(seed=7, response_seconds=1.5)) as (sim, client), endpoint(sim) as served:
        message = await _buttons(client)
        await _set_endpoint(sim, served.url)
        assert (served.refused, [body["type"] for body in served.bodies]) == (1, [1])
        pressed = sim.press("ada", message.id, "go", "general")
        await eventually(lambda: pressed.state == "answered")
        assert seen(sim, pressed.response).message["content"] == "over HTTP"
        body = served.bodies[-1]
        assert body["data"]["custom_id"] == "go" and body["message"]["id"] == str(message.id)
        assert "INTERACTION_CREATE" not in client.events
        served.answer = {"type": 7, "data": {"content": "changed", "components": []}}
        pressed = sim.press("ben", message.id, "go", "general")
        await eventually(lambda: pressed.state == "answered")
        assert seen(sim, message.id).message["content"] == "changed"
        other = await _buttons(client)
        sim.fault("bad_signature", count=1)
        forged = sim.press("ada", other.id, "go", "general")
        await eventually(lambda: forged.state == "failed")
        served.answer = {"type": 0}
        slow = sim.press("ada", other.id, "go", "general")
        await eventually(lambda: slow.state == "failed")
        await eventually(lambda: sim.world.calls["interactions"].total() == 4)
        assert dict(sim.world.calls["interactions"]) == {"ok": 2, "401": 1, "timeout": 1}
        await _set_endpoint(sim, None)
        sim.press("ada", other.id, "go", "general")
        await eventually(lambda: "INTERACTION_CREATE" in client.events)


async def _set_endpoint(sim: Simulator, url: str | None) -> None:
    """As the application itself does it; discord.py 2.7 drops this field from its own edit."""
    headers = {"Authorization": f"Bot {sim.bot.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"interactions_endpoint_url": url}
        async with session.patch(f"{sim.api_url}/applications/@me", json=body) as answer:
            assert answer.status == 200 and (await answer.json())["interactions_endpoint_url"] == url


async def test_an_endpoint_that_takes_forgeries_is_not_set() -> None:
    async with run_simulator(config=QUICK) as sim, endpoint(sim) as served:
        assert sim.world.verify
        served.strict = False
        for url in (served.url, "http://127.0.0.1:1/nobody"):
            with pytest.raises(ApiError) as refused:
                await sim.world.verify(sim.bot, url)
            assert refused.value.code == 50035
        assert sim.bot.interactions_url == ""
    async with run_simulator(config=QUICK) as sim, endpoint(sim) as served:
        late = Config(seed=7, interactions_url=served.url)
        async with run_simulator(config=late) as second:
            await eventually(lambda: second.bot.interactions_url == served.url)
