"""What surrounds an answer: an assistant thread's status, title and prompts, buttons, forms, commands, installing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from channels.slack import CHANNEL
from channels.slack.acknowledge import acknowledge, form
from channels.slack.assistant import typing
from channels.slack.install import install
from channels.slack.parse import parse
from channels.slack.render import render
from channels.slack.requests import decode, immediate
from channels.slack.send import send
from kernel.types import Account, InboundMessage, Json, NotSent, Refused, Reply, Sent
from simulators.slack.state import Config
from tests.slack_parts import Bot, Ear, eventually, listening, message_of, talking

UNIT = render(Reply("Far away.", feedback="turn_1"), {})[0]


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    """Listens to what comes in over a socket."""
    async with talking(mode="socket") as made, listening(made) as (ear, _):
        yield ear


@pytest.fixture
def bot(ear: Ear) -> Bot:
    return ear.bot


async def do(bot: Bot, what: str, **body: Any) -> Json:
    answer = await bot.wire.sessions.send.post(f"{bot.simulator.url}/sim/{what}", json=body)
    assert answer.status == 200, await answer.text()
    told: Json = await answer.json()
    return told


async def test_an_assistant_thread_greets_offers_and_is_named(bot: Bot, ear: Ear) -> None:
    opened = await do(bot, "threads", user="ada")
    hello = await ear.next()
    assert (hello.command, hello.address["thread_ts"]) == ("start", opened["ts"])
    thread = bot.simulator.world.channels[opened["channel"]].threads[opened["ts"]]
    assert isinstance(await send(bot.client, hello.address, UNIT, False, "out_0"), Sent)
    assert [one["message"] for one in thread["prompts"]] == ["!help", "!new"] and not thread["title"]

    bot.simulator.say("ada", "how far is\nthe moon?", None, opened["ts"])
    asked = await ear.next()
    assert asked.conversation_key == hello.conversation_key
    await typing(bot.client, asked.address)
    assert thread["status"] == "is thinking…"
    assert isinstance(await send(bot.client, asked.address, UNIT, False, "out_1"), Sent)
    assert thread["title"] == "how far is the moon?"

    bot.simulator.say("ada", "and the sun?", None, opened["ts"])
    await send(bot.client, (await ear.next()).address, UNIT, False, "out_2")
    assert thread["title"] == "how far is the moon?"


async def test_the_sign_that_we_think_is_tried_where_there_is_one(bot: Bot) -> None:
    await typing(bot.client, bot.address("ada"))
    assert "assistant.threads.setStatus" not in bot.simulator.world.calls
    asked = bot.simulator.say("ada", "@parley how far?", "#support")
    await typing(bot.client, bot.address(thread_ts=asked["ts"]))
    assert bot.simulator.world.calls["assistant.threads.setStatus"]["ok"] == 1


@pytest.mark.parametrize("fault", [{"code": 200, "description": "missing_scope"}, {"code": 429, "retry_after": 30}])
async def test_a_sign_that_slack_does_not_allow_is_not_asked_for_again(bot: Bot, fault: Json) -> None:
    asked = bot.simulator.say("ada", "@parley how far?", "#support")
    bot.simulator.fault("status", "assistant.*", **fault)
    for _ in range(3):
        await typing(bot.client, bot.address(thread_ts=asked["ts"]))
    assert sum(bot.simulator.world.calls["assistant.threads.setStatus"].values()) == 1
    bot.simulator.fault("outage")
    await typing(bot.client, bot.address(thread_ts=asked["ts"]))


async def pressed(ear: Ear, label: str, channel: str = "#support") -> InboundMessage:
    """An answer in a thread, and ada's press of the button that shows `label`."""
    bot = ear.bot
    asked = bot.simulator.say("ada", "@parley how far?", channel)
    assert (await ear.next()).kind == "text"
    assert await ear.next() == ear.messages[0]  # the mention tells the same
    done = await send(bot.client, bot.address(channel, thread_ts=asked["ts"]), UNIT, False, "out_1")
    assert isinstance(done, Sent)
    entry = bot.simulator.sends()[-1]
    buttons = [element for block in entry["blocks"] for element in block["elements"] if element.get("type") == "button"]
    [button] = [one for one in buttons if one["text"]["text"] == label]
    body = {"user": "ada", "channel": done.receipt["channel"], "ts": done.receipt["ts"]}
    await do(bot, "presses", action_id=button["action_id"], **body)
    return await ear.next()


async def test_praise_is_thanked_for_in_private(bot: Bot, ear: Ear) -> None:
    press = await pressed(ear, "👍")
    assert (press.kind, press.detail, press.about) == ("feedback", "up", "turn_1")
    await acknowledge(bot.client, press, "Thank you & goodbye!")
    [held] = bot.simulator.world.channels[press.chat].ephemerals
    assert held["user"] == bot.simulator.user("ada")
    assert held["message"]["text"] == "Thank you &amp; goodbye!" and held["message"]["thread_ts"]
    await acknowledge(bot.client, press, "")
    assert len(bot.simulator.world.channels[press.chat].ephemerals) == 1


