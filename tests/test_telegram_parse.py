"""Telegram updates as Telegram documents them, and what we make of each."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.telegram import parse
from kernel.types import Account, Attachment, Ignored, InboundMessage, Parsed, Sender

BOT = {"id": 4242, "is_bot": True, "first_name": "Parley", "username": "ParleyBot"}
ACCOUNT = Account("ws_1", "acc_1", "telegram", "webhook", {}, {}, {"id": 4242, "username": "ParleyBot"})
ANN = {"id": 7, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "ann", "language_code": "en"}
PRIVATE = {"id": 7, "type": "private", "first_name": "Ann", "username": "ann"}
GROUP = {"id": -1001, "type": "supergroup", "title": "Team", "is_forum": True}


def message(chat: dict[str, Any], **content: Any) -> dict[str, Any]:
    return {"message_id": 31, "from": ANN, "chat": chat, "date": 1_790_000_000, **content}


def update(**parts: Any) -> dict[str, Any]:
    return {"update_id": 900, **parts}


def one(parsed: list[Parsed]) -> Parsed:
    assert len(parsed) == 1
    return parsed[0]


def said(chat: dict[str, Any], **content: Any) -> InboundMessage:
    inbound = one(parse(ACCOUNT, update(message=message(chat, **content))))
    assert isinstance(inbound, InboundMessage)
    return inbound


def ignored(raw: dict[str, Any]) -> str:
    parsed = one(parse(ACCOUNT, raw))
    assert isinstance(parsed, Ignored)
    return parsed.reason


def entity(kind: str, text: str, part: str, **more: Any) -> dict[str, Any]:
    """An entity over `part` of `text`, measured as Telegram does."""
    start = text.index(part)
    offset = len(text[:start].encode("utf-16-le")) // 2
    return {"type": kind, "offset": offset, "length": len(part.encode("utf-16-le")) // 2, **more}


def test_a_private_text_whole() -> None:
    assert said(PRIVATE, text=" How late is it? ") == InboundMessage(
        external_id="900",
        conversation_key="7",
        kind="text",
        sender=Sender("7", "Ann Lee", "ann", "en"),
        text="How late is it?",
        address={"chat_id": 7, "thread_id": None, "reply_to": None, "private": True},
        message_ref="31",
        private=True,
        sent_at=1_790_000_000.0,
        chat="7",
    )


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/start", "start", ""),
        ("/start link-A1b2", "start", "link-A1b2"),
        ("/HELP@parleybot", "help", ""),
        ("/new\nfresh start", "new", "fresh start"),
        ("/frobnicate now", "frobnicate", "now"),
    ],
)
def test_commands(text: str, name: str, argument: str) -> None:
    entities = [entity("bot_command", text, text.split()[0])]
    for chat in (PRIVATE, GROUP):
        inbound = said(chat, text=text, entities=entities)
        assert (inbound.kind, inbound.command, inbound.text) == ("command", name, argument)


def test_a_command_counts_only_at_the_beginning_and_only_when_telegram_says_so() -> None:
    text = "try /help please"
    assert said(PRIVATE, text=text, entities=[entity("bot_command", text, "/help")]).kind == "text"
    assert said(PRIVATE, text="/help").kind == "text"


def test_a_command_for_another_bot_is_not_ours_in_a_group() -> None:
    text = "/help@OtherBot"
    raw = update(message=message(GROUP, text=text, entities=[entity("bot_command", text, text)]))
    assert ignored(raw) == "command_for_another_bot"


@pytest.mark.parametrize(
    ("text", "mention", "left"),
    [
        ("@ParleyBot what time is it?", "@ParleyBot", "what time is it?"),
        ("@parleybot, what time?", "@parleybot", "what time?"),
        ("🎉🎉 hey @PARLEYBOT what 🎉", "@PARLEYBOT", "🎉🎉 hey what 🎉"),
        ("what time, @ParleyBot?", "@ParleyBot", "what time, ?"),
    ],
)
def test_a_mention_in_a_group_addresses_us_and_is_cut_out(text: str, mention: str, left: str) -> None:
    inbound = said(GROUP, text=text, entities=[entity("mention", text, mention)])
    assert (inbound.kind, inbound.text, inbound.private) == ("text", left, False)
    assert inbound.address == {"chat_id": -1001, "thread_id": None, "reply_to": 31, "private": False}


def test_a_mention_by_name_addresses_us() -> None:
    text = "😀 Parley, hello"
    inbound = said(GROUP, text=text, entities=[entity("text_mention", text, "Parley", user=BOT)])
    assert inbound.text == "😀 , hello"


def test_a_bare_mention_asks_for_help() -> None:
    text = "@ParleyBot"
    inbound = said(GROUP, text=text, entities=[entity("mention", text, text)])
    assert (inbound.kind, inbound.command, inbound.text) == ("command", "help", "")


def test_a_reply_to_the_bot_addresses_us_but_the_opening_of_a_topic_does_not() -> None:
    replied = {"message_id": 5, "from": BOT, "chat": GROUP, "date": 1, "text": "Yes?"}
    assert said(GROUP, text="and then?", reply_to_message=replied).text == "and then?"
    opening = {"message_id": 5, "from": BOT, "chat": GROUP, "date": 1, "forum_topic_created": {"name": "T"}}
    assert ignored(update(message=message(GROUP, text="hi all", reply_to_message=opening))) == "not_addressed"


def test_group_talk_and_mentions_of_others_are_not_for_us() -> None:
    text = "@ann look"
    assert ignored(update(message=message(GROUP, text=text, entities=[entity("mention", text, "@ann")]))) == (
        "not_addressed"
    )
    assert ignored(update(message=message(GROUP, text="morning"))) == "not_addressed"
    assert ignored(update(message=message(GROUP, sticker={"emoji": "x"}))) == "not_addressed"


def test_a_forum_topic_is_a_conversation_of_its_own() -> None:
    text = "@ParleyBot hi"
    topic = said(
        GROUP, text=text, entities=[entity("mention", text, "@ParleyBot")], message_thread_id=12, is_topic_message=True
    )
    assert topic.conversation_key == "-1001:12"
    assert topic.address["thread_id"] == 12
    thread = said(GROUP, text=text, entities=[entity("mention", text, "@ParleyBot")], message_thread_id=12)
    assert thread.conversation_key == "-1001"


def test_an_edit_names_the_edited_message() -> None:
    edited = one(parse(ACCOUNT, update(edited_message=message(PRIVATE, text="I meant six", edit_date=2))))
    assert isinstance(edited, InboundMessage)
    assert (edited.kind, edited.message_ref, edited.text) == ("edit", "31", "I meant six")
    live = update(edited_message=message(PRIVATE, location={"latitude": 1.0, "longitude": 2.0}, edit_date=2))
    assert ignored(live) == "edit_without_text"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"voice": {"file_id": "x", "duration": 3}}, "voice"),
        ({"sticker": {"file_id": "x"}}, "sticker"),
        ({"document": {"file_id": "x"}, "animation": {"file_id": "x"}}, "animation"),
        ({"video": {"file_id": "x"}}, "video"),
        ({"venue": {}, "location": {}}, "venue"),
        ({"contact": {"phone_number": "1"}}, "contact"),
        ({"poll": {"id": "1"}}, "poll"),
    ],
)
def test_what_we_cannot_read_is_named(content: dict[str, Any], kind: str) -> None:
    inbound = said(PRIVATE, **content)
    assert (inbound.kind, inbound.detail, inbound.text) == ("unsupported", kind, "")
    replied = {"message_id": 5, "from": BOT, "chat": GROUP, "date": 1}
    assert said(GROUP, reply_to_message=replied, **content).kind == "unsupported"


def test_a_caption_is_text_and_names_its_attachment() -> None:
    inbound = said(PRIVATE, photo=[{"file_id": "x"}], caption="What is this?")
    assert (inbound.kind, inbound.text, inbound.detail) == ("text", "What is this?", "")
    assert inbound.attachments == (Attachment("image", "photo.jpg", "image/jpeg", 0, {"file_id": "x"}),)
    caption = "@ParleyBot this?"
    grouped = said(GROUP, video={}, caption=caption, caption_entities=[entity("mention", caption, "@ParleyBot")])
    assert (grouped.kind, grouped.text, grouped.detail) == ("text", "this?", "video")


def test_a_file_is_kept_by_its_id_and_never_by_an_address() -> None:
    document = {"file_id": "BQ1", "file_unique_id": "u", "file_name": "a.pdf", "mime_type": "application/pdf"}
    inbound = said(PRIVATE, document={**document, "file_size": 1234})
    assert (inbound.kind, inbound.text) == ("text", "")
    assert inbound.attachments == (Attachment("file", "a.pdf", "application/pdf", 1234, {"file_id": "BQ1"}),)
    sizes = [{"file_id": "s", "width": 90, "height": 60, "file_size": 9}, {"file_id": "l", "width": 900, "height": 600}]
    assert said(PRIVATE, photo=sizes).attachments[0].ref == {"file_id": "l"}


def test_group_chatter_is_passed_on_where_a_policy_may_want_it() -> None:
    raw = update(message=message(GROUP, text="is it open on Sunday?"))
    assert ignored(raw) == "not_addressed"
    listening = dataclasses.replace(ACCOUNT, settings={"groups": {"answer": "always"}})
    heard = one(parse(listening, raw))
    assert isinstance(heard, InboundMessage)
    assert (heard.text, heard.addressed, heard.chat) == ("is it open on Sunday?", False, "-1001")


def press(data: str, **more: Any) -> dict[str, Any]:
    shown = {"message_id": 55, "from": BOT, "chat": GROUP, "date": 9, "is_topic_message": True, "message_thread_id": 3}
    return update(
        callback_query={"id": "q1", "from": ANN, "message": shown, "chat_instance": "c", "data": data, **more}
    )


@pytest.mark.parametrize(
    ("data", "kind", "detail", "about", "command", "text"),
    [
        ("fb:up:turn_1", "feedback", "up", "turn_1", "", ""),
        ("fb:down:turn_1", "feedback", "down", "turn_1", "", ""),
        ("say:/link yes", "command", "", "", "link", "yes"),
        ("say:What else?", "text", "", "", "", "What else?"),
    ],
)
def test_a_pressed_button(data: str, kind: str, detail: str, about: str, command: str, text: str) -> None:
    inbound = one(parse(ACCOUNT, press(data)))
    assert isinstance(inbound, InboundMessage)
    found = (inbound.kind, inbound.detail, inbound.about, inbound.command, inbound.text)
    assert found == (kind, detail, about, command, text)
    assert (inbound.press, inbound.conversation_key, inbound.message_ref) == ("q1", "-1001:3", "55")
    assert (inbound.sender.external_id, inbound.addressed, inbound.private) == ("7", True, False)


@pytest.mark.parametrize("raw", [press("fb:maybe:turn_1"), press("fb:up:"), press("other"), press("say: ")])
def test_other_buttons_are_not_ours(raw: dict[str, Any]) -> None:
    assert ignored(raw) == "other_button"


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [([], ["👍"], "up"), (["👍"], ["👎"], "down"), (["👎"], [], "none"), (["👍"], ["🎉"], "none")],
)
def test_a_reaction_is_praise_or_blame(old: list[str], new: list[str], detail: str) -> None:
    emojis = [[{"type": "emoji", "emoji": emoji} for emoji in each] for each in (old, new)]
    change = {"chat": PRIVATE, "message_id": 55, "user": ANN, "date": 9, "old_reaction": emojis[0]}
    inbound = one(parse(ACCOUNT, update(message_reaction={**change, "new_reaction": emojis[1]})))
    assert isinstance(inbound, InboundMessage)
    assert (inbound.kind, inbound.detail, inbound.message_ref, inbound.about) == ("feedback", detail, "55", "")


def test_other_reactions_say_nothing() -> None:
    change = {"chat": PRIVATE, "message_id": 55, "date": 9, "old_reaction": [], "new_reaction": []}
    assert ignored(update(message_reaction={**change, "user": ANN})) == "other_reaction"
    assert ignored(update(message_reaction=change)) == "anonymous"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (update(message=message(PRIVATE, text="x") | {"from": {**ANN, "is_bot": True}}), "from_bot"),
        (update(message=message(PRIVATE, text="x", via_bot=BOT)), "via_bot"),
        (update(message=message(GROUP, text="x", sender_chat=GROUP)), "anonymous"),
        (update(message={"message_id": 1, "chat": GROUP, "date": 1, "text": "x"}), "anonymous"),
        (update(message=message({"id": -5, "type": "channel"}, text="x")), "channel_post"),
        (update(message=message(GROUP, text="x", is_automatic_forward=True)), "channel_post"),
        (update(message=message(GROUP, new_chat_members=[ANN])), "service_message"),
        (update(message=message(GROUP, migrate_from_chat_id=-5)), "service_message"),
        (update(channel_post={}), "channel_post"),
        (update(something_new={}), "unknown_update"),
        (update(), "unknown_update"),
    ],
)
def test_what_nobody_waits_for_is_ignored_with_a_reason(raw: dict[str, Any], reason: str) -> None:
    assert ignored(raw) == reason


def test_a_group_that_moved_tells_its_new_id() -> None:
    moved = said({"id": -5, "type": "group", "title": "Old"}, migrate_to_chat_id=-1009)
    assert (moved.kind, moved.conversation_key, moved.detail, moved.private) == ("migrated", "-5", "-1009", False)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({"status": "member"}, {"status": "kicked"}, "blocked"),
        ({"status": "administrator"}, {"status": "left"}, "blocked"),
        ({"status": "member"}, {"status": "restricted", "is_member": False}, "blocked"),
        ({"status": "kicked"}, {"status": "member"}, "unblocked"),
        ({"status": "left"}, {"status": "restricted", "is_member": True}, "unblocked"),
    ],
)
def test_being_put_out_and_let_in(old: dict[str, Any], new: dict[str, Any], kind: str) -> None:
    change = {"chat": PRIVATE, "from": ANN, "date": 5, "old_chat_member": old, "new_chat_member": new}
    parsed = one(parse(ACCOUNT, update(my_chat_member=change)))
    assert isinstance(parsed, InboundMessage)
    assert (parsed.kind, parsed.conversation_key, parsed.private, parsed.sent_at) == (kind, "7", True, 5.0)


def test_a_promotion_or_a_channel_is_no_news() -> None:
    rights = {"old_chat_member": {"status": "member"}, "new_chat_member": {"status": "administrator"}}
    change = {"chat": GROUP, "from": ANN, "date": 5, **rights}
    assert ignored(update(my_chat_member=change)) == "membership_unchanged"
    assert ignored(update(my_chat_member={**change, "chat": {"id": -5, "type": "channel"}})) == "channel_membership"


def test_what_postgres_cannot_hold_is_left_out() -> None:
    assert said(PRIVATE, text="a\0b\ud800c").text == "ab\ufffdc"


@pytest.mark.parametrize(
    "raw",
    [
        [],
        None,
        {},
        {"update_id": "900"},
        {"update_id": True, "message": {}},
        update(message=[]),
        update(message={"message_id": 1}),
        update(message=message({"type": "private"}, text="x")),
        update(message=message(PRIVATE, text=5)),
        update(message=message(PRIVATE, text="x") | {"from": 5}),
        update(message=message(PRIVATE, text="x") | {"message_id": None}),
        update(message=message(PRIVATE, text="x", entities={})),
        update(message=message(PRIVATE, text="x", entities=[5])),
        update(message=message(PRIVATE, text="x", entities=[{"type": "mention", "offset": "0", "length": 1}])),
        update(
            message=message(
                GROUP, text="/x", is_topic_message=True, message_thread_id="12", reply_to_message={"from": BOT}
            )
        ),
        update(my_chat_member={"chat": PRIVATE, "old_chat_member": {"status": 1}, "new_chat_member": {}}),
    ],
)
def test_what_is_not_telegrams_shape_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError):
        parse(ACCOUNT, raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)
_MENTION = "🎉 @ParleyBot hi"
REAL = [
    update(message=message(PRIVATE, text="/start x", entities=[entity("bot_command", "/start x", "/start")])),
    update(
        message=message(
            GROUP,
            text=_MENTION,
            entities=[entity("mention", _MENTION, "@ParleyBot"), entity("text_mention", _MENTION, "hi", user=BOT)],
            is_topic_message=True,
            message_thread_id=3,
            reply_to_message=message(GROUP, text="x") | {"from": BOT},
        )
    ),
    update(edited_message=message(PRIVATE, photo=[{}], caption="c", caption_entities=[])),
    update(message=message(GROUP, migrate_to_chat_id=-1009)),
    update(
        my_chat_member={
            "chat": PRIVATE,
            "from": ANN,
            "date": 5,
            "old_chat_member": {"status": "member"},
            "new_chat_member": {"status": "restricted", "is_member": False},
        }
    ),
]


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, child in inside for path in paths(child, (*prefix, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    raw: Any = {"root": copy.deepcopy(draw(st.sampled_from(REAL)))}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(raw)[1:]))
        parent = raw
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[path[-1]] = draw(JSON)
        elif isinstance(parent, dict) and len(path) > 1:
            del parent[path[-1]]
    return raw["root"]


@given(JSON | mutated())
def test_any_json_gives_messages_or_a_value_error(raw: Any) -> None:
    try:
        parsed = parse(ACCOUNT, raw)
    except ValueError:
        return
    assert len(parsed) == 1
    if isinstance(parsed[0], InboundMessage):
        text = parsed[0].text + parsed[0].command + parsed[0].sender.name
        assert "\0" not in text
        text.encode()
        assert InboundMessage.from_json(parsed[0].to_json()) == parsed[0]
