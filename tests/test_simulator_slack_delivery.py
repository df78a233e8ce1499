"""How events reach an app: signed POSTs with retries, and Socket Mode by the real client; what faults do to both."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack import assistant, files, founding, outages, people
from simulators.slack.errors import Refused
from simulators.slack.flood import FloodControl, FloodLimits
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config
from simulators.slack.values import JsonObject
from tests.simulator_slack_kit import eventually, listening, receiving, serving, talking


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


async def test_people_in_channels_cause_events(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    world, team = sim.world, sim.team()
    ada, ben = world.users[sim.user("ada")], world.users[sim.user("ben")]
    general = world.channels[sim.channel("general")]
    async with receiving(sim) as receiver:
        first = sim.say("ada", "one", "#general")
        people.edit(world, general, ada, first["ts"], "one, @parley")
        people.react(world, general, ben, first["ts"], "eyes")
        people.react(world, general, ben, first["ts"], "eyes", away=True)
        people.delete(world, general, ada, first["ts"])
        made = founding.add_channel(world, team.id, "new", "group", [ada, ben], False)
        sim.say("ada", "nobody hears", "new")
        people.join(world, made, world.users[sim.bot.bot_user])
        people.leave(world, made, ben)
        people.open_home(world, ada, "home")
        opened = sim.open_thread("ada", "#support")
        assistant.move_context(world, sim.bot, ada, opened["ts"], general)
        upload = files.store(world, team.id, ada.id, "a.txt", "", b"hello")
        people.write(world, people.find_channel(world, team, ada, None), ada, "see", opened["ts"], [upload])
        events = await receiver.until(12)
    kinds = [(e["type"], e.get("subtype", "")) for e in events]
    assert sorted(kinds) == sorted([
        ("message", ""), ("message", "message_changed"), ("app_mention", ""), ("reaction_added", ""),
        ("reaction_removed", ""), ("message", "message_deleted"), ("member_joined_channel", ""),
        ("member_left_channel", ""), ("app_home_opened", ""), ("assistant_thread_started", ""),
        ("assistant_thread_context_changed", ""), ("message", "file_share"),
    ])  # fmt: skip
    by_kind = dict(zip(kinds, events, strict=True))
    changed = by_kind["message", "message_changed"]
    assert changed["previous_message"]["text"] == "one" and changed["message"]["edited"]["user"] == ada.id
    assert by_kind["reaction_added", ""]["item"]["ts"] == first["ts"]
    assert by_kind["member_joined_channel", ""]["user"] == sim.bot.bot_user
    assert by_kind["assistant_thread_started", ""]["assistant_thread"]["context"]["channel_id"] == sim.channel(
        "support"
    )
    shared = by_kind["message", "file_share"]
    assert shared["files"][0]["url_private_download"].startswith(sim.url) and shared["thread_ts"] == opened["ts"]


async def test_calls_can_fail_in_every_way(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    place = sim.channel("ada")
    sim.fault("status", "chat.postMessage", code=503, count=1)
    sim.fault("status", "chat.postMessage", code=429, retry_after=7, count=1)
    sim.fault("status", "chat.postMessage", code=200, description="fatal_error", count=1)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=place, text="one")
    assert caught.value.response.status_code == 503
    with pytest.raises(SlackApiError, match="ratelimited") as caught:
        await client.chat_postMessage(channel=place, text="two")
    assert caught.value.response.headers["Retry-After"] == "7"
    with pytest.raises(SlackApiError, match="fatal_error"):
        await client.chat_postMessage(channel=place, text="three")
    sim.fault("drop_before", "chat.*", count=1)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=place, text="four")
    assert sim.sends() == []
    sim.fault("drop_after", "chat.postMessage", count=1)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=place, text="five")
    assert [entry["text"] for entry in sim.sends()] == ["five"]
    slow = AsyncWebClient(token=sim.bot.token, base_url=sim.api_url, timeout=1)
    slow.retry_handlers.clear()
    sim.fault("hang_after", "chat.postMessage", count=1)
    with pytest.raises(TimeoutError):
        await slow.chat_postMessage(channel=place, text="six")
    assert [entry["text"] for entry in sim.sends()] == ["five", "six"]
    sim.fault("delay", "auth.test", ms=30, count=1)
    await client.auth_test()


async def test_events_come_twice_late_or_never(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with receiving(sim) as receiver:
        sim.fault("duplicate", "message", count=1)
        sim.say("ada", "twice")
        await receiver.until(2)
        assert receiver.events[0]["event_id"] == receiver.events[1]["event_id"]
        await eventually(lambda: not sim.world.pending)
        sim.fault("reorder", "message", count=1, ms=5000)
        sim.say("ada", "late")
        assert len(sim.world.pending) == 1
        sim.say("ada", "early")
        events = await receiver.until(4)
        assert [e["text"] for e in events[2:]] == ["early", "late"]
        sim.fault("deaf", count=1)
        sim.say("ada", "unheard")
        sim.say("ada", "heard")
        events = await receiver.until(5)
        assert events[-1]["text"] == "heard" and sim.world.lost == 1
        sim.fault("bad_signature", count=1)
        sim.say("ada", "forged")
        await receiver.until(6)
        assert receiver.signed == [True] * 5 + [False]


async def test_a_socket_may_close_under_an_event(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    sim.world.pace.retries = (0.5, 0.5, 0.5)
    async with listening(sim) as listener:
        sim.fault("close_socket", "message", count=1)
        sim.say("ada", "hello")
        await eventually(lambda: len(listener.hellos) == 2)
        await eventually(lambda: sim.world.delivered == 1)
        assert listener.texts() == ["hello"]
        assert listener.envelopes[0].retry_reason == "connection_failed"


async def test_after_an_outage_everything_waiting_comes(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    async with receiving(sim) as receiver:
        number = sim.fault("outage")
        with pytest.raises(aiohttp.ClientError):
            await client.auth_test()
        for word in ("one", "two"):
            sim.say("ada", word)
        assert len(sim.world.pending) == 2 and receiver.events == []
        outages.disarm(sim.world, number)
        assert sorted(e["text"] for e in await receiver.until(2)) == ["one", "two"]
        assert receiver.retries == [("", ""), ("", "")]
        await client.auth_test()


async def test_an_app_token_is_not_for_everything(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    for token, error in ((sim.bot.token, "not_allowed_token_type"), ("xapp-none", "invalid_auth")):
        with pytest.raises(SlackApiError, match=error):
            await client.apps_connections_open(app_token=token)
    url = (await client.apps_connections_open(app_token=sim.app.app_token))["url"]
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_socket_mode_comes_back_after_an_outage(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with listening(sim) as listener:
        sim.fault("outage", ms=400)
        await eventually(lambda: sim.world.connections == 0)
        sim.say("ada", "hello")
        sim.world.pace.retries = (0.5, 0.5, 0.5)
        await eventually(lambda: sim.world.delivered == 1)
        assert listener.texts() == ["hello"] and len(listener.hellos) == 2


async def test_a_configured_url_gets_its_challenge() -> None:
    came: list[JsonObject] = []

    async def handle(request: web.Request) -> web.Response:
        came.append(await request.json())
        return web.json_response({"challenge": came[-1].get("challenge", "")})

    async with serving(handle) as url, run_simulator(config=Config(seed=1, request_url=url)) as sim:
        await eventually(lambda: sim.app.verified)
        sim.say("ada", "hello")
        await eventually(lambda: sim.world.delivered == 1)
    assert [body["type"] for body in came] == ["url_verification", "event_callback"]


def test_tiers_differ_by_method_and_posts_by_channel() -> None:
    flood = FloodControl(FloodLimits())
    assert [flood.refuse("chat.startStream", 2, "T", "", 0.0) for _ in range(21)] == [0] * 20 + [3]
    assert flood.refuse("chat.stopStream", 2, "T", "", 0.0) == 0
    assert flood.refuse("chat.startStream", 2, "T2", "", 0.0) == 0
    assert flood.refuse("chat.startStream", 2, "T", "", 3.0) == 0
    assert [flood.refuse("chat.postMessage", 0, "T", "C", 0.0) for _ in range(5)] == [0, 0, 0, 0, 1]
    assert flood.refuse("chat.postMessage", 0, "T", "D", 0.0) == 0
