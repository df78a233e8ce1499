"""Settling sends that broke off, reading what was said meanwhile, fetching files: all over the wire."""

from __future__ import annotations

import importlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from channels.slack.client import SlackClient
from channels.slack.fetch import fetch
from channels.slack.find import find
from channels.slack.history import history
from channels.slack.install import SCOPES, open_bot, probe
from channels.slack.parse import parse
from channels.slack.send import send
from kernel.types import Absent, Attachment, Disconnected, InboundMessage, Json, NotSent, Refused, Sent, Unit, Unknown
from simulators.slack.state import Config
from tests.slack_parts import Bot, message_of, talking

UNIT = Unit({"text": "An answer"}, "An answer")
FINDING = importlib.import_module("channels.slack.find")


@pytest.fixture
async def bot(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bot]:
    monkeypatch.setattr(FINDING, "AGAIN_SECONDS", 0.02)
    async with talking() as made:
        yield made


@pytest.mark.parametrize("threaded", [False, True], ids=["channel", "thread"])
async def test_a_send_that_broke_off_is_found_by_its_marker(bot: Bot, threaded: bool) -> None:
    asked = bot.simulator.say("ada", "@parley rivers?", "#support")
    address = bot.address(thread_ts=asked["ts"]) if threaded else bot.address()
    since = time.time() - 30
    await send(bot.client, address, UNIT, False, "out_0")
    bot.simulator.fault("drop_after", "chat.postMessage", count=1)
    assert isinstance(await send(bot.client, address, UNIT, False, "out_1"), Unknown)
    found = await find(bot.client, address, UNIT, "out_1", since)
    last = bot.simulator.sends()[-1]
    assert found == Sent({"channel": last["channel"], "ts": last["ts"], "team": address["team"]})


async def test_what_never_arrived_is_absent_only_when_it_is_old_enough(bot: Bot) -> None:
    bot.simulator.fault("drop_before", "chat.postMessage", count=1)
    assert isinstance(await send(bot.client, bot.address(), UNIT, False, "out_1"), Unknown)
    assert await find(bot.client, bot.address(), UNIT, "out_1", time.time() - 30) == Absent()
    assert isinstance(await find(bot.client, bot.address(), UNIT, "out_1", time.time()), Unknown)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_before"},
        {"kind": "status", "code": 429, "retry_after": 3},
        {"kind": "status", "code": 200, "description": "missing_scope"},
        {"kind": "status", "code": 503},
    ],
)
async def test_when_slack_does_not_tell_nothing_is_known(bot: Bot, fault: Json) -> None:
    bot.simulator.fault(fault["kind"], "conversations.*", **{k: v for k, v in fault.items() if k != "kind"})
    assert isinstance(await find(bot.client, bot.address(), UNIT, "out_1", time.time() - 30), Unknown)


async def test_a_busy_channel_is_read_page_by_page(bot: Bot) -> None:
    since = time.time() - 30
    assert isinstance(await send(bot.client, bot.address(), UNIT, False, "out_1"), Sent)
    for n in range(450):
        bot.simulator.say("ben", f"noise {n}", "#support")
    assert isinstance(await find(bot.client, bot.address(), UNIT, "out_1", since), Sent)


async def test_an_answer_that_went_to_direct_messages_is_found_there(bot: Bot) -> None:
    address = {**bot.address(), "channel": "C0UNKNOWN", "otherwise": bot.simulator.user("ada")}
    since = time.time() - 30
    assert isinstance(await send(bot.client, address, UNIT, False, "out_1"), Sent)
    found = await find(bot.client, address, UNIT, "out_1", since)
    assert isinstance(found, Sent) and found.receipt["channel"] == bot.simulator.channel("ada")


async def caught_up(bot: Bot, since: float) -> list[InboundMessage]:
    found = [one async for update in history(bot.client, bot.account, since) for one in parse(bot.account, update)]
    return [one for one in found if isinstance(one, InboundMessage)]


async def test_what_was_said_meanwhile_is_read_oldest_first_and_once(bot: Bot) -> None:
    said = bot.simulator.say
    old = said("ada", "@parley rivers?", "#support")
    said("ben", "before all that", "#general")
    direct = said("ada", "an old question")
    since = float(direct["ts"])
    reply = said("ada", "and the other one?", "#support", thread_ts=old["ts"])
    second = said("ben", "how far is the moon?")
    await send(bot.client, bot.address("ben"), UNIT, False, "out_1")
    third = said("chloe", "@parley and the sun?", "#general")
    await edited(bot, "#support", old["ts"], "@parley lakes?")
    heard = await caught_up(bot, since)
    assert [(one.kind, one.text) for one in heard] == [
        ("text", "and the other one?"),
        ("text", "how far is the moon?"),
        ("text", "and the sun?"),
        ("edit", "lakes?"),
    ]
    assert [one.external_id.split(":")[-1] for one in heard[:3]] == [reply["ts"], second["ts"], third["ts"]]
    assert heard[0].conversation_key.endswith(old["ts"]) and heard[0].thread
    assert [one.private for one in heard] == [False, True, False, False]


async def edited(bot: Bot, channel: str, ts: str, text: str) -> None:
    body = {"user": "ada", "channel": channel, "ts": ts, "text": text}
    answer = await bot.wire.sessions.send.post(f"{bot.simulator.url}/sim/edits", json=body)
    assert answer.status == 200, await answer.text()


