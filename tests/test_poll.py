"""Polling: the offset moves only past what is committed, and one process polls a bot at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from channels import accounts
from gateway.poll import polling
from gateway.services import Ground, Services
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import TOKEN, Scripted, gateway, simulator, until

ANN = 1001


@asynccontextmanager
async def polled(ground: Ground, workspace: str) -> AsyncIterator[tuple[Simulator, str]]:
    async with simulator() as sim:
        people.add_user(sim.world, ANN, "Ann")
        async with ground.database.workspace(workspace) as conn:
            account = await accounts.create(
                conn, ground.ring, workspace, kind="telegram", name="polled", mode="polling",
                credentials={"token": TOKEN}, settings={}, profile={"id": 12345, "username": "parley_bot"},
            )  # fmt: skip
        yield sim, account


def seen(sim: Simulator) -> list[str]:
    return [entry["text"] for entry in sim.sends(ANN) if entry["method"] == "sendMessage"]


async def offset(ground: Ground, workspace: str) -> int:
    async with ground.database.workspace(workspace) as conn:
        found: int = await conn.fetchval("SELECT poll_offset FROM channel_accounts WHERE mode = 'polling'")
        return found


async def test_a_polled_bot_answers_and_confirms(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()
    async with (
        polled(ground, workspace_id) as (sim, _),
        gateway(ground, answer, telegram_url=sim.url) as services,
        polling(services),
    ):
        [update_id] = sim.say(ANN, "hello")["update_ids"]

        async def answered() -> bool:
            return seen(sim) == ["you said: hello"]

        await until(answered)
        assert await offset(ground, workspace_id) == update_id + 1
        sim.say(ANN, "again")

        async def again() -> bool:
            return len(seen(sim)) == 2

        await until(again)


async def test_an_update_that_could_not_be_committed_is_fetched_again(
    ground: Ground, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Scripted()
    async with polled(ground, workspace_id) as (sim, _), gateway(ground, answer, telegram_url=sim.url) as services:
        take = services.intake.take
        failures = [OSError("the database went away")]

        async def failing(*args: object) -> None:
            if failures:
                raise failures.pop()
            await take(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(services.intake, "take", failing)
        sim.say(ANN, "hello")
        async with polling(services):

            async def answered() -> bool:
                return seen(sim) == ["you said: hello"]

            await until(answered)
    assert failures == []
    assert answer.calls == ["hello"]


async def test_two_gateways_share_a_bot_without_conflict_and_take_over(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()
    async with polled(ground, workspace_id) as (sim, _), gateway(ground, answer, telegram_url=sim.url) as two:
        async with gateway(ground, answer, telegram_url=sim.url) as one, polling(one), polling(two):
            for n in range(5):
                sim.say(ANN, f"n{n}")
                await asyncio.sleep(0.05)

            async def all_answered() -> bool:
                return "n4" in "".join(seen(sim))

            await until(all_answered)
        async with polling(two):
            sim.say(ANN, "after")

            async def taken_over() -> bool:
                return seen(sim)[-1] == "you said: after"

            await until(taken_over)
    words = " ".join(seen(sim)).replace("you said: ", "").split()
    assert words == ["n0", "n1", "n2", "n3", "n4", "after"]


async def test_a_bot_that_the_platform_refuses_is_reported_and_recovers(ground: Ground, workspace_id: str) -> None:
    async def status(services: Services) -> tuple[str, str]:
        async with services.ground.database.workspace(workspace_id) as conn:
            row = await conn.fetchrow("SELECT status, failure FROM channel_accounts WHERE mode = 'polling'")
            assert row
            return row["status"], row["failure"]

    async with polled(ground, workspace_id) as (sim, _), gateway(ground, Scripted(), telegram_url=sim.url) as services:
        sim.fault("status", "getUpdates", count=1, code=401, description="Unauthorized")
        async with polling(services):

            async def refused() -> bool:
                return (await status(services))[0] == "failed"

            await until(refused)
            assert "unauthorized" in (await status(services))[1]

            async def recovered() -> bool:
                return await status(services) == ("connected", "")

            await until(recovered)
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'channel.failed'") == 1
