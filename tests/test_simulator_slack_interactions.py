"""Buttons, modals, commands and shortcuts, answered by hand and by the real slack-bolt over HTTP and Socket Mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.middleware.assistant.async_assistant import AsyncAssistant
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from simulators.slack import founding, interactions, people
from simulators.slack.errors import Refused
from simulators.slack.server import Simulator
from simulators.slack.values import JsonObject
from tests.simulator_slack_kit import client_for, eventually, listening, receiving, serving, talking

MODAL = {
    "type": "modal",
    "callback_id": "report",
    "title": {"type": "plain_text", "text": "Report"},
    "submit": {"type": "plain_text", "text": "Send"},
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "reason"},
        }
    ],
}
BUTTONS: list[JsonObject] = [
    {
        "type": "actions",
        "elements": [
            {"type": "button", "action_id": "up", "value": "1", "text": {"type": "plain_text", "text": "Good"}},
            {
                "type": "static_select",
                "action_id": "pick",
                "options": [{"text": {"type": "plain_text", "text": "A"}, "value": "a"}],
            },
        ],
    },
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "judge",
                "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "good"},
                "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "bad"},
            }
        ],
    },
]


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, AsyncWebClient]]:
    async with talking() as pair:
        yield pair


async def finished(sim: Simulator, number: str) -> JsonObject:
    await eventually(lambda: bool(sim.outcome(number)["done"]))
    return sim.outcome(number)


async def test_a_press_tells_what_was_pressed_and_may_be_answered(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    place = sim.channel("ada")
    sent = await client.chat_postMessage(channel=place, text="well?", blocks=BUTTONS)
    async with receiving(sim) as receiver:
        number = sim.press("ada", None, sent["ts"], "up")
        body = await receiver.other()
        assert receiver.signed == [True] and (await finished(sim, number))["ok"]
        assert body["type"] == "block_actions" and body["actions"][0]["value"] == "1"
        assert body["user"]["id"] == sim.user("ada") and body["container"]["message_ts"] == sent["ts"]
        hook = AsyncWebhookClient(body["response_url"])
        assert (await hook.send(text="noted", response_type="ephemeral")).body == "ok"
        await hook.send(text="thank you", replace_original=True)
        for _ in range(3):
            await hook.send(text="again", response_type="in_channel")
        assert (await hook.send(text="too much")).status_code == 404
    history = await client.conversations_history(channel=place)
    assert [m["text"] for m in history["messages"]] == ["again", "again", "again", "thank you"]
    assert sim.sends("ada")[1]["seen_by"] == [sim.user("ada")] and sim.sends("ada")[1]["text"] == "noted"


async def test_menus_and_feedback(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    sent = await client.chat_postMessage(channel=sim.channel("ada"), text="well?", blocks=BUTTONS)
    async with receiving(sim) as receiver:
        sim.press("ada", None, sent["ts"], "pick", "a")
        assert (await receiver.other(1))["actions"][0]["selected_option"]["value"] == "a"
        sim.press("ada", None, sent["ts"], "judge", "bad")
        assert (await receiver.other(2))["actions"][0]["value"] == "bad"
        for action, value in (("pick", "z"), ("judge", "z"), ("nothing", None)):
            with pytest.raises(Refused):
                sim.press("ada", None, sent["ts"], action, value)


async def test_an_app_that_is_away_is_told_to_the_person(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    number = sim.command("ada", "/ask", "something")
    assert (await finished(sim, number))["error"] == "connection_failed"
    async with receiving(sim) as receiver:
        sim.world.pace.ack = 0.05
        receiver.gate = lambda payload: asyncio.sleep(0.3)
        number = sim.command("ada", "/ask", "something")
        assert (await finished(sim, number))["error"] == "http_timeout"


async def test_a_command_is_answered_in_its_response(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    async with receiving(sim) as receiver:
        receiver.answer = "only for you"
        await finished(sim, sim.command("ada", "/ask", "who?", "#general"))
        body = receiver.others[0]
        assert (body["command"], body["text"], body["channel_name"]) == ("/ask", "who?", "general")
        assert sim.sends("general")[-1]["text"] == "only for you"
        assert sim.sends("general")[-1]["seen_by"] == [sim.user("ada")]
        receiver.answer = {"response_type": "in_channel", "text": "for all"}
        await finished(sim, sim.command("ada", "/ask", "who?", "#general"))
        assert len(sim.sends("general")[-1]["seen_by"]) == 3
    async with listening(sim) as listener:
        listener.answer = {"text": "over the socket"}
        await finished(sim, sim.command("ben", "/ask", "who?"))
        assert listener.envelopes[0].accepts_response_payload
        assert sim.sends("ben")[-1]["text"] == "over the socket"


async def test_a_modal_from_opening_to_submission(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, client = both
    ada = sim.world.users[sim.user("ada")]
    async with receiving(sim) as receiver:
        sim.command("ada", "/report")
        trigger = (await receiver.other(1))["trigger_id"]
        opened = await client.views_open(trigger_id=trigger, view=MODAL)
        with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
            await client.views_open(trigger_id=trigger, view=MODAL)
        with pytest.raises(Refused, match="filled in"):
            sim.submit("ada", {})
        receiver.answer = {"response_action": "errors", "errors": {"why": "Say more"}}
        number = sim.submit("ada", {"why": "because"})
        assert (await finished(sim, number))["payload"]["errors"] == {"why": "Say more"}
        assert sim.world.views[opened["view"]["id"]].open
        body = receiver.others[-1]
        assert body["view"]["state"]["values"]["why"]["reason"]["value"] == "because"
        receiver.answer = {"response_action": "push", "view": {**MODAL, "callback_id": "second"}}
        await finished(sim, sim.submit("ada", {"why": "because"}))
        receiver.answer = {"response_action": "clear"}
        await finished(sim, sim.submit("ada", {"why": "because"}))
        assert not any(view.open for view in sim.world.views.values())
        receiver.answer = None
        sim.command("ada", "/report")
        await eventually(lambda: receiver.others[-1].get("command") == "/report")
        fresh = await client.views_open(trigger_id=receiver.others[-1]["trigger_id"], view=MODAL)
        updated = await client.views_update(view_id=fresh["view"]["id"], hash=fresh["view"]["hash"], view=MODAL)
        with pytest.raises(SlackApiError, match="hash_conflict"):
            await client.views_update(view_id=fresh["view"]["id"], hash=fresh["view"]["hash"], view=MODAL)
        assert updated["view"]["id"] == fresh["view"]["id"]
        view = sim.world.views[fresh["view"]["id"]]
        interactions.dismiss(sim.world, sim.bot, ada, view)
        await eventually(lambda: receiver.others[-1].get("type") == "view_closed")
        sim.world.pace.trigger = -1
        interactions.shortcut(sim.world, sim.bot, ada, "go", None, "")
        await eventually(lambda: receiver.others[-1].get("type") == "shortcut")
        with pytest.raises(SlackApiError, match="expired_trigger_id"):
            await client.views_open(trigger_id=receiver.others[-1]["trigger_id"], view=MODAL)
    home = {"type": "home", "blocks": [{"type": "divider"}]}
    published = await client.views_publish(user_id=ada.id, view=home)
    again = await client.views_publish(user_id=ada.id, view=home)
    assert published["view"]["id"] == again["view"]["id"]
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await client.views_publish(user_id=ada.id, view=MODAL)


def bolt(sim: Simulator, seen: list[Any]) -> AsyncApp:
    """An app that mentions, answers, asks back in a modal and says thank you."""
    app = AsyncApp(client=client_for(sim), signing_secret=sim.app.signing_secret)

    @app.event("app_mention")
    async def mentioned(event: JsonObject, say: Any) -> None:
        await say(text=f"heard: {event['text']}", thread_ts=event["ts"])

    @app.event("message")
    async def said(event: JsonObject, say: Any) -> None:
        seen.append(event["text"])
        if event["channel_type"] == "im":
            await say(text="well?", blocks=BUTTONS)

    @app.action("up")
    async def pressed(ack: Any, respond: Any) -> None:
        await ack()
        await respond(text="thank you", replace_original=True)

    @app.command("/report")
    async def command(ack: Any, body: JsonObject, client: AsyncWebClient) -> None:
        await ack("one moment")
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)

    @app.view("report")
    async def submitted(ack: Any, view: JsonObject) -> None:
        seen.append(view["state"]["values"]["why"]["reason"]["value"])
        await ack()

    @app.message_shortcut("keep")
    async def kept(ack: Any, shortcut: JsonObject) -> None:
        await ack()
        seen.append(shortcut["message"]["text"])

    return app


@asynccontextmanager
async def over_http(sim: Simulator, app: AsyncApp) -> AsyncIterator[None]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    async with serving(handle) as url:
        await sim.subscribe(url)
        yield


@asynccontextmanager
async def over_socket(sim: Simulator, app: AsyncApp) -> AsyncIterator[None]:
    handler = AsyncSocketModeHandler(app, sim.app.app_token, ping_interval=1)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("way", [over_http, over_socket])
async def test_bolt_talks(both: tuple[Simulator, AsyncWebClient], way: Any) -> None:
    sim, _ = both
    seen: list[Any] = []
    async with way(sim, bolt(sim, seen)):
        asked = sim.say("ben", "@parley what?", "#general")
        await eventually(lambda: len(sim.sends("general")) == 1)
        assert sim.sends("general")[0]["thread_ts"] == asked["ts"]
        said = sim.say("ada", "hello")
        await eventually(lambda: len(sim.sends("ada")) == 1)
        assert "hello" in seen and not any(text == "well?" for text in seen)
        ts = sim.sends("ada")[0]["ts"]
        sim.press("ada", None, ts, "up")
        await eventually(lambda: sim.sends("ada")[-1]["text"] == "thank you")
        number = sim.command("ada", "/report")
        await eventually(lambda: any(view.open for view in sim.world.views.values()))
        assert (await finished(sim, number))["ok"]
        await eventually(lambda: any(entry["text"] == "one moment" for entry in sim.sends("ada")))
        await finished(sim, sim.submit("ada", {"why": "because"}))
        assert "because" in seen and not any(view.open for view in sim.world.views.values())
        ada = sim.world.users[sim.user("ada")]
        place = people.find_channel(sim.world, sim.team(), ada, None)
        interactions.shortcut(sim.world, sim.bot, ada, "keep", place, said["ts"])
        await eventually(lambda: seen.count("hello") == 2)


async def test_bolts_assistant_answers_in_a_thread(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    app, assistant = AsyncApp(client=client_for(sim), signing_secret=sim.app.signing_secret), AsyncAssistant()

    @assistant.thread_started
    async def started(say: Any, set_suggested_prompts: Any) -> None:
        await say("How can I help?")
        await set_suggested_prompts(prompts=["What is new?"])

    @assistant.user_message
    async def asked(payload: JsonObject, set_status: Any, set_title: Any, say: Any, get_thread_context: Any) -> None:
        await set_title(payload["text"])
        await set_status("is thinking…")
        context = await get_thread_context()
        await say(f"You look at {context.channel_id}")

    app.assistant(assistant)
    async with over_http(sim, app):
        opened = sim.open_thread("ada", "#general")
        await eventually(lambda: len(sim.sends("ada")) >= 2)
        sim.say("ada", "News?", thread_ts=opened["ts"])
        await eventually(lambda: sim.sends("ada")[-1]["method"] == "chat.postMessage" and len(sim.sends("ada")) >= 5)
        last = sim.sends("ada")[-1]
        assert last["text"] == f"You look at {sim.channel('general')}" and last["thread_ts"] == opened["ts"]
        thread = sim.world.channels[opened["channel"]].threads[opened["ts"]]
        assert (thread["title"], thread["status"], len(thread["prompts"])) == ("News?", "", 1)


async def test_bolt_refuses_a_wrong_signature(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, _ = both
    seen: list[Any] = []
    async with over_http(sim, bolt(sim, seen)):
        sim.fault("bad_signature", "message", count=1)
        sim.say("ada", "hello")
        await eventually(lambda: sim.world.delivered >= 1)
        assert seen == ["hello"] and sim.world.faults.rules()[0]["hits"] == 1


async def test_a_person_allows_the_app_in_another_team(both: tuple[Simulator, AsyncWebClient]) -> None:
    sim, first = both
    globex = sim.team("Globex")
    query = {"client_id": sim.app.client_id, "scope": "chat:write,im:history", "state": "s1"}
    query["redirect_uri"] = "http://127.0.0.1:1/done?x=1"
    async with aiohttp.ClientSession(base_url=sim.url) as session:
        async with session.get("/oauth/v2/authorize", params=query) as page:
            text = await page.text()
            assert "Allow in Acme" in text and "installed already" in text and globex.id in text
        wanted = {**query, "approve": "1", "team": "Globex", "user": "ben"}
        async with session.get("/oauth/v2/authorize", params=wanted, allow_redirects=False) as answer:
            back = answer.headers["Location"]
        assert back.startswith("http://127.0.0.1:1/done?x=1&code=") and back.endswith("&state=s1")
        async with session.get("/oauth/v2/authorize", params={**query, "deny": "1"}, allow_redirects=False) as answer:
            assert "error=access_denied" in answer.headers["Location"]
        for bad in ({"client_id": "x"}, {"scope": "evil"}, {"redirect_uri": "nowhere"}):
            async with session.get("/oauth/v2/authorize", params={**query, **bad}) as answer:
                assert answer.status == 400
    code = back.split("code=")[1].split("&")[0]
    keys = {"code": code, "redirect_uri": query["redirect_uri"], "client_id": sim.app.client_id}
    client = AsyncWebClient(base_url=sim.api_url)
    with pytest.raises(SlackApiError, match="bad_client_secret"):
        await client.api_call("oauth.v2.access", data={**keys, "client_secret": "wrong"})
    # not oauth_v2_access(): it makes an aiohttp.BasicAuth, of which aiohttp warns; this is what it sends
    basic = {"Authorization": encode_basic_auth(sim.app.client_id, sim.app.client_secret)}
    granted = await client.api_call("oauth.v2.access", params=keys, headers=basic)
    assert granted["team"]["id"] == globex.id and granted["authed_user"]["id"] == sim.user("ben", "Globex")
    with pytest.raises(SlackApiError, match="invalid_code"):
        await client.api_call("oauth.v2.access", params=keys, headers=basic)
    there = client_for(sim, granted["access_token"])
    assert (await there.auth_test())["team_id"] == globex.id
    async with receiving(sim) as receiver:
        said = sim.say("ben", "hello", team="Globex")
        await receiver.until(1)
        assert receiver.events[0]["team_id"] == globex.id
        assert receiver.events[0]["authorizations"][0]["user_id"] == granted["bot_user_id"]
        await there.chat_postMessage(channel=said["channel"], text="hi")
        with pytest.raises(SlackApiError, match="channel_not_found"):
            await client_for(sim).chat_postMessage(channel=said["channel"], text="hi")
    await there.auth_revoke()
    with pytest.raises(SlackApiError, match="token_revoked"):
        await there.auth_test()
    founding.uninstall(sim.world, sim.bot.team)
    with pytest.raises(SlackApiError, match="account_inactive"):
        await first.auth_test()
