"""Discord's events as Discord documents them, and what we make of each."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.discord import parse
from kernel.types import Attachment, InboundMessage, Json, Sender
from tests.discord_kit import (
    ACCOUNT,
    ANN,
    BOT_ID,
    DM_CHANNEL,
    GUILD,
    MESSAGE,
    SENT_AT,
    TEXT_CHANNEL,
    US,
    event,
    guild_interaction,
    ignored,
    in_guild,
    interaction,
    message,
    told,
)

ROLE, THREAD, FORUM = "1500000000000000001", "1600000000000000001", "1600000000000000002"


def said(content: str, **fields: Any) -> InboundMessage:
    return told(event("MESSAGE_CREATE", in_guild(content, **fields)))


def test_a_direct_message_whole() -> None:
    assert told(event("MESSAGE_CREATE", message(" How late is it? "))) == InboundMessage(
        external_id=MESSAGE,
        conversation_key=DM_CHANNEL,
        kind="text",
        sender=Sender(ANN["id"], "Ann Lee", "ann"),
        text="How late is it?",
        address={"channel_id": DM_CHANNEL, "guild_id": None, "reply_to": None, "private": True},
        message_ref=MESSAGE,
        private=True,
        sent_at=SENT_AT,
        chat=DM_CHANNEL,
        addressed=True,
        attachments=[],
    )


def test_a_mention_in_a_server_is_cut_and_answered_by_reply() -> None:
    heard = said(f"<@{BOT_ID}>, when is it?", mentions=[US], member={"nick": "Annie"})
    assert (heard.text, heard.addressed, heard.private, heard.sender.name) == ("when is it?", True, False, "Annie")
    assert heard.address == {"channel_id": TEXT_CHANNEL, "guild_id": GUILD, "reply_to": MESSAGE, "private": False}
    assert (heard.conversation_key, heard.chat, heard.thread) == (TEXT_CHANNEL, TEXT_CHANNEL, False)
    assert said(f"hey <@!{BOT_ID}> there", mentions=[US]).text == "hey there"


def test_a_mention_of_our_role_is_one_of_us() -> None:
    update = event("MESSAGE_CREATE", in_guild(f"<@&{ROLE}> hello", mention_roles=[ROLE]), roles=[ROLE])
    heard = told(update)
    assert (heard.text, heard.addressed) == ("hello", True)
    assert said(f"<@&{ROLE}> hello", mention_roles=[ROLE]).addressed is False


def test_a_reply_to_us_is_meant_for_us() -> None:
    assert said("and then?", type=19, referenced_message=message("so", author=US)).addressed
    assert not said("and then?", type=19, referenced_message=message("so")).addressed
    assert not said("and then?", type=19, referenced_message=None).addressed


def test_what_is_not_meant_for_us_comes_so_marked() -> None:
    heard = said("just talking @everyone", mention_everyone=True)
    assert (heard.addressed, heard.text, heard.kind) == (False, "just talking @everyone", "text")
    assert ignored(event("MESSAGE_CREATE", in_guild(""))) == "empty"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"author": US}, "own_message"),
        ({"author": {**ANN, "bot": True}}, "from_bot"),
        ({"author": {**ANN, "system": True}}, "service_message"),
        ({"webhook_id": "1700000000000000001"}, "webhook"),
        ({"type": 7}, "service_message"),
        ({"type": 21}, "service_message"),
    ],
)
def test_who_speaks_for_no_person_is_ignored(fields: Json, reason: str) -> None:
    assert ignored(event("MESSAGE_CREATE", in_guild("hi", **fields))) == reason


def test_marks_become_words() -> None:
    content = f"<@{ANN['id']}> in <#{TEXT_CHANNEL}> says <:wave:1800000000000000001> </ask:1800000000000000002> "
    content += "<https://a.b/c> <@&5> <t:1700000000:R> a<b <t:999999999999> <@9>"
    text = told(event("MESSAGE_CREATE", message(content, mentions=[ANN]))).text
    assert text == (
        "@Ann Lee in #channel says :wave: /ask https://a.b/c @role 2023-11-14 22:13 UTC a<b <t:999999999999> @someone"
    )
    named = message("<#5>", mention_channels=[{"id": "5", "guild_id": GUILD, "type": 0, "name": "news"}])
    assert told(event("MESSAGE_CREATE", named)).text == "#news"


def test_a_thread_is_a_conversation_of_its_own_in_its_parent() -> None:
    channel = {"id": THREAD, "type": 11, "parent_id": TEXT_CHANNEL, "name": "Ideas", "parent_type": 0}
    heard = told(event("MESSAGE_CREATE", in_guild("hi", channel_id=THREAD), channel=channel))
    assert (heard.conversation_key, heard.chat, heard.thread) == (THREAD, TEXT_CHANNEL, True)
    assert heard.text == "hi"


def test_a_forum_post_asks_in_its_title_too() -> None:
    channel = {"id": MESSAGE, "type": 11, "parent_id": FORUM, "name": "Cannot log in", "parent_type": 15}
    first = told(event("MESSAGE_CREATE", in_guild("since today", channel_id=MESSAGE), channel=channel))
    assert (first.text, first.conversation_key, first.chat) == ("Cannot log in\n\nsince today", MESSAGE, FORUM)
    later = in_guild("hello?", id="1300000000000000009", channel_id=MESSAGE)
    assert told(event("MESSAGE_CREATE", later, channel=channel)).text == "hello?"


@pytest.mark.parametrize(
    ("content", "command", "argument"),
    [("/new", "new", ""), ("/LINK 123-456", "link", "123-456"), ("!help", "help", "")],
)
def test_a_typed_command_is_one(content: str, command: str, argument: str) -> None:
    heard = told(event("MESSAGE_CREATE", message(content)))
    assert (heard.kind, heard.command, heard.text) == ("command", command, argument)


def test_other_slashes_are_words_and_a_bare_mention_asks_for_help() -> None:
    assert told(event("MESSAGE_CREATE", message("/etc/hosts is odd"))).kind == "text"
    assert told(event("MESSAGE_CREATE", message("/ask me"))).kind == "text"
    bare = said(f"<@{BOT_ID}>", mentions=[US])
    assert (bare.kind, bare.command) == ("command", "help")


def test_files_are_named_by_their_message() -> None:
    found: Json = {
        "id": "1900000000000000001",
        "filename": "a.pdf",
        "size": 9,
        "content_type": "application/pdf",
        "url": "x",
    }
    photo: Json = {"id": "1900000000000000002", "filename": "b.png", "size": 7, "content_type": "image/png; charset=x"}
    bare: Json = {"id": "1900000000000000003", "size": -1}
    heard = told(event("MESSAGE_CREATE", message(attachments=[found, photo, bare])))
    ref = {"channel_id": DM_CHANNEL, "message_id": MESSAGE}
    assert (heard.kind, heard.text) == ("text", "")
    assert list(heard.attachments) == [
        Attachment("file", "a.pdf", "application/pdf", 9, {**ref, "attachment_id": found["id"]}),
        Attachment("image", "b.png", "image/png", 7, {**ref, "attachment_id": photo["id"]}),
        Attachment("file", bare["id"], "application/octet-stream", 0, {**ref, "attachment_id": bare["id"]}),
    ]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"sticker_items": [{"id": "1", "name": "wave", "format_type": 1}]}, "sticker"),
        ({"poll": {"question": {"text": "?"}}}, "poll"),
        ({"flags": 1 << 13, "attachments": [{"id": "1", "content_type": "audio/ogg", "duration_secs": 2.0}]}, "voice"),
    ],
)
def test_what_we_cannot_read_is_told(fields: Json, detail: str) -> None:
    heard = told(event("MESSAGE_CREATE", message(**fields)))
    assert (heard.kind, heard.detail) == ("unsupported", detail)


def test_a_forwarded_message_says_what_it_carries() -> None:
    carried = {
        "message_reference": {"type": 1, "message_id": "1"},
        "message_snapshots": [{"message": {"content": "x"}}],
    }
    assert told(event("MESSAGE_CREATE", message(**carried))).text == "x"


def test_an_edit_has_a_key_of_its_own() -> None:
    at = "2024-10-27T12:05:00+00:00"
    heard = told(event("MESSAGE_UPDATE", message("better", edited_timestamp=at)))
    assert (heard.kind, heard.text, heard.message_ref) == ("edit", "better", MESSAGE)
    assert (heard.external_id, heard.sent_at) == (f"{MESSAGE}:edit:{at}", 1730030700.0)
    assert ignored(event("MESSAGE_UPDATE", message("an embed was added"))) == "not_edited"
    assert ignored(event("MESSAGE_UPDATE", {"id": MESSAGE, "channel_id": DM_CHANNEL})) == "not_edited"


def test_deletions_name_what_is_gone() -> None:
    place = {"channel_id": TEXT_CHANNEL, "guild_id": GUILD}
    gone = told(event("MESSAGE_DELETE", {"id": MESSAGE, **place}))
    assert (gone.kind, gone.message_ref, gone.external_id) == ("deletion", MESSAGE, f"{MESSAGE}:deleted")
    many = parse(ACCOUNT, event("MESSAGE_DELETE_BULK", {"ids": ["1", "2"], **place}))
    assert [m.external_id for m in many if isinstance(m, InboundMessage)] == ["1:deleted", "2:deleted"]


def reacted(name: str = "MESSAGE_REACTION_ADD", emoji: str = "👍", **fields: Any) -> Json:
    data = {"user_id": ANN["id"], "channel_id": DM_CHANNEL, "message_id": MESSAGE, "emoji": {"id": None, "name": emoji}}
    return event(name, {**data, **fields}, event="session:5")


def test_thumbs_are_feedback_and_taking_them_back_too() -> None:
    praise = told(reacted(emoji="👍🏽", message_author_id=BOT_ID))
    assert (praise.kind, praise.detail, praise.message_ref, praise.about) == ("feedback", "up", MESSAGE, "")
    assert praise.external_id == f"{MESSAGE}:{ANN['id']}:up:add:session:5"
    blame = told(reacted(emoji="👎", guild_id=GUILD, channel_id=TEXT_CHANNEL, member={"user": ANN, "nick": "Annie"}))
    assert (blame.detail, blame.sender.name, blame.private) == ("down", "Annie", False)
    back = told(reacted("MESSAGE_REACTION_REMOVE"))
    assert (back.detail, back.external_id) == ("none", f"{MESSAGE}:{ANN['id']}:up:remove:session:5")


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (reacted(emoji="🎉"), "other_reaction"),
        (reacted(message_author_id=ANN["id"]), "reaction_to_others"),
        (reacted(user_id=BOT_ID), "own_reaction"),
        (reacted(member={"user": {**ANN, "bot": True}}), "from_bot"),
        (event("THREAD_CREATE", {"id": THREAD}), "thread_created"),
        (event("TYPING_START", {}), "other_event"),
    ],
)
def test_other_events_need_nothing(update: Json, reason: str) -> None:
    assert ignored(update) == reason


@pytest.mark.parametrize(
    "update",
    [
        [],
        {},
        {"t": "MESSAGE_CREATE"},
        {"t": "MESSAGE_CREATE", "d": {}},
        {"t": "MESSAGE_CREATE", "d": message(content=5)},
        {"t": "MESSAGE_CREATE", "d": message("x", id=5)},
        {"t": "MESSAGE_CREATE", "d": message("x", id="../x")},
        {"t": "MESSAGE_CREATE", "d": message("x", attachments=[5])},
        {"t": "MESSAGE_DELETE_BULK", "d": {"channel_id": "1"}},
        interaction(2, {"name": "ask"}, token="a/b"),
    ],
)
def test_what_is_not_discords_shape_is_an_error(update: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse(ACCOUNT, update)


def test_what_postgres_cannot_hold_is_left_out() -> None:
    heard = told(event("MESSAGE_CREATE", message("a\0b \ud800", author={**ANN, "global_name": "\0"})))
    assert (heard.text, heard.sender.name) == ("ab \ufffd", "ann")


WHOLE = (
    event("MESSAGE_CREATE", in_guild("x", mentions=[US], referenced_message=message("y"))),
    event("MESSAGE_UPDATE", message("x", edited_timestamp="2024-10-27T12:05:00+00:00")),
    event("MESSAGE_DELETE", {"id": MESSAGE, "channel_id": TEXT_CHANNEL}),
    reacted(member={"user": ANN}),
    interaction(2, {"name": "ask", "type": 1, "options": [{"name": "question", "type": 3, "value": "x"}]}),
    guild_interaction(3, {"custom_id": "fb:up:turn_1", "component_type": 2}, message={"id": MESSAGE}),
)
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just([]), st.just({}), st.just([5]))


@given(st.sampled_from(WHOLE), st.data())
def test_a_broken_update_is_parsed_or_a_value_error(whole: Json, data: st.DataObject) -> None:
    update = copy.deepcopy(whole)
    target = update
    while True:
        key = data.draw(st.sampled_from(sorted(target)))
        if isinstance(target[key], dict) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(JUNK)
        break
    try:
        for parsed in parse(ACCOUNT, update):
            if isinstance(parsed, InboundMessage):
                told_as = orjson.dumps(parsed.to_json())
                assert orjson.dumps(InboundMessage.from_json(orjson.loads(told_as)).to_json()) == told_as
    except ValueError:
        pass
