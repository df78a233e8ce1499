"""The Web API of the Slack simulator, called by the real slack_sdk."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack import founding, streams
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config
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
    assert "chat:write" in me.headers["X-OAuth-Scopes"].split(",")
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


async def test_where_a_bot_may_post(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    world, team = sim.world, sim.team()
    ada = [world.users[sim.user("ada")]]
    founding.add_channel(world, team.id, "apart", "channel", ada, False)
    founding.add_channel(world, team.id, "hidden", "group", ada, False)
    with refusing("not_in_channel"):
        await client.chat_postMessage(channel="#apart", text="x")
    with refusing("channel_not_found"):
        await client.chat_postMessage(channel=sim.channel("hidden"), text="x")
    with refusing("not_in_channel"):
        await client.conversations_history(channel=sim.channel("apart"))
    with refusing("thread_not_found"):
        await client.chat_postMessage(channel="#general", thread_ts="1.000001", text="x")
    to_user = await client.chat_postMessage(channel=sim.user("ben"), text="psst")
    assert to_user["channel"] == sim.channel("ben")
    only = await client.chat_postEphemeral(channel=sim.channel("general"), user=sim.user("ben"), text="only you")
    assert sim.sends("general")[-1]["seen_by"] == [sim.user("ben")] and only["message_ts"]
    with refusing("user_not_in_channel"):
        await client.chat_postEphemeral(channel=sim.channel("ben"), user=sim.user("ada"), text="x")


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


BUTTON = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "go"}
BAD_BLOCKS = [
    (section("x" * 3001), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    (section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    ({"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}, "no more than 10 items allowed"),
    ({"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}, "less than 2001 characters"),
    ({"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}, "must be less than 151 characters"),
    ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "failed to match all allowed schemas"),
    ({"type": "markdown", "text": "x" * 12_001}, "must be less than 12001 characters"),
    ({"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}, "no more than 10 items allowed"),
    ({"type": "actions", "elements": [BUTTON] * 26}, "no more than 25 items allowed"),
    ({"type": "actions", "elements": [BUTTON, BUTTON]}, "action_id must be unique"),
    ({"type": "actions", "elements": [{**BUTTON, "value": "x" * 2001}]}, "less than 2001 characters"),
    ({"type": "actions", "elements": [{**BUTTON, "text": {"type": "plain_text", "text": "x" * 76}}]}, "less than 76"),
    ({"type": "blink"}, "unsupported type: blink"),
]


@pytest.mark.parametrize(("block", "message"), BAD_BLOCKS)
async def test_blocks_that_slack_refuses(
    both: tuple[Simulator, AsyncWebClient], block: dict[str, Any], message: str
) -> None:
    sim, client = both
    with refusing("invalid_blocks") as caught:
        await client.chat_postMessage(channel=sim.channel("general"), text="x", blocks=[block])
    assert any(message in told for told in caught.value.response["response_metadata"]["messages"])
    assert sim.sends() == []


async def test_limits_of_messages(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    place = sim.channel("general")
    with refusing("no_text"):
        await client.api_call("chat.postMessage", json={"channel": place, "text": " "})
    with refusing("invalid_blocks"):
        await client.chat_postMessage(channel=place, text="x", blocks=[{"type": "divider"}] * 51)
    with refusing("invalid_blocks_format"):
        await client.chat_postMessage(channel=place, text="x", blocks="[{")
    with refusing("msg_blocks_too_long"):
        await client.chat_postMessage(channel=place, text="x", blocks=[section("x" * 2500)] * 5)
    longest = [{"type": "markdown", "text": "x" * 12_000}, section("sources"), {"type": "divider"}]
    await client.chat_postMessage(channel=place, text="x", blocks=longest)
    with refusing("msg_too_long"):
        await client.chat_postMessage(channel=place, markdown_text="x" * 12_001)
    with refusing("markdown_text_conflict"):
        await client.chat_postMessage(channel=place, markdown_text="x", text="y")
    long = await client.chat_postMessage(channel=place, text="x" * 40_001)
    assert len(long["message"]["text"]) == 40_000 and long["warning"] == "message_truncated"
    with refusing("msg_too_long"):
        await client.chat_update(channel=place, ts=long["ts"], text="x" * 4_001)
    good = await client.chat_postMessage(
        channel=place, text="x", blocks=[section("a"), {"type": "actions", "elements": [BUTTON]}]
    )
    assert all(block["block_id"] for block in good["message"]["blocks"])
    plain = await client.chat_update(channel=place, ts=good["ts"], text="no blocks")
    assert "blocks" not in plain["message"]


async def test_lists_come_in_pages(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    posts = [(await client.chat_postMessage(channel=sim.channel("ada"), text=f"{n}"))["ts"] for n in range(5)]
    pages = [
        [m["text"] for m in page["messages"]]
        async for page in await client.conversations_history(channel=sim.channel("ada"), limit=2)
    ]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    since = await client.conversations_history(channel=sim.channel("ada"), oldest=posts[3])
    assert [m["text"] for m in since["messages"]] == ["4"]
    exact = await client.conversations_history(
        channel=sim.channel("ada"), oldest=posts[3], latest=posts[3], inclusive=True
    )
    assert [m["text"] for m in exact["messages"]] == ["3"]
    assert [len(page["members"]) async for page in await client.users_list(limit=3)] == [3, 1]
    public = await client.conversations_list()
    assert [c["name"] for c in public["channels"]] == ["general", "support"]
    mine = await client.users_conversations(types="public_channel,private_channel,im")
    assert len(mine["channels"]) == 4
    assert (await client.conversations_members(channel=sim.channel("leads")))["members"]
    assert (await client.conversations_info(channel=sim.channel("leads")))["channel"]["is_private"] is True
    with refusing("invalid_cursor"):
        await client.users_list(cursor="zzz")
    with refusing("invalid_limit"):
        await client.users_list(limit=0)


async def test_people_teams_and_bots_can_be_looked_up(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    user = (await client.users_info(user=sim.user("ada")))["user"]
    assert user["real_name"] == "Ada" and user["profile"]["email"] == "ada@acme.example"
    assert (await client.team_info())["team"]["domain"] == "acme"
    assert (await client.bots_info(bot=sim.bot.bot_id))["bot"]["user_id"] == sim.bot.bot_user
    with refusing("user_not_found"):
        await client.users_info(user=sim.user("ada", "Globex"))
    group = await client.conversations_open(users=[sim.user("ada"), sim.user("ben")])
    assert (await client.conversations_info(channel=group["channel"]["id"]))["channel"]["is_mpim"] is True


async def test_reactions(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    said = sim.say("ada", "hello")
    await client.reactions_add(channel=said["channel"], timestamp=said["ts"], name="eyes")
    with refusing("already_reacted"):
        await client.reactions_add(channel=said["channel"], timestamp=said["ts"], name="eyes")
    sim.react("ada", None, said["ts"], "eyes")
    got = await client.reactions_get(channel=said["channel"], timestamp=said["ts"])
    assert got["message"]["reactions"] == [{"name": "eyes", "users": [sim.bot.bot_user, sim.user("ada")], "count": 2}]
    await client.reactions_remove(channel=said["channel"], timestamp=said["ts"], name="eyes")
    with refusing("no_reaction"):
        await client.reactions_remove(channel=said["channel"], timestamp=said["ts"], name="eyes")


async def test_a_stream_grows_and_ends(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    asked = sim.say("ada", "tell me")
    place = {"channel": asked["channel"], "thread_ts": asked["ts"]}
    stream = await client.chat_stream(**place, buffer_size=4)
    await stream.append(markdown_text="**hello ")
    await stream.append(markdown_text="world**")
    seen = sim.world.channels[asked["channel"]].messages[str(stream.ts)]
    assert seen.message["text"] == "**hello world**" and seen.streaming
    with refusing("streaming_state_conflict"):
        await client.chat_update(channel=asked["channel"], ts=str(stream.ts), text="x")
    with refusing("cant_delete_message"):
        await client.chat_delete(channel=asked["channel"], ts=str(stream.ts))
    with refusing("streaming_mode_mismatch"):
        await client.chat_appendStream(channel=asked["channel"], ts=str(stream.ts), markdown_text="x")
    done = await stream.stop(markdown_text="!", blocks=[section("sources")])
    assert done["message"]["text"] == "**hello world**!" and not seen.streaming
    assert [e["method"] for e in sim.sends("ada")] == [
        "chat.startStream", "chat.appendStream", "chat.stopStream",
    ]  # fmt: skip
    with refusing("message_not_in_streaming_state"):
        await client.chat_appendStream(channel=asked["channel"], ts=str(stream.ts), markdown_text="more")
    with refusing("invalid_arguments"):
        await client.chat_startStream(channel=asked["channel"], thread_ts="")
    with refusing("msg_too_long"):
        await client.chat_startStream(**place, markdown_text="x" * 12_001)
    with refusing("message_not_owned_by_app"):
        await client.chat_appendStream(channel=asked["channel"], ts=asked["ts"], markdown_text="x")
    public = sim.say("ada", "and here?", "#general")
    with refusing("missing_recipient_user_id"):
        await client.chat_startStream(channel=public["channel"], thread_ts=public["ts"])
    stopped = await client.chat_startStream(**place, markdown_text="on and on")
    held = sim.world.channels[asked["channel"]]
    streams.stop_by_user(sim.world, held, held.messages[stopped["ts"]])
    with refusing("stopped_by_user"):
        await client.chat_appendStream(channel=asked["channel"], ts=stopped["ts"], markdown_text="and on")
    with refusing("invalid_chunks"):
        await client.chat_startStream(**place, chunks=[{"type": "plan_update", "title": "x" * 257}])
    sim.world.pace.stream = -1
    late = await client.chat_startStream(**place)
    with refusing("message_not_in_streaming_state"):
        await client.chat_appendStream(channel=asked["channel"], ts=late["ts"], markdown_text="x")
    sim.world.streaming = False
    with refusing("unknown_method"):
        await client.chat_startStream(**place)


async def test_files_go_up_and_come_down(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    place = sim.channel("ada")
    sent = await client.files_upload_v2(channel=place, content="hello", filename="a.txt", initial_comment="see")
    history = await client.conversations_history(channel=place)
    file = history["messages"][0]["files"][0]
    assert file["id"] == sent["file"]["id"] and history["messages"][0]["text"] == "see"
    async with aiohttp.ClientSession() as session:
        bearer = {"Authorization": f"Bearer {sim.bot.token}"}
        async with session.get(file["url_private_download"], headers=bearer) as answer:
            assert (await answer.text(), answer.content_type) == ("hello", "text/plain")
        async with session.get(file["url_private"]) as answer:
            assert answer.content_type == "text/html"
    info = await client.files_info(file=file["id"])
    assert info["file"]["ims"] == [place]
    with refusing("file_not_found"):
        await client.files_info(file="F0")
    ticket = await client.files_getUploadURLExternal(filename="b.bin", length=3)
    async with aiohttp.ClientSession() as session, session.post(ticket["upload_url"], data=b"four") as answer:
        assert answer.status == 400
    with refusing("file_not_found"):
        await client.files_completeUploadExternal(files=[{"id": ticket["file_id"], "title": "b"}], channel_id=place)


async def test_an_assistant_thread_has_status_title_and_prompts(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    opened = sim.open_thread("ada", "#general")
    place = {"channel_id": opened["channel"], "thread_ts": opened["ts"]}
    await client.assistant_threads_setStatus(**place, status="is thinking…", loading_messages=["Reading…"])
    await client.assistant_threads_setTitle(**place, title="About X")
    await client.assistant_threads_setSuggestedPrompts(**place, prompts=[{"title": "Hi", "message": "Say hi"}])
    thread = sim.world.channels[opened["channel"]].threads[opened["ts"]]
    assert (thread["status"], thread["title"], len(thread["prompts"])) == ("is thinking…", "About X", 1)
    await client.chat_postMessage(channel=opened["channel"], thread_ts=opened["ts"], text="done")
    assert thread["status"] == ""
    with refusing("invalid_thread_ts"):
        await client.assistant_threads_setStatus(channel_id=opened["channel"], thread_ts="1.0", status="x")


async def test_rate_limits_tell_when_to_come_back() -> None:
    async with talking(Config(flood=True, seed=1)) as (sim, client):
        place = sim.channel("ada")
        with refusing("ratelimited") as caught:
            for number in range(9):
                await client.chat_postMessage(channel=place, text=f"{number}")
        assert caught.value.response.status_code == 429
        assert int(caught.value.response.headers["Retry-After"]) >= 1
        assert len(sim.sends()) == 4
        await client.chat_postMessage(channel=sim.channel("ben"), text="elsewhere")
        client.retry_handlers.append(AsyncRateLimitErrorRetryHandler())
        await client.chat_postMessage(channel=place, text="later")
        assert sim.sends()[-1]["text"] == "later"


async def test_scopes_are_needed() -> None:
    async with talking(Config(scopes=("chat:write",))) as (sim, client):
        await client.chat_postMessage(channel=sim.channel("general"), text="hello")
        with refusing("missing_scope") as caught:
            await client.conversations_history(channel=sim.channel("general"))
        assert "im:history" in caught.value.response["needed"]


async def test_a_seed_repeats_everything() -> None:
    async def once() -> tuple[str, str, list[str]]:
        async with run_simulator(config=Config(seed=5)) as sim:
            return sim.bot.token, sim.app.signing_secret, [*sim.world.channels, *sim.world.users]

    assert await once() == await once()
