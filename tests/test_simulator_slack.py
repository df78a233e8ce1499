"""The Web API of the Slack simulator, called by the real slack_sdk."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack.server import Simulator
from tests.simulator_slack_kit import client_for, talking


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, AsyncWebClient]]:
    async with talking() as pair:
        yield pair


def refusing(error: str) -> Any:
    return pytest.raises(SlackApiError, match=rf"'error': '{error}'")


async def test_who_am_i(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    me = await client.auth_test()
    assert me["bot_id"] == sim.bot.bot_id and me["user"] == "parley" and me["team"] == "Acme"
    with refusing("invalid_auth"):
        await client_for(sim, "xoxb-nobody").auth_test()
    with refusing("not_authed"):
        await AsyncWebClient(base_url=sim.api_url).auth_test()
    with refusing("not_allowed_token_type"):
        await client_for(sim, sim.app.app_token).auth_test()
    with refusing("unknown_method"):
        await client.api_call("chat.explode")


async def test_post_update_delete_and_what_was_seen(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    channel = (await client.conversations_open(users=sim.user("ada")))["channel"]["id"]
    sent = await client.chat_postMessage(channel=channel, text="one")
    assert sent["message"]["bot_id"] == sim.bot.bot_id and sent["channel"] == channel
    await client.chat_update(channel=channel, ts=sent["ts"], text="two")
    history = await client.conversations_history(channel=channel)
    assert [m["text"] for m in history["messages"]] == ["two"]
    await client.chat_delete(channel=channel, ts=sent["ts"])
    assert (await client.conversations_history(channel=channel))["messages"] == []
    assert [(e["method"], e["text"]) for e in sim.sends("ada")] == [
        ("chat.postMessage", "one"), ("chat.update", "two"), ("chat.delete", "two"),
    ]  # fmt: skip
    assert sim.sends("ada")[0]["seen_by"] == [sim.user("ada")]
    with refusing("message_not_found"):
        await client.chat_update(channel=channel, ts=sent["ts"], text="three")
    said = sim.say("ada", "mine")
    with refusing("cant_update_message"):
        await client.chat_update(channel=channel, ts=said["ts"], text="yours")


async def test_threads_and_metadata(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    root = sim.say("ada", "question", "#support")
    marker = {"event_type": "parley_unit", "event_payload": {"unit": "u1"}}
    reply = await client.chat_postMessage(channel=root["channel"], thread_ts=root["ts"], text="answer", metadata=marker)
    again = await client.chat_postMessage(channel=root["channel"], thread_ts=reply["ts"], text="more")
    assert again["message"]["thread_ts"] == root["ts"]
    thread = await client.conversations_replies(channel=root["channel"], ts=root["ts"], include_all_metadata=True)
    assert [m["text"] for m in thread["messages"]] == ["question", "answer", "more"]
    assert thread["messages"][0]["reply_count"] == 2 and thread["messages"][1]["metadata"] == marker
    plain = await client.conversations_replies(channel=root["channel"], ts=root["ts"])
    assert "metadata" not in plain["messages"][1]
    history = await client.conversations_history(channel=root["channel"])
    assert [m["text"] for m in history["messages"]] == ["question"]
    with refusing("invalid_metadata_format"):
        await client.chat_postMessage(channel=root["channel"], text="x", metadata={"event_type": "only"})
