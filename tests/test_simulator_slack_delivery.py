"""How events reach an app: signed POSTs with retries, and Socket Mode by the real client; what faults do to both."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack.errors import Refused
from simulators.slack.server import Simulator
from simulators.slack.values import JsonObject
from tests.simulator_slack_kit import eventually, listening, receiving, talking


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, AsyncWebClient]]:
    async with talking() as pair:
        yield pair


async def test_events_are_signed_and_name_the_team(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with receiving(sim) as receiver:
        said = sim.say("ada", "hello <there>")
        event = (await receiver.until(1))[0]
        body = receiver.events[0]
    assert receiver.signed == [True]
    assert (event["type"], event["text"], event["channel_type"]) == ("message", "hello &lt;there&gt;", "im")
    assert event["ts"] == said["ts"] and event["client_msg_id"]
    assert body["team_id"] == sim.bot.team and body["authorizations"][0]["user_id"] == sim.bot.bot_user
    await eventually(lambda: sim.world.delivered == 1)


async def test_a_mention_comes_twice_and_the_bots_own_words_come_back(
    both: tuple[Simulator, AsyncWebClient],
) -> None:
    sim, client = both
    async with receiving(sim) as receiver:
        said = sim.say("ben", "@parley what now?", "#general")
        events = await receiver.until(2)
        assert sorted(e["type"] for e in events) == ["app_mention", "message"]
        assert {e["ts"] for e in events} == {said["ts"]}
        assert len({body["event_id"] for body in receiver.events}) == 2
        assert f"<@{sim.bot.bot_user}>" in events[0]["text"]
        await client.chat_postMessage(channel=said["channel"], text="this")
        own = (await receiver.until(3))[2]
        assert own["bot_id"] == sim.bot.bot_id and own["user"] == sim.bot.bot_user


async def test_a_failed_event_is_retried_three_times_and_given_up(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with receiving(sim) as receiver:
        receiver.statuses = [500, 503, 200]
        sim.say("ada", "hello")
        await receiver.until(3)
        assert receiver.retries == [("", ""), ("1", "http_error"), ("2", "http_error")]
        assert len({body["event_id"] for body in receiver.events}) == 1
        receiver.statuses = [500] * 4
        sim.say("ada", "never")
        await receiver.until(7)
        await eventually(lambda: sim.world.lost == 1)
        receiver.statuses, receiver.headers = [500], {"X-Slack-No-Retry": "1"}
        sim.say("ada", "once")
        await receiver.until(8)
        await eventually(lambda: sim.world.lost == 2)
        assert not sim.world.pending


async def test_a_slow_app_gets_it_again(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    sim.world.pace.ack = 0.05
    async with receiving(sim) as receiver:
        released = asyncio.Event()

        async def gate(payload: JsonObject) -> None:
            await released.wait()

        receiver.gate = gate
        sim.say("ada", "hello")
        await eventually(lambda: any(one.attempts == 2 for one in sim.world.pending.values()))
        assert len(sim.world.pending) == 1
        receiver.gate = None
        released.set()
        await eventually(lambda: ("1", "http_timeout") in receiver.retries)


async def test_a_url_must_send_the_challenge_back(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    with pytest.raises(Refused, match="challenge"):
        await sim.subscribe(f"{sim.url}/nowhere")


async def test_socket_mode_acknowledges_and_repeats(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    sim.world.pace.ack = 0.05
    async with listening(sim) as listener:
        assert listener.hellos[0]["num_connections"] == 1
        listener.silent = 1
        sim.say("ada", "hello")
        await eventually(lambda: sim.world.delivered == 1)
        assert listener.texts() == ["hello", "hello"]
        assert [(e.retry_attempt, e.retry_reason) for e in listener.envelopes] == [(0, ""), (1, "timeout")]
    await eventually(lambda: sim.world.connections == 0)


async def test_connections_share_events_and_go_when_told(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with listening(sim) as one, listening(sim) as two:
        assert two.hellos[0]["num_connections"] == 2
        for number in range(4):
            sim.say("ada", f"{number}")
        await eventually(lambda: sim.world.delivered == 4)
        assert sorted(one.texts() + two.texts()) == ["0", "1", "2", "3"]
        assert len(one.texts()) == 2
        assert await sim.sockets.disconnect("refresh_requested") == 2
        await eventually(lambda: len(one.hellos) == 2 and len(two.hellos) == 2)
        sim.say("ada", "after")
        await eventually(lambda: "after" in one.texts() + two.texts())
