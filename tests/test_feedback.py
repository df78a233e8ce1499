"""What people think of answers: by button, by reaction and over HTTP; stored once, told once, changeable, removable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields

import pytest

from channels.telegram import connect
from gateway.services import Ground
from kernel.types import InboundMessage, Json, Sender
from pipeline import feedback, route
from pipeline.turns import Turn
from simulators.telegram import people
from tests.gateway_parts import SECRET, Scripted, gateway, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, Server, client, served
from tests.people_kit import Bot, Bots, Chat, talking


@pytest.fixture
async def bots(ground: Ground, workspace_id: str) -> AsyncIterator[Bots]:
    async with talking(ground, workspace_id) as bots:
        yield bots


async def rated(bots: Bots) -> list[tuple[str, str, str]]:
    rows = await bots.rows("SELECT rating, source, user_id FROM feedback ORDER BY feedback_id")
    return [(row["rating"], row["source"], row["user_id"]) for row in rows]


async def press(chat: Chat, turn_id: str, rating: str) -> str:
    return await chat.say(kind="feedback", detail=rating, about=turn_id)


async def test_a_button_rates_an_answer_and_can_change_and_take_back(bots: Bots) -> None:
    ann = (await bots.bot()).chat(1)
    await ann.say("hello")
    turn, message = ann.last["turn_id"], ann.last["message_id"]
    assert await press(ann, turn, "up") == ""
    assert await rated(bots) == [("up", "button", await ann.user_id)]
    await press(ann, turn, "up")  # pressed twice: known already
    await press(ann, turn, "down")
    assert [rating for rating, _, _ in await rated(bots)] == ["down"]
    await press(ann, turn, "none")
    await press(ann, turn, "none")
    assert await rated(bots) == []
    told = await bots.events("chat.feedback.received")
    assert [event["rating"] for event in told] == [1, -1, 0]
    assert {event["message_id"] for event in told} == {message}
    assert {event["user_id"] for event in told} == {await ann.user_id}


async def test_a_form_adds_a_comment_which_a_later_press_leaves(bots: Bots) -> None:
    ann = (await bots.bot()).chat(1)
    await ann.say("hello")
    turn = ann.last["turn_id"]
    await press(ann, turn, "down")
    await ann.say("the price is wrong", kind="feedback", detail="down", about=turn)
    await press(ann, turn, "down")
    assert await bots.rows("SELECT rating, comment FROM feedback") == [
        {"rating": "down", "comment": "the price is wrong"}
    ]
    told = await bots.events("chat.feedback.received")
    assert [event["comment"] for event in told] == ["", "the price is wrong"]


async def test_everybody_in_a_group_has_an_opinion_of_their_own(bots: Bots) -> None:
    bot = await bots.bot()
    ann, ben = bot.chat(1, group=-5), bot.chat(2, group=-5)
    await ann.say("more")
    turn = ann.last["turn_id"]
    await press(ann, turn, "up")
    await press(ben, turn, "down")
    rows = await bots.rows(
        "SELECT user_id, rating FROM feedback WHERE message_id = $1 ORDER BY rating", ann.last["message_id"]
    )
    assert [(row["user_id"], row["rating"]) for row in rows] == [(await ben.user_id, "down"), (await ann.user_id, "up")]


async def test_another_conversations_answer_cannot_be_rated(bots: Bots) -> None:
    bot = await bots.bot()
    ann, ben = bot.chat(1), bot.chat(2)
    await ann.say("hello")
    await ben.say("hello")
    await press(ben, ann.last["turn_id"], "down")
    await ben.say(kind="feedback", detail="up", about="turn_none")
    await ben.say(kind="feedback", detail="up", message_ref="4711")
    await ben.say(kind="feedback", detail="up", message_ref="")
    await ben.say(kind="feedback", detail="sideways", about=ben.last["turn_id"])
    assert await rated(bots) == []
    assert await bots.events("chat.feedback.received") == []


async def test_a_reaction_finds_the_answer_by_the_message_that_the_platform_shows(
    ground: Ground, workspace_id: str
) -> None:
    async with simulator() as sim, gateway(ground, Scripted(), telegram_url=sim.url) as services:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(services) as url:
            found = await services.directory.account(account)
            assert found
            hook = f"{url}/channels/telegram/{account}"
            await connect(await services.directory.client(found), "webhook", hook, SECRET)
            people.add_user(sim.world, 1001, "Ann")
            sim.say(1001, "hello")
            bots = Bots(ground, services, Scripted(), workspace_id)

            async def shown() -> bool:
                return bool(await bots.rows("SELECT FROM outbound_messages WHERE state = 'sent'"))

            await until(shown)
            [sent] = await bots.rows("SELECT message_id, receipt FROM outbound_messages")
            ann = Bot(bots, account).chat(1001)
            await ann.say(kind="feedback", detail="up", message_ref=str(sent["receipt"]["message_id"]))
            assert await bots.rows("SELECT message_id, source FROM feedback") == [
                {"message_id": sent["message_id"], "source": "reaction"}
            ]


@pytest.mark.parametrize(
    ("rating", "thanks"), [("up", "Thanks!"), ("down", "Noted, thank you."), ("none", "Taken back.")]
)
async def test_what_is_said_in_return(rating: str, thanks: str, bots: Bots) -> None:
    ann = (await bots.bot()).chat(1)
    await ann.say("hello")
    [row] = await bots.rows("SELECT conversation_id, session_id, user_id FROM messages LIMIT 1")
    nothing = {field.name: None for field in fields(Turn)}
    turn = Turn(**{**nothing, **row, "turn_id": "turn_x", "account_id": ann.bot.account_id})
    pressed = InboundMessage("9", "1", "feedback", Sender("1"), "", {}, detail=rating, about=ann.last["turn_id"])
    for _ in range(2):  # a turn may be tried again
        async with bots.ground.database.workspace(bots.workspace_id) as conn:
            assert await feedback.record(conn, turn, pressed) == thanks
    assert len(await bots.events("chat.feedback.received")) == (rating != "none")


def test_only_answers_have_buttons_and_a_setting_takes_them_away() -> None:
    answer: Json = {"text": "At nine.", "feedback": "turn_1"}
    assert route.reply_of(answer).feedback == "turn_1"
    assert route.reply_of(answer, {"feedback": True}).feedback == "turn_1"
    assert route.reply_of(answer, {"feedback": False}).feedback == ""
    assert route.reply_of({"text": route.FAILED}).feedback == ""


async def test_buttons_stand_under_answers_and_under_nothing_else(bots: Bots) -> None:
    chats = [(await bots.bot(**settings)).chat(1) for settings in ({}, {"answer": "echo"}, {"feedback": False})]
    shown = []
    for chat, text in ((chats[0], "hello"), (chats[0], "/help"), (chats[1], "hello"), (chats[2], "hello")):
        await chat.say(text)
        unit = await bots.value("SELECT unit::text FROM outbound_messages WHERE turn_id = $1", chat.last["turn_id"])
        shown.append([f"fb:{rating}:{chat.last['turn_id']}" in unit for rating in ("up", "down")])
    assert shown == [[True, True], [False, False], [False, False], [False, False]]


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def answered(api: Client, user: str = "ann") -> Json:
    replied = await api.post("/api/v1/messages?wait=20", {"user_id": user, "text": "hello"})
    reply: Json = replied.body["reply"]
    return reply


async def test_feedback_over_http(api: Client) -> None:
    message = (await answered(api))["message_id"]
    path = f"/api/v1/messages/{message}/feedback"
    given = await api.post(path, {"rating": "down", "comment": "wrong day"})
    assert (given.status, given.body["rating"], given.body["comment"], given.body["source"]) == (
        200, "down", "wrong day", "api",
    )  # fmt: skip
    changed = await api.post(path, {"rating": "up"})
    assert (changed.body["rating"], changed.body["comment"]) == ("up", "wrong day")
    assert changed.body["feedback_id"] == given.body["feedback_id"]
    assert [item["rating"] for item in (await api.get("/api/v1/feedback")).body["items"]] == ["up"]
    assert (await api.post(path, {"rating": "none"})).status == 204
    assert (await api.get("/api/v1/feedback")).body["items"] == []
    events = (await api.get("/api/v1/events?type=chat.feedback.received")).body["items"]
    assert [event["data"]["rating"] for event in events] == [0, 1, -1]


async def test_feedback_is_listed_by_filters_and_pages(api: Client) -> None:
    messages = [(await answered(api, user))["message_id"] for user in ("ann", "ann", "ben")]
    for message, rating in zip(messages, ("up", "down", "up"), strict=True):
        await api.post(f"/api/v1/messages/{message}/feedback", {"rating": rating})
    every = (await api.get("/api/v1/feedback")).body["items"]
    assert [item["message_id"] for item in every] == messages[::-1]
    for name in ("user_id", "conversation_id", "account_id", "message_id"):
        wanted = every[0][name]
        found = (await api.get(f"/api/v1/feedback?{name}={wanted}")).body["items"]
        assert found == [item for item in every if item[name] == wanted]
    assert len((await api.get("/api/v1/feedback?rating=up")).body["items"]) == 2
    first = (await api.get("/api/v1/feedback?limit=2")).body
    second = (await api.get(f"/api/v1/feedback?limit=2&cursor={first['next_cursor']}")).body
    assert first["items"] + second["items"] == every
    assert second["next_cursor"] is None


async def test_what_cannot_be_rated_is_refused(api: Client, server: Server, second_workspace: str) -> None:
    message = (await answered(api))["message_id"]
    conversation = (await api.get("/api/v1/conversations")).body["items"][0]["conversation_id"]
    said = (await api.get(f"/api/v1/conversations/{conversation}/messages")).body["items"][0]
    up = {"rating": "up"}
    assert (await api.post(f"/api/v1/messages/{said['message_id']}/feedback", up)).status == 404  # a question
    assert (await api.post("/api/v1/messages/msg_none/feedback", up)).status == 404
    path = f"/api/v1/messages/{message}/feedback"
    assert (await api.post(path, {"rating": "up", "user_id": "usr_none"})).status == 404
    assert (await api.post(path, {"rating": "great"})).status == 422
    stranger = await client(server, second_workspace)
    assert (await stranger.post(path, up)).status == 404
    assert (await stranger.get("/api/v1/feedback")).body["items"] == []