async def test_blame_opens_a_form_whose_words_are_feedback(bot: Bot, ear: Ear) -> None:
    press = await pressed(ear, "👎")
    await acknowledge(bot.client, press, "I am sorry.")
    assert bot.simulator.world.channels[press.chat].ephemerals == []
    await do(bot, "submissions", user="ada", values={"comment": "It is further away."})
    comment = await ear.next()
    assert (comment.kind, comment.detail, comment.text) == ("feedback", "down", "It is further away.")
    assert (comment.about, comment.conversation_key) == ("turn_1", press.conversation_key)
    assert comment.message_ref == press.message_ref and comment.sender.external_id == press.sender.external_id


async def test_too_late_for_a_form_a_line_has_to_do(bot: Bot, ear: Ear) -> None:
    press = await pressed(ear, "👎")
    bot.simulator.world.pace.trigger = -1.0
    await acknowledge(bot.client, press, "I am sorry.")
    [held] = bot.simulator.world.channels[press.chat].ephemerals
    assert held["message"]["text"] == "I am sorry."


async def test_only_slack_is_answered(bot: Bot, ear: Ear) -> None:
    press = await pressed(ear, "👍")
    for url in (
        "https://hooks.slack.com.example.com/x",
        "http://hooks.slack.com/x",
        "https://10.0.0.1/",
        "nonsense",
        "",
    ):
        elsewhere = replace(press, press=json.dumps({"url": url, "trigger": ""}))
        await acknowledge(bot.client, elsewhere, "Thank you!")
    assert bot.simulator.world.channels[press.chat].ephemerals == []
    bot.simulator.fault("outage")
    await acknowledge(bot.client, press, "Thank you!")


def test_a_form_is_what_slack_takes() -> None:
    where = {"team": "T1", "channel": "C1", "thread_ts": "1.000001"}
    sender = message_of(parse(Account("w", "a", "slack", "webhook", {}, {}, {}), _reaction())).sender
    view = form(InboundMessage("x", "k", "feedback", sender, "", where, message_ref="2.000002", about="turn_1"))
    assert len(view["title"]["text"]) <= 24
    meta = json.loads(view["private_metadata"])
    assert meta == {"turn": "turn_1", "channel": "C1", "thread_ts": "1.000001", "ts": "2.000002"}


def _reaction() -> Json:
    bot = [{"team_id": "T1", "user_id": "U9", "is_bot": True}]
    event = {"type": "reaction_added", "user": "U1", "reaction": "+1", "item_user": "U9", "event_ts": "1.5"}
    event["item"] = {"type": "message", "channel": "C1", "ts": "1.000001"}  # type: ignore[assignment]
    return {"type": "event_callback", "team_id": "T1", "event": event, "authorizations": bot}


async def test_a_command_is_shown_where_it_was_given(bot: Bot, ear: Ear) -> None:
    told = await do(bot, "commands", user="ada", channel="#support", command="/parley", text="how far is the moon?")
    assert told["id"]
    asked = await ear.next()
    assert immediate(bot.account, ear.updates[-1]) == {"response_type": "in_channel"}
    done = await send(bot.client, asked.address, UNIT, False, "out_1")
    assert isinstance(done, Sent) and done.receipt["channel"] == bot.simulator.channel("#support")


async def test_everything_over_http_is_signed_decoded_and_understood() -> None:
    """The simulator's own deliveries, through verify, decode, immediate and parse."""
    from aiohttp import web

    async with talking(Config(seed=5)) as bot:
        taken: list[InboundMessage] = []

        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            if not CHANNEL.verify(bot.account, request.headers, body):
                return web.Response(status=401)
            update = decode(request.headers, body)
            taken.extend(one for one in parse(bot.account, update) if isinstance(one, InboundMessage))
            answer = immediate(bot.account, update)
            return web.Response() if answer is None else web.json_response(answer)

        app = web.Application()
        app.router.add_post("/hook", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            await bot.simulator.subscribe(f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
            bot.simulator.fault("bad_signature", "message", count=1)
            bot.simulator.say("ada", "hello & welcome")
            await do(bot, "commands", user="ada", channel="#support", command="/parley", text="new")
            await eventually(lambda: bot.simulator.world.delivered == 2)
            assert sorted((one.kind, one.command, one.text) for one in taken) == [
                ("command", "new", ""),
                ("text", "", "hello & welcome"),
            ]
            assert bot.simulator.world.lost == 0
        finally:
            await runner.cleanup()


async def test_installing_checks_every_token(bot: Bot) -> None:
    profile = bot.account.profile
    assert profile["team"] == bot.simulator.team().id and profile["bot_user_id"] == bot.simulator.bot.bot_user
    assert profile["id"] == f"{profile['team']}:{profile['bot_user_id']}" and profile["username"] == "parley"
    good = bot.account.credentials

    async def outcome(mode: str, **credentials: str) -> Json | Refused | NotSent:
        return await install(replace(bot.account, mode=mode, credentials={**good, **credentials}), bot.wire, "")

    assert await outcome("webhook", bot_token="xoxb-wrong") == Refused("unauthorized", "invalid_auth")
    assert await outcome("socket", app_token="xapp-wrong") == Refused("unauthorized", "invalid_auth")
    assert isinstance(await outcome("socket"), dict)
    assert await outcome("webhook", bot_token="") == {}
    bot.simulator.fault("outage")
    assert isinstance(await outcome("webhook"), NotSent)


def test_a_process_without_a_slack_bot_does_not_pay_for_slack() -> None:
    import subprocess
    import sys

    found = "import sys, channels.table; print([name for name in sys.modules if name.startswith('slack_')])"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
