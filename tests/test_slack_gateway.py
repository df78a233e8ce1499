"""The whole gateway on a local Slack: over HTTP and Socket Mode, streamed, broken off, pressed and caught up on."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from channels import accounts
from channels.slack.install import install
from channels.wire import open_wire
from gateway.listen import listening
from gateway.runner import Limits
from gateway.server import listening as serving
from gateway.server import open_app
from gateway.services import Ground, Services, open_services
from kernel.types import Account, Json
from pipeline.machine import Emit, Tools
from pipeline.steps import RedisSteps
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config, Pace
from tests.gateway_parts import no_hits
from tests.slack_parts import eventually, settings_for

QUICK = Pace(retries=(0.1, 0.3, 1.0))


class Scripted:
    """Says back what it was asked; with `pieces`, a piece at a time."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pieces = 0

    async def __call__(self, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        self.calls.append(question)
        text = f"you said: {question}"
        if self.pieces:
            text += " " + " ".join(f"word{n}" for n in range(self.pieces))
            for word in text.split(" "):
                emit(word + " ")
                await asyncio.sleep(0.1)
        return {"text": text, "citations": [], "grounded": True, "score": 1.0, "model": "scripted"}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with run_simulator(config=Config(seed=7, pace=dataclasses.replace(QUICK))) as running:
        yield running


@pytest.fixture
def answer() -> Scripted:
    return Scripted()


async def connect(ground: Ground, workspace_id: str, sim: Simulator, mode: str) -> str:
    credentials = {
        "bot_token": sim.bot.token,
        "app_token": sim.app.app_token,
        "signing_secret": sim.app.signing_secret,
    }
    wire = open_wire(settings_for(sim))
    try:
        profile = await install(Account(workspace_id, "", "slack", mode, credentials, {}, {}), wire, "")
    finally:
        await wire.close()
    assert isinstance(profile, dict)
    async with ground.database.workspace(workspace_id) as conn:
        return await accounts.create(
            conn,
            ground.ring,
            workspace_id,
            kind="slack",
            name="bot",
            mode=mode,
            credentials=credentials,
            settings={"pace": {"bot": 10_000, "chat": 10_000}, "gather_seconds": 0},
            profile=profile,
        )


@asynccontextmanager
async def gateway(
    ground: Ground, sim: Simulator, answer: Scripted, account_id: str, mode: str
) -> AsyncIterator[Services]:
    """A gateway whose Slack is the simulator, and which the simulator reaches in this mode."""
    settings = dataclasses.replace(ground.settings, slack_api_base_url=sim.api_url.rstrip("/"))
    ground = dataclasses.replace(ground, settings=settings)
    tools = Tools(no_hits, answer, RedisSteps(ground.redis, 600), 5)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(ground, tools, Limits(lease=2.0)))
        if mode == "socket":
            await stack.enter_async_context(listening(services))
            await eventually(lambda: sim.world.connections == 1)
        else:
            app = await stack.enter_async_context(open_app(services))
            url = await stack.enter_async_context(serving(app, "127.0.0.1", 0))
            await sim.subscribe(f"{url}/channels/slack/{account_id}")
        yield services


