"""What becomes of a message to Slack, over a real wire to the simulated one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.slack.client import Answer, NoAnswer, answer_of
from channels.slack.install import open_bot
from channels.slack.render import render
from channels.slack.send import edit, outcome, send
from channels.wire import open_wire
from kernel.settings import Settings
from kernel.types import NotSent, Refused, Reply, Sent, Unit, Unknown
from simulators.slack.state import Config
from tests.slack_parts import Bot, account, talking

UNIT = render(Reply("Rivers *run* <!channel>."), {})[0]


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with talking() as made:
        yield made


async def test_a_message_arrives_in_its_thread_with_its_marker(bot: Bot) -> None:
    asked = bot.simulator.say("ada", "@parley rivers?", "#support")
    done = await send(bot.client, bot.address(thread_ts=asked["ts"]), UNIT, False, "out_1")
    [entry] = bot.simulator.sends()
    assert done == Sent({"channel": asked["channel"], "ts": entry["ts"], "team": asked["team"]})
    assert entry["thread_ts"] == asked["ts"] and entry["text"] == "Rivers run &lt;!channel&gt;."
    assert entry["metadata"] == {"event_type": "parley_unit", "event_payload": {"key": "out_1"}}
    assert entry["blocks"][0]["type"] == "rich_text"


async def test_plain_text_stands_as_it_is(bot: Bot) -> None:
    assert isinstance(await send(bot.client, bot.address("ada"), UNIT, True, "out_1"), Sent)
    [entry] = bot.simulator.sends()
    assert entry["blocks"] == [] and entry["request"]["mrkdwn"] is False
    assert entry["text"] == "Rivers run &lt;!channel&gt;."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("invalid_blocks", Refused("invalid_blocks", "invalid_blocks", plainer=True)),
        ("msg_blocks_too_long", Refused("msg_blocks_too_long", "msg_blocks_too_long", plainer=True)),
        ("is_archived", Refused("is_archived", "is_archived", blocked=True)),
        ("account_inactive", Refused("account_inactive", "account_inactive")),
        ("token_revoked", Refused("token_revoked", "token_revoked")),
        ("internal_error", Unknown("internal_error")),
        ("fatal_error", Unknown("fatal_error")),
        ("service_unavailable", NotSent("service_unavailable")),
    ],
)
async def test_refusals(bot: Bot, error: str, expected: object) -> None:
    bot.simulator.fault("status", "chat.postMessage", code=200, description=error)
    assert await send(bot.client, bot.address(), UNIT, False, "out_1") == expected
    assert bot.simulator.sends() == []


async def test_a_refused_plain_message_is_not_asked_to_be_plainer(bot: Bot) -> None:
    bot.simulator.fault("status", "chat.postMessage", code=200, description="invalid_blocks")
    done = await send(bot.client, bot.address(), UNIT, True, "out_1")
    assert done == Refused("invalid_blocks", "invalid_blocks", plainer=False)


async def test_blocks_that_slack_does_not_take_ask_for_plain_text(bot: Bot) -> None:
    wrong = Unit({"text": "x", "blocks": [{"type": "nonsense"}]}, "x")
    done = await send(bot.client, bot.address(), wrong, False, "out_1")
    assert isinstance(done, Refused) and done.plainer
    assert isinstance(await send(bot.client, bot.address(), wrong, True, "out_1"), Sent)


async def test_a_rate_limit_says_when_to_come_back(bot: Bot) -> None:
    bot.simulator.fault("status", "chat.postMessage", code=429, retry_after=7)
    assert await send(bot.client, bot.address(), UNIT, False) == NotSent("ratelimited", 7.0, "chat")


@pytest.mark.parametrize(
    ("kind", "sent"), [("drop_before", 0), ("drop_after", 1)], ids=["before it was taken", "after it was taken"]
)
async def test_a_broken_connection_leaves_the_outcome_open(bot: Bot, kind: str, sent: int) -> None:
    bot.simulator.fault(kind, "chat.postMessage")
    assert isinstance(await send(bot.client, bot.address(), UNIT, False, "out_1"), Unknown)
    assert len(bot.simulator.sends()) == sent


async def test_a_server_error_leaves_the_outcome_open(bot: Bot) -> None:
    bot.simulator.fault("status", "chat.postMessage", code=503, description="broken")
    assert isinstance(await send(bot.client, bot.address(), UNIT, False, "out_1"), Unknown)


async def test_silence_is_waited_for_within_bounds(bot: Bot) -> None:
    bot.simulator.fault("hang_after", "chat.postMessage")
    with pytest.raises(NoAnswer):
        await bot.client.call(bot.address()["team"], "chat.postMessage", {"channel": "C1", "text": "x"}, -4.9)


async def test_nobody_there_means_not_sent() -> None:
    wire = open_wire(Settings.read({"SLACK_API_BASE_URL": "http://127.0.0.1:1/api"}))
    try:
        client = await open_bot(account(), wire)
        done = await send(client, {"team": "T1", "channel": "C1"}, UNIT, False, "out_1")
        assert isinstance(done, NotSent)
    finally:
        await wire.close()


async def test_where_the_bot_is_not_a_command_is_answered_in_direct_messages(bot: Bot) -> None:
    made = await bot.wire.sessions.send.post(
        f"{bot.simulator.url}/sim/channels", json={"name": "others", "kind": "group", "bot": False}
    )
    channel = (await made.json())["id"]
    address = {**bot.address(), "channel": channel}
    refused = await send(bot.client, address, UNIT, False, "out_1")
    assert refused == Refused("channel_not_found", "channel_not_found", blocked=True)
    done = await send(bot.client, {**address, "otherwise": bot.simulator.user("ada")}, UNIT, False, "out_1")
    assert isinstance(done, Sent) and done.receipt["channel"] == bot.simulator.channel("ada")


async def test_an_edit_takes_the_place_of_a_message(bot: Bot) -> None:
    posted = await send(bot.client, bot.address(), Unit({"text": "thinking"}, "thinking"), False, "out_0")
    assert isinstance(posted, Sent)
    for _ in range(2):
        assert await edit(bot.client, bot.address(), posted.receipt, UNIT, False, "out_1") == posted
    assert bot.texts() == ["Rivers run &lt;!channel&gt;."]
    assert bot.simulator.sends()[-1]["metadata"]["event_payload"] == {"key": "out_1"}
    plain = Unit({"text": "x", "blocks": [{"type": "nonsense"}]}, "A & B")
    done = await edit(bot.client, bot.address(), posted.receipt, plain, False, "out_2")
    assert isinstance(done, Refused) and done.plainer
    assert await edit(bot.client, bot.address(), posted.receipt, plain, True, "out_2") == posted
    last = bot.simulator.sends()[-1]
    assert (last["text"], last["blocks"]) == ("A &amp; B", [])


async def test_a_message_that_is_gone_cannot_be_edited(bot: Bot) -> None:
    receipt = {"channel": bot.simulator.channel("#support"), "ts": "1.000001", "team": bot.address()["team"]}
    refused = Refused("message_not_found", "message_not_found")
    assert await edit(bot.client, bot.address(), receipt, UNIT, False, "out_1") == refused
    gone = await edit(bot.client, bot.address(), {"awaited": True}, UNIT, False, "out_1")
    assert isinstance(gone, Refused) and gone.code == "message_not_found"


async def test_an_edit_under_way_may_break_off_and_is_repeated(bot: Bot) -> None:
    posted = await send(bot.client, bot.address(), UNIT, False, "out_0")
    assert isinstance(posted, Sent)
    number = bot.simulator.fault("drop_after", "chat.update", count=1)
    assert number
    other = Unit({"text": "done"}, "done")
    assert isinstance(await edit(bot.client, bot.address(), posted.receipt, other, False, "out_1"), Unknown)
    assert await edit(bot.client, bot.address(), posted.receipt, other, False, "out_1") == posted
    assert bot.texts() == ["done"]


def test_answers_that_are_none() -> None:
    with pytest.raises(NoAnswer):
        answer_of(502, {}, b"<html>Bad gateway</html>")
    with pytest.raises(NoAnswer):
        answer_of(200, {}, b'{"channel": "C1"}')
    assert answer_of(429, {}, b"slow down") == Answer(429, "ratelimited", retry_after=1.0)
    assert answer_of(200, {"Retry-After": "3"}, b'{"ok": false, "error": "ratelimited"}').retry_after == 3.0
    assert outcome(Answer(200, data={"ok": True}), "T1", plain=False) == Unknown("an answer without channel and ts")


async def test_real_limits_are_met() -> None:
    async with talking(Config(seed=5, flood=True)) as bot:
        outcomes = [await send(bot.client, bot.address(), UNIT, False, f"out_{n}") for n in range(6)]
        assert isinstance(outcomes[0], Sent)
        last = outcomes[-1]
        assert isinstance(last, NotSent) and last.retry_after is not None and last.retry_after >= 1
