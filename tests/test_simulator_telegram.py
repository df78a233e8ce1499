"""The Telegram simulator as python-telegram-bot's own client meets it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, ReactionTypeEmoji
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter

from simulators.telegram import groups, people
from simulators.telegram.flood import FloodControl, FloodLimits
from simulators.telegram.server import Simulator
from simulators.telegram.state import Config
from tests.simulator_telegram_kit import ANN, PNG, talking, texts


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Bot]]:
    async with talking() as pair:
        pair[0].say(ANN, "hello")
        yield pair


async def test_the_client_knows_itself_and_a_stranger_is_refused(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    me = await bot.get_me()
    assert me.is_bot and me.username == sim.bot.username and me.id == sim.bot.id
    stranger = Bot("1:nobody", base_url=f"{sim.url}/bot", base_file_url=f"{sim.url}/file/bot")
    with pytest.raises(InvalidToken):
        await stranger.initialize()
    await stranger.shutdown()
    async with aiohttp.ClientSession() as session, session.get(f"{sim.url}/bot{sim.bot.token}/nope") as answer:
        assert answer.status == 404
        assert await answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


async def test_messages_edits_buttons_and_reactions_are_what_the_user_saw(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Good", callback_data="up")]])
    await bot.send_chat_action(ANN, "typing")
    sent = await bot.send_message(ANN, "One <b>bold</b>", parse_mode="HTML", reply_markup=keyboard)
    assert sent.entities[0].type == "bold" and sent.entities[0].offset == 4
    query = sim.press(ANN, sent.message_id, "up")
    update = (await bot.get_updates(offset=-1))[0]
    assert update.callback_query and update.callback_query.data == "up"
    assert await update.callback_query.answer("Thanks")
    assert sim.world.callbacks[query].answer == {"text": "Thanks", "show_alert": False, "url": ""}
    edited = await sent.edit_text("Two")
    assert not isinstance(edited, bool) and edited.edit_date and edited.reply_markup is None
    with pytest.raises(BadRequest, match="not modified"):
        await sent.edit_text("Two")
    assert await bot.set_message_reaction(ANN, 1, ReactionTypeEmoji("👀"))
    chat = sim.world.dialogues[sim.bot.id, ANN]
    assert [seen.message["text"] for seen in chat.messages.values()] == ["hello", "Two"]
    assert chat.messages[sent.message_id].edits[0]["text"] == "One bold"
    assert chat.messages[1].reactions == {str(sim.bot.id): ["👀"]}
    assert await bot.delete_message(ANN, sent.message_id)
    assert chat.messages[sent.message_id].deleted
    assert [entry["method"] for entry in sim.sends(ANN)] == [
        "sendMessage", "editMessageText", "setMessageReaction", "deleteMessage",
    ]  # fmt: skip


async def test_files_go_both_ways(both: tuple[Simulator, Bot]) -> None:
    _, bot = both
    sent = await bot.send_document(ANN, document=b"some text", filename="a.txt", caption="see *this*",
                                   parse_mode="MarkdownV2")  # fmt: skip
    assert sent.document and sent.document.file_name == "a.txt" and sent.caption == "see this"
    assert bytes(await (await sent.document.get_file()).download_as_bytearray()) == b"some text"
    photo = await bot.send_photo(ANN, photo=PNG)
    assert (photo.photo[0].width, photo.photo[0].height) == (3, 2)
    again = await bot.send_photo(ANN, photo=photo.photo[0].file_id)
    assert again.photo[0].file_unique_id == photo.photo[0].file_unique_id
    with pytest.raises(BadRequest, match=r"(?i)image_process_failed"):
        await bot.send_photo(ANN, photo=b"no picture")
    with pytest.raises(BadRequest, match="Invalid file_id"):
        await bot.get_file("nothing")


async def test_refusals_have_the_servers_words(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"text": ""}, "message text is empty"),
        ({"text": "  \n"}, "message text is empty"),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "😀" * 2049}, "message is too long"),
        ({"text": "x", "parse_mode": "XML"}, "unsupported parse_mode"),
        ({"text": "x", "chat_id": 999}, "chat not found"),
        ({"text": "x", "chat_id": ""}, "chat_id is empty"),
        ({"text": "x", "message_thread_id": 5}, "message thread not found"),
        ({"text": "x", "reply_parameters": {"message_id": 77}}, "message to be replied not found"),
        ({"text": "<b>x", "parse_mode": "HTML"},
         "can't parse entities: Can't find end tag corresponding to start tag \"b\""),
        ({"text": "1.0", "parse_mode": "MarkdownV2"},
         "can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'"),
        ({"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "é" * 33}]]}},
         "BUTTON_DATA_INVALID"),
    ]  # fmt: skip
    async with aiohttp.ClientSession() as session:
        for body, words in refusals:
            url = f"{sim.url}/bot{sim.bot.token}/sendMessage"
            async with session.post(url, json={"chat_id": ANN, **body}) as answer:
                assert answer.status == 400
                assert (await answer.json())["description"] == f"Bad Request: {words}"
    await bot.send_message(ANN, "<b>" + "x" * 4096 + "</b>", parse_mode="HTML")
    assert len(sim.sends()) == 1
    people.add_user(sim.world, 1002, "Never wrote")
    with pytest.raises(Forbidden, match="initiate"):
        await bot.send_message(1002, "hi")


async def test_blocked_kicked_and_upgraded(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    world = sim.world
    ann = world.users[ANN]
    people.set_blocked(world, world.dialogue(sim.bot, ann), ann, True)
    with pytest.raises(Forbidden, match="bot was blocked by the user"):
        await bot.send_message(ANN, "hi")
    change = (await bot.get_updates(offset=-1))[0].my_chat_member
    assert change and change.new_chat_member.status == "kicked"
    group = groups.add_chat(world, "group", "Team", False, [ANN], [sim.bot], ANN)
    await bot.send_message(group.id, "hello all")
    upgraded, _ = groups.migrate(world, group, ann)
    with pytest.raises(ChatMigrated) as moved:
        await bot.send_message(group.id, "hello?")
    assert moved.value.new_chat_id == upgraded.id
    services = [u.message for u in await bot.get_updates(offset=-2) if u.message]
    assert [m.migrate_to_chat_id for m in services] == [upgraded.id, None]
    assert services[1].migrate_from_chat_id == group.id
    groups.kick(world, upgraded, sim.bot, ANN)
    with pytest.raises(Forbidden, match="kicked from the supergroup chat"):
        await bot.send_message(upgraded.id, "hello?")


async def test_topics_and_privacy_in_groups(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    forum = groups.add_chat(sim.world, "supergroup", "Forum", True, [ANN], [sim.bot], ANN)
    topic = groups.add_topic(sim.world, forum, sim.world.users[ANN], "News")
    await bot.get_updates(offset=-1)
    sim.say(ANN, "just talking", forum.id, message_thread_id=topic)
    sim.say(ANN, "/help@another_bot", forum.id)
    asked = sim.say(ANN, f"@{sim.bot.username} what is new?", forum.id, message_thread_id=topic)
    updates = await bot.get_updates(offset=asked["update_ids"][0])
    message = updates[0].message
    assert len(updates) == 1 and message and message.is_topic_message and message.message_thread_id == topic
    reply = await bot.send_message(forum.id, "this", reply_to_message_id=message.message_id)
    assert reply.message_thread_id == topic
    sim.say(ANN, "more", forum.id, reply_to_message_id=reply.message_id)
    updates = await bot.get_updates(offset=updates[0].update_id + 1)
    assert texts(updates) == ["more"]


async def test_flood_control_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    async with talking(Config(flood=True)) as (sim, bot):
        sim.say(ANN, "hello")
        for number in range(3):
            await bot.send_message(ANN, f"{number}")
        with pytest.raises(RetryAfter):
            await bot.send_message(ANN, "too much")
        assert len(sim.sends()) == 3
    control = FloodControl(FloodLimits())
    assert [control.refuse(1, -5, float(2 * second)) for second in range(21)].count(0) == 21
    assert control.refuse(1, -5, 40.0) == 0
    busy = FloodControl(FloodLimits())
    waits = [busy.refuse(1, chat, 0.0) for chat in range(1, 32)]
    assert waits == [0] * 30 + [1]
    assert busy.refuse(1, 1, 1.0) == 0