@pytest.fixture(params=["webhook", "socket"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shown(sim: Simulator, channel: str) -> list[str]:
    """What the bot says there now."""
    held = sim.world.channels[sim.channel(channel)].messages.values()
    ours = [seen.message for seen in held if not seen.deleted and seen.message.get("bot_id") == sim.bot.bot_id]
    return [message["text"] for message in ours if message.get("subtype") != "assistant_app_thread"]


async def do(sim: Simulator, what: str, **body: Any) -> Json:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{sim.url}/sim/{what}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        told: Json = await answer.json()
        return told


async def test_people_are_answered_once_on_every_way(
    ground: Ground, workspace_id: str, sim: Simulator, answer: Scripted, mode: str
) -> None:
    account_id = await connect(ground, workspace_id, sim, mode)
    async with gateway(ground, sim, answer, account_id, mode):
        sim.fault("duplicate", "message", count=2)
        sim.say("ada", "in private")
        root = sim.say("ben", "@parley in public", "#support")
        sim.say("ben", "among ourselves", "#support")
        await do(sim, "commands", user="chloe", channel="#general", command="/parley", text="by command")
        await eventually(lambda: shown(sim, "ada") == ["you said: in private"])
        await eventually(lambda: shown(sim, "#support") == ["you said: in public"])
        await eventually(lambda: shown(sim, "#general") == ["you said: by command"])
        assert sim.sends("#support")[-1]["thread_ts"] == root["ts"]
        sim.say("chloe", "and without a mention", "#support", root["ts"])
        await eventually(lambda: shown(sim, "#support")[1:] == ["you said: and without a mention"])
        await eventually(lambda: not sim.world.pending)
    assert sorted(answer.calls) == ["and without a mention", "by command", "in private", "in public"]
    assert sim.world.lost == 0


async def test_an_answer_grows_and_ends_as_one_message_with_buttons(
    ground: Ground, workspace_id: str, sim: Simulator, answer: Scripted, mode: str, admin: asyncpg.Connection[Any]
) -> None:
    answer.pieces = 25
    account_id = await connect(ground, workspace_id, sim, mode)
    async with gateway(ground, sim, answer, account_id, mode):
        sim.say("ada", "@parley slowly", "#support")
        await eventually(lambda: bool(sim.sends("#support")) and sim.sends("#support")[-1]["method"] == "chat.update")
        methods = [entry["method"] for entry in sim.sends("#support") if entry["method"].startswith("chat.")]
        assert methods[0] == "chat.startStream" and "chat.appendStream" in methods
        assert methods[-2:] == ["chat.stopStream", "chat.update"]
        [text] = shown(sim, "#support")
        assert text.startswith("you said: slowly word0") and text.endswith("word24")

        last = sim.sends("#support")[-1]
        buttons = [one for block in last["blocks"] for one in block["elements"] if one["type"] == "button"]
        [blame] = [one for one in buttons if one["text"]["text"] == "👎"]
        place = {"user": "ada", "channel": last["channel"], "ts": last["ts"]}
        await do(sim, "presses", action_id=blame["action_id"], **place)
        await eventually(lambda: any(view.open for view in sim.world.views.values()))
        await do(sim, "submissions", user="ada", values={"comment": "Too slow."})

        async def rated() -> bool:
            rows = await admin.fetch("SELECT rating, comment FROM feedback WHERE workspace_id = $1", workspace_id)
            return [(row["rating"], row["comment"]) for row in rows] == [("down", "Too slow.")]

        await until(rated)


async def test_a_reaction_in_a_thread_finds_its_answer(
    ground: Ground, workspace_id: str, sim: Simulator, answer: Scripted, mode: str, admin: asyncpg.Connection[Any]
) -> None:
    """Slack tells of it without the thread, so the place is found by the message."""
    account_id = await connect(ground, workspace_id, sim, mode)
    async with gateway(ground, sim, answer, account_id, mode):
        sim.say("ada", "@parley hello", "#support")
        await eventually(lambda: shown(sim, "#support") == ["you said: hello"])
        sent = next(entry for entry in sim.sends("#support") if entry["method"] == "chat.postMessage")
        sim.react("ben", sent["channel"], sent["ts"], "+1")

        async def rated() -> bool:
            rows = await admin.fetch("SELECT rating, source FROM feedback WHERE workspace_id = $1", workspace_id)
            return [(row["rating"], row["source"]) for row in rows] == [("up", "reaction")]

        await until(rated)
        places = await admin.fetchval("SELECT count(*) FROM conversations WHERE workspace_id = $1", workspace_id)
        assert places == 1


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await check():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize("method", ["chat.postMessage", "chat.update", "chat.startStream"])
async def test_what_breaks_off_on_its_way_is_seen_once(
    ground: Ground,
    workspace_id: str,
    sim: Simulator,
    answer: Scripted,
    method: str,
    admin: asyncpg.Connection[Any],
) -> None:
    async def settled() -> bool:
        states = await admin.fetch("SELECT state FROM outbound_messages WHERE workspace_id = $1", workspace_id)
        return [row["state"] for row in states] == ["sent"]

    answer.pieces = 0 if method == "chat.postMessage" else 12
    account_id = await connect(ground, workspace_id, sim, "webhook")
    async with gateway(ground, sim, answer, account_id, "webhook"):
        sim.fault("drop_after", method, count=1)
        sim.say("ada", "@parley hello", "#support")
        await until(settled)
        assert sim.world.faults.rules()[0]["hits"] == 1
    ours = shown(sim, "#support")
    assert len(ours) == 1 and ours[0].startswith("you said: hello")


async def test_what_was_said_during_an_absence_is_answered_once(
    ground: Ground, workspace_id: str, sim: Simulator, answer: Scripted
) -> None:
    account_id = await connect(ground, workspace_id, sim, "socket")
    async with gateway(ground, sim, answer, account_id, "socket"):
        root = sim.say("ben", "@parley before", "#support")
        await eventually(lambda: shown(sim, "#support") == ["you said: before"])
        await eventually(lambda: not sim.world.pending)
    sim.fault("deaf", "*")
    sim.say("ben", "meanwhile in a thread", "#support", root["ts"])
    sim.say("ada", "meanwhile in private")
    sim.say("chloe", "@parley meanwhile", "#general")
    for rule in sim.world.faults.rules():
        sim.world.faults.remove(rule["id"])
    async with gateway(ground, sim, answer, account_id, "socket"):
        await eventually(lambda: shown(sim, "#support")[1:] == ["you said: meanwhile in a thread"])
        await eventually(lambda: shown(sim, "ada") == ["you said: meanwhile in private"])
        await eventually(lambda: shown(sim, "#general") == ["you said: meanwhile"])
    assert sorted(answer.calls) == ["before", "meanwhile", "meanwhile in a thread", "meanwhile in private"]