async def test_history_tells_what_events_tell(bot: Bot) -> None:
    since = time.time() - 1
    root = bot.simulator.say("ada", "@parley rivers?", "#support")
    bot.simulator.say("ben", "and lakes?", "#support", thread_ts=root["ts"])
    bot.simulator.say("chloe", "hello")
    events = [message_of(parse(bot.account, one.payload)) for one in bot.simulator.world.pending.values()]
    told = {(one.external_id, one.conversation_key, one.text, one.addressed, one.thread) for one in events}
    assert {
        (o.external_id, o.conversation_key, o.text, o.addressed, o.thread) for o in await caught_up(bot, since)
    } == told
    assert len(told) == 3 and len(events) == 4


async def test_history_is_read_to_its_end(bot: Bot) -> None:
    since = time.time() - 1
    for n in range(250):
        bot.simulator.say("ben", f"@parley question {n}", "#general")
    heard = await caught_up(bot, since)
    assert [one.text for one in heard] == [f"question {n}" for n in range(250)]


async def test_rate_limits_are_waited_out(bot: Bot) -> None:
    bot.simulator.fault("status", "conversations.history", code=429, retry_after=1, count=1)
    since = time.time() - 1
    bot.simulator.say("ben", "hello")
    assert [one.text for one in await caught_up(bot, since)] == ["hello"]
    assert bot.simulator.world.calls["conversations.history"]["429"] == 1


async def test_history_without_a_good_token_is_refused_and_in_an_outage_away(bot: Bot) -> None:
    wrong = replace(bot.account, credentials={"bot_token": "xoxb-wrong"})
    client = await open_bot(wrong, bot.wire)
    assert await failed(client, bot) == "refused"
    bot.simulator.fault("status", "users.conversations", code=200, description="internal_error")
    assert await failed(bot.client, bot) == "away"
    bot.simulator.fault("outage")
    assert await failed(bot.client, bot) == "away"


async def failed(client: SlackClient, bot: Bot) -> str:
    with pytest.raises(Disconnected) as caught:
        [_ async for _ in history(client, bot.account, 0.0)]
    return caught.value.kind


async def test_a_channel_that_is_closed_to_us_does_not_hide_the_others(bot: Bot) -> None:
    bot.simulator.fault(
        "status",
        "conversations.history",
        code=200,
        description="missing_scope",
        channel=bot.simulator.channel("#general"),
    )
    since = time.time() - 1
    bot.simulator.say("ben", "@parley here?", "#general")
    bot.simulator.say("ben", "@parley there?", "#support")
    assert [one.text for one in await caught_up(bot, since)] == ["there?"]


async def test_scopes_that_were_left_out_close_their_kind_of_channel_only() -> None:
    kept = tuple(scope for scope in SCOPES if not scope.startswith(("groups:", "mpim:")))
    async with talking(Config(seed=5, scopes=kept)) as bot:
        since = time.time() - 1
        bot.simulator.say("ben", "@parley here?", "#support")
        bot.simulator.say("ben", "hello")
        assert sorted(one.text for one in await caught_up(bot, since)) == ["hello", "here?"]
        health = await probe(bot.client, bot.account, "")
        assert health.ok and "groups:history" in health.detail
    needed = tuple(scope for scope in SCOPES if scope != "im:history")
    async with talking(Config(seed=5, scopes=needed)) as bot:
        health = await probe(bot.client, bot.account, "")
        assert not health.ok and health.detail.endswith("missing scopes im:history")


async def shared(bot: Bot) -> Attachment:
    body = {"user": "ada", "text": "look", "files": [{"name": "notes.txt", "content": "The moon is far."}]}
    answer = await bot.wire.sessions.send.post(f"{bot.simulator.url}/sim/messages", json=body)
    assert answer.status == 200, await answer.text()
    [dispatch] = bot.simulator.world.pending.values()
    [file] = message_of(parse(bot.account, dispatch.payload)).attachments
    return file


async def test_a_file_is_fetched_within_its_limit(bot: Bot) -> None:
    file = await shared(bot)
    assert (file.name, file.mime, file.size, file.kind) == ("notes.txt", "text/plain", 16, "file")
    assert await fetch(bot.client, file, 1000) == b"The moon is far."
    assert await fetch(bot.client, file, 15) == Refused("too_large", "more than 15 bytes")
    gone = replace(file, ref={**file.ref, "file_id": "F0GONE"})
    assert isinstance(await fetch(bot.client, gone, 1000), Refused)
    bot.simulator.fault("outage")
    assert isinstance(await fetch(bot.client, file, 1000), NotSent)


async def test_a_probe_names_what_is_wrong() -> None:
    async with talking(Config(seed=5)) as bot:
        assert (await probe(bot.client, bot.account, "")).ok
        teams = {"T0WRONG": {"bot_token": "xoxb-wrong"}}
        mixed = replace(bot.account, credentials={**bot.account.credentials, "teams": teams})
        health = await probe(await open_bot(mixed, bot.wire), mixed, "")
        assert not health.ok and health.detail == "T0WRONG: invalid_auth"
        none = replace(bot.account, credentials={"signing_secret": "x"})
        assert not (await probe(await open_bot(none, bot.wire), none, "")).ok
        bot.simulator.fault("outage")
        health = await probe(bot.client, bot.account, "")
        assert not health.ok and "does not answer" in health.detail
