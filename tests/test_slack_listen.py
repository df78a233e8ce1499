"""Socket Mode: slack_sdk's real client against the simulator's sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from channels.slack.install import open_bot
from channels.slack.listen import listen
from kernel.types import Account, Disconnected
from simulators.slack.state import Config, Pace
from tests.slack_parts import Bot, Ear, eventually, listening, talking

QUICK = Config(seed=5, pace=Pace(retries=(0.05, 0.1, 0.2)))


async def test_envelopes_are_acknowledged_after_they_were_taken() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (ear, _):
        assert ear.alive > 0
        ear.gate.clear()
        bot.simulator.say("ada", "how far is the moon?")
        await asyncio.sleep(0.1)
        assert bot.simulator.world.delivered == 0 and len(bot.simulator.world.pending) == 1
        ear.gate.set()
        await eventually(lambda: bot.simulator.world.delivered == 1)
        assert ear.texts == ["how far is the moon?"]
    await eventually(lambda: bot.simulator.world.connections == 0)


async def test_what_could_not_be_taken_comes_again() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (ear, _):
        bot.simulator.world.pace.ack = 0.2
        ear.faults = 1
        bot.simulator.say("ada", "once more")
        await eventually(lambda: ear.texts == ["once more"])
        await eventually(lambda: bot.simulator.world.delivered == 1)


async def test_a_refresh_loses_nothing_and_repeats_nothing() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (ear, task):
        ear.gate.clear()
        bot.simulator.say("ada", "said before")
        await eventually(lambda: ear.heard == 1)
        with capture_logs() as logs:
            await bot.simulator.sockets.disconnect("refresh_requested")
            await eventually(lambda: bot.simulator.world.connections == 1)
        assert logs == []
        bot.simulator.say("ada", "said after")
        ear.gate.set()
        await eventually(lambda: bot.simulator.world.delivered == 2)
        assert sorted(ear.texts) == ["said after", "said before"] and not task.done()
        assert all("retry" not in str(update) for update in ear.updates)
        assert bot.simulator.world.lost == 0


async def test_refreshes_while_people_talk() -> None:
    async with talking(QUICK, mode="socket") as bot, listening(bot) as (ear, task):
        said = []
        for n in range(30):
            said.append(f"message {n}")
            bot.simulator.say("ada", said[-1])
            if n % 10 == 5:
                await bot.simulator.sockets.disconnect("refresh_requested")
                await eventually(lambda: bot.simulator.world.connections == 1)
        await eventually(lambda: bot.simulator.world.delivered == 30)
        assert sorted(ear.texts) == sorted(said) and not task.done()


async def test_the_answer_of_a_command_goes_into_the_acknowledgement() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (ear, _):
        ear.answer = {"response_type": "in_channel"}
        made = await bot.wire.sessions.send.post(
            f"{bot.simulator.url}/sim/commands",
            json={"user": "ada", "channel": "#support", "command": "/parley", "text": "moon?"},
        )
        assert made.status == 200, await made.text()
        await eventually(lambda: ear.texts == ["moon?"])
        number = (await made.json())["id"]
        await eventually(lambda: bot.simulator.world.interactions[number]["ok"])
        assert bot.simulator.world.interactions[number]["payload"] == ear.answer


async def test_a_closed_connection_is_reported_as_away() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (_, task):
        await bot.simulator.sockets.cut()
        with pytest.raises(Disconnected) as caught:
            await task
        assert caught.value.kind == "away"


async def test_an_outage_is_away_and_a_bad_token_refused() -> None:
    async with talking(mode="socket") as bot:
        bot.simulator.fault("outage")
        assert await ended(bot, bot.account) == "away"
    async with talking(mode="socket") as bot:
        credentials = {**bot.account.credentials, "app_token": "xapp-1-wrong"}
        wrong = Account("ws_1", "acc_1", "slack", "socket", credentials, {}, bot.account.profile)
        assert await ended(bot, wrong) == "refused"


async def ended(bot: Bot, account: Account) -> str:
    ear = Ear(bot)
    client = await open_bot(account, bot.wire)
    with pytest.raises(Disconnected) as caught:
        await listen(client, account, ear.take, ear.lived)
    return caught.value.kind


async def test_socket_mode_switched_off_is_for_a_person() -> None:
    async with talking(mode="socket") as bot, listening(bot) as (_, task):
        await bot.simulator.sockets.disconnect("link_disabled")
        with pytest.raises(Disconnected) as caught:
            await task
        assert caught.value.kind == "refused"


async def test_somebody_else_who_listens_is_noticed() -> None:
    async with talking(mode="socket") as bot, listening(bot):
        with capture_logs() as logs:
            async with listening_too(bot):
                pass
        assert [entry["event"] for entry in logs] == ["slack.socket.shared"]


@asynccontextmanager
async def listening_too(bot: Bot) -> AsyncIterator[None]:
    ear = Ear(bot)
    task = asyncio.create_task(listen(bot.client, bot.account, ear.take, ear.lived))
    await eventually(lambda: ear.alive > 0)
    await eventually(lambda: bot.simulator.world.connections == 2)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
