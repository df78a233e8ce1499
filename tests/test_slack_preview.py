"""Answers shown while they are made, and what the final answer makes of them."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.heal import heal
from channels.slack.preview import PREVIEW, recover, show, sure_of
from channels.slack.render import render
from channels.slack.send import edit, send
from kernel.types import Json, Reply, Sent, Unit
from simulators.slack.state import Config
from tests.slack_parts import Bot, talking

ANSWER = "The moon is **far away**, `384,400 km`:\n\n- by car\n- by [rail](https://example.com/rail), too\n\nGood luck."
UNIT = render(Reply(ANSWER), {})[0]
SHOWING = importlib.import_module("channels.slack.preview")


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with talking() as made:
        yield made


def threaded(bot: Bot) -> Json:
    asked = bot.simulator.say("ada", "@parley how far?", "#support")
    return bot.address(thread_ts=asked["ts"])


async def shown(bot: Bot, address: Json, answer: str = ANSWER, step: int = 9) -> Json:
    """Shows the answer as it grows; the last state."""
    state: Json = {}
    for end in range(step, len(answer) + step, step):
        found = await show(bot.client, address, state, heal(answer[:end]), "turn_1")
        assert found is not None
        state = found
    return state


def methods(bot: Bot) -> list[str]:
    return [entry["method"] for entry in bot.simulator.sends() if entry["method"].startswith("chat.")]


async def test_in_a_thread_an_answer_is_streamed_and_then_takes_its_final_form(bot: Bot) -> None:
    address = threaded(bot)
    state = await shown(bot, address)
    assert state["mode"] == "stream" and set(methods(bot)) == {"chat.startStream", "chat.appendStream"}
    streamed = bot.texts()[-1]
    assert ANSWER.startswith(streamed) and len(streamed) > len(ANSWER) - 10
    assert await edit(bot.client, address, state, UNIT, False, "out_1") == Sent(
        {key: state[key] for key in ("channel", "ts", "team")}
    )
    assert methods(bot)[-2:] == ["chat.stopStream", "chat.update"]
    assert bot.texts()[-1] == UNIT.payload["text"] and len(bot.texts()) == 2
    assert bot.simulator.sends()[-1]["metadata"]["event_payload"] == {"key": "out_1"}
    again = await edit(bot.client, address, state, UNIT, False, "out_1")
    assert isinstance(again, Sent)


async def test_only_what_is_new_is_appended(bot: Bot) -> None:
    address = threaded(bot)
    await shown(bot, address)
    pieces = [entry["request"]["markdown_text"] for entry in bot.simulator.sends() if "Stream" in entry["method"]]
    assert "".join(pieces) == bot.texts()[-1]


async def test_what_turns_out_otherwise_is_changed_in_place(bot: Bot) -> None:
    address = threaded(bot)
    state = await show(bot.client, address, {}, "The moon is made of cheese, mostly.", "turn_1")
    assert state is not None and state["mode"] == "stream"
    state = await show(bot.client, address, state, "It is made of rock.", "turn_1")
    assert state is not None and state["mode"] == "update"
    assert methods(bot) == ["chat.startStream", "chat.stopStream", "chat.update"]
    assert bot.texts()[-1] == "It is made of rock."
    assert isinstance(await edit(bot.client, address, state, UNIT, False, "out_1"), Sent)


async def test_text_that_shrinks_for_a_moment_stops_nothing(bot: Bot) -> None:
    address = threaded(bot)
    state = await show(bot.client, address, {}, "one two three four", "turn_1")
    assert state is not None
    assert await show(bot.client, address, state, "one two three ", "turn_1") == state
    assert methods(bot) == ["chat.startStream"]


@pytest.mark.parametrize("streaming", [False, True], ids=["an old server", "no thread"])
async def test_elsewhere_a_message_is_changed_again_and_again(streaming: bool) -> None:
    async with talking(Config(seed=5, streaming=streaming)) as bot:
        address = bot.address("ada") if streaming else threaded(bot)
        state = await shown(bot, address, step=40)
        assert state["mode"] == "update"
        assert set(methods(bot)) == {"chat.postMessage", "chat.update"} and "unknown" not in str(bot.texts())
        tried = bot.simulator.world.calls.get("chat.startStream", Counter[str]())
        assert tried["unknown_method"] == (not streaming)
        done = await edit(bot.client, address, state, UNIT, False, "out_1")
        assert isinstance(done, Sent) and done.receipt["ts"] == state["ts"]
        assert "chat.stopStream" not in methods(bot)


async def test_a_stream_that_slack_has_ended_is_finished_by_changing_it(bot: Bot) -> None:
    address = threaded(bot)
    state = await show(bot.client, address, {}, "one two three", "turn_1")
    assert state is not None
    bot.simulator.world.pace.stream = -1.0
    state = await show(bot.client, address, state, "one two three four five", "turn_1")
    assert state is not None and state["mode"] == "update"
    assert bot.texts()[-1] == "one two three four five"


async def test_nothing_calls_people_while_it_is_made(bot: Bot) -> None:
    await show(bot.client, threaded(bot), {}, "ask <!channel> or @here & <@U1> now, > quoted", "turn_1")
    assert bot.texts()[-1] == "ask &lt;!channel> or @\u200bhere &amp; &lt;@U1> now, > "


async def test_limits_are_waited_out_in_silence(bot: Bot) -> None:
    address = threaded(bot)
    bot.simulator.fault("status", "chat.startStream", code=429, retry_after=1, count=1)
    assert await show(bot.client, address, {}, "one two three", "turn_1") == {}
    state = await show(bot.client, address, {}, "one two three", "turn_1")
    assert state is not None and state["streamed"] == 8
    bot.simulator.fault("status", "chat.appendStream", code=429, retry_after=30, count=1)
    for _ in range(3):
        assert await show(bot.client, address, state, "one two three four five", "turn_1") == state
    assert bot.simulator.world.calls["chat.appendStream"]["429"] == 1
    assert isinstance(await edit(bot.client, address, state, UNIT, False, "out_1"), Sent)


@pytest.mark.parametrize("place", ["thread", "direct"])
async def test_a_preview_whose_poster_died_is_recovered(bot: Bot, place: str) -> None:
    address = threaded(bot) if place == "thread" else bot.address("ada")
    await send(bot.client, address, Unit({"text": "an earlier answer"}, ""), False, "out_0")
    since = time.time()
    state = await show(bot.client, address, {}, "one two three", "turn_1")
    assert state is not None
    found = await recover(bot.client, address, "turn_1", since)
    assert found is not None and (found["ts"], found["mode"]) == (state["ts"], state["mode"])
    assert isinstance(await edit(bot.client, address, found, UNIT, False, "out_1"), Sent)
    assert await recover(bot.client, address, "turn_1", since) is None
    assert len(bot.texts("#support" if place == "thread" else "ada")) == 2 + (place == "thread")


@pytest.mark.parametrize("place", ["thread", "direct"])
async def test_a_beginning_that_broke_off_is_looked_for(bot: Bot, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SHOWING, "AGAIN_SECONDS", 0.02)
    address = threaded(bot) if place == "thread" else bot.address("ada")
    method = "chat.startStream" if place == "thread" else "chat.postMessage"
    bot.simulator.fault("drop_after", method, count=1)
    state = await show(bot.client, address, {}, "one two three", "turn_1")
    assert state is not None and state["ts"] == bot.simulator.sends()[-1]["ts"]
    state = await show(bot.client, address, state, "one two three four five", "turn_1")
    assert state is not None and bot.texts("#support" if place == "thread" else "ada")[-1] == "one two three four five"
    bot.simulator.fault("drop_before", method, count=1)
    assert await show(bot.client, address, {}, "one two three", "turn_2") is None


def test_the_pace_of_previews() -> None:
    assert PREVIEW.lasting and PREVIEW.floor({"thread_ts": "1.1"}) >= 1.0 and PREVIEW.floor({}) >= 1.2


@pytest.mark.parametrize(
    ("markdown", "sure"),
    [
        ("one two thr", "one two "),
        ("one **two three**", "one **two "),
        ("```py\nx = 1\ny\n```", "```py\nx = 1\n"),
        ("see [the page", "see "),
        ("word", ""),
        ("", ""),
        ("one two\n\n", "one "),
    ],
)
def test_what_is_held_back(markdown: str, sure: str) -> None:
    assert sure_of(markdown) == sure


_WORDS = st.lists(
    st.sampled_from(
        ["word", "**bold text**", "*it*", "`code x`", "[a b](https://example.com)", "\n\n", "\n- item", "end."]
    ),
    max_size=30,
).map(" ".join)


@given(_WORDS, st.integers(1, 12))
def test_a_stream_only_grows_for_ordinary_text(text: str, step: int) -> None:
    """Where it does not, the message is changed instead; for these texts that is to be rare: never but for links."""
    before = ""
    for end in range(step, len(text) + 1, step):
        now = sure_of(heal(text[:end]))
        if len(now) < len(before):
            assert before.startswith(now) or "[" in text
        else:
            assert now.startswith(before) or "[" in text
            before = now
