"""The whole gateway on a local Discord: heard over the socket, answered once, caught up on after an absence."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from channels import accounts
from channels.discord.install import install
from gateway.listen import listening
from gateway.runner import Limits
from gateway.services import Ground, Services, open_services
from pipeline.machine import Tools
from pipeline.steps import RedisSteps
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.state import Config
from tests.discord_kit import account_on, address_in, eventually, shown, wired
from tests.gateway_parts import Scripted, no_hits


@asynccontextmanager
async def gateway(ground: Ground, sim: Simulator, answer: Scripted) -> AsyncIterator[Services]:
    """A gateway whose Discord is the simulator, listening."""
    settings = dataclasses.replace(
        ground.settings, discord_api_base_url=sim.api_url, discord_gateway_url=sim.gateway_url
    )
    ground = dataclasses.replace(ground, settings=settings)
    tools = Tools(no_hits, answer, RedisSteps(ground.redis, 600), 5)
    async with open_services(ground, tools, Limits(lease=2.0)) as services, listening(services):
        yield services


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with run_simulator(config=Config(seed=7)) as running:
        yield running


async def connect(ground: Ground, workspace_id: str, sim: Simulator) -> str:
    account = account_on(sim)
    async with wired(sim) as wire:
        profile = await install(account, wire, "")
    assert isinstance(profile, dict)
    async with ground.database.workspace(workspace_id) as conn:
        return await accounts.create(
            conn,
            ground.ring,
            workspace_id,
            kind="discord",
            name="bot",
            mode="socket",
            credentials=account.credentials,
            settings={"pace": {"bot": 10_000, "chat": 10_000, "workspace": 10_000}},
            profile=profile,
        )


async def test_people_are_answered_once_on_every_way(ground: Ground, workspace_id: str, sim: Simulator) -> None:
    answer = Scripted()
    await connect(ground, workspace_id, sim)
    async with gateway(ground, sim, answer):
        await eventually(lambda: bool(sim.world.sessions))
        sim.say("ada", "in private")
        sim.say("ben", f"<@{sim.bot.id}> in public", "general")
        sim.say("ben", "among ourselves", "general")
        asked = sim.command("ada", "ask", "support", question="by command")
        await eventually(lambda: "you said: in private" in shown(sim, address_in(sim)))
        await eventually(lambda: "you said: in public" in shown(sim, address_in(sim, "general")))
        await eventually(lambda: shown(sim, address_in(sim, "support")) == ["you said: by command"])
        assert asked.state == "answered"
    assert sorted(answer.calls) == ["by command", "in private", "in public"]
    answers = [text for name in (None, "general", "support") for text in shown(sim, address_in(sim, name))]
    assert sum(text.startswith("you said") for text in answers) == 3


async def test_what_was_said_during_an_absence_is_answered_once(
    ground: Ground, workspace_id: str, sim: Simulator
) -> None:
    answer = Scripted()
    await connect(ground, workspace_id, sim)
    async with gateway(ground, sim, answer):
        await eventually(lambda: bool(sim.world.sessions))
        sim.say("ada", "before")
        sim.say("ben", f"<@{sim.bot.id}> before", "general")
        await eventually(lambda: "you said: before" in shown(sim, address_in(sim, "general")))
        await eventually(lambda: "you said: before" in shown(sim, address_in(sim)))
    sim.say("ben", f"<@{sim.bot.id}> meanwhile", "general")
    async with gateway(ground, sim, answer):
        await eventually(lambda: "you said: meanwhile" in shown(sim, address_in(sim, "general")))
    assert len(answer.calls) == len(set(answer.calls)) + 1 == 3


async def test_an_answer_that_broke_off_stays_with_its_command(
    ground: Ground, workspace_id: str, sim: Simulator
) -> None:
    """Nobody knows whether the first answer arrived when a second command is given in the same place."""
    await connect(ground, workspace_id, sim)
    async with gateway(ground, sim, Scripted()):
        await eventually(lambda: bool(sim.world.sessions))
        sim.fault("drop_after", "edit_response", count=1)
        first = sim.command("ada", "ask", "support", question="one")
        await eventually(lambda: "you said: one" in shown(sim, address_in(sim, "support")))
        second = sim.command("ada", "ask", "support", question="two")
        await eventually(lambda: "you said: two" in shown(sim, address_in(sim, "support")))
    assert shown(sim, address_in(sim, "support")) == ["you said: one", "you said: two"]
    assert (first.state, second.state) == ("answered", "answered")
