"""Slack's updates as its documentation shows them, and what each means to us."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.slack.parse import parse
from kernel.types import Account, Attachment, Ignored, InboundMessage, Json
from tests.slack_parts import ANN, BOT, CHANNEL, DIRECT, TEAM, TS, account, envelope, message_of, said

LATER = "1515449530.000100"


def one(update: Json, of: Account | None = None) -> InboundMessage:
    return message_of(parse(of or account(), update))


def reason(update: Json) -> str:
    [found] = parse(account(), update)
    assert isinstance(found, Ignored), found
    return found.reason


def test_a_direct_message() -> None:
    heard = one(said("what is the moon made of?", DIRECT))
    assert heard.kind == "text" and heard.text == "what is the moon made of?"
    assert heard.external_id == f"{TEAM}:{DIRECT}:{TS}" and heard.message_ref == TS
    assert heard.conversation_key == f"{TEAM}:{DIRECT}" and heard.chat == DIRECT
    assert heard.address == {"team": TEAM, "channel": DIRECT, "user": ANN, "direct": True}
    assert (heard.private, heard.addressed, heard.thread) == (True, True, False)
    assert heard.sender.external_id == f"{TEAM}:{ANN}"
    assert heard.sent_at == pytest.approx(1515449522.000016)
    assert InboundMessage.from_json(json.loads(json.dumps(heard.to_json()))) == heard


def test_a_mention_opens_a_thread() -> None:
    heard = one(said(f"<@{BOT}> is it everything a river should be?"))
    assert heard.text == "is it everything a river should be?"
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}:{TS}"
    assert heard.address["thread_ts"] == TS
    assert (heard.private, heard.addressed, heard.thread) == (False, True, False)


def test_message_app_mention_and_history_are_one_message() -> None:
    text = f"<@{BOT}> hello"
    mention = {"type": "app_mention", "user": ANN, "text": text, "ts": TS, "channel": CHANNEL, "event_ts": TS}
    # https://docs.slack.dev/reference/methods/conversations.history: no channel in the message itself
    past = {
        "type": "message",
        "user": ANN,
        "text": text,
        "ts": TS,
        "channel": CHANNEL,
        "reply_count": 2,
        "thread_ts": TS,
    }
    told = [one(said(text)), one(envelope(mention)), one(envelope(past))]
    assert len({(heard.external_id, heard.conversation_key, heard.text, heard.addressed) for heard in told}) == 1


def test_a_follow_up_in_a_thread_is_for_the_policy_to_judge() -> None:
    heard = one(said("and the other one?", thread_ts=TS, ts=LATER, parent_user_id="U2"))
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}:{TS}"
    assert (heard.thread, heard.addressed) == (True, False)
    assert heard.external_id == f"{TEAM}:{CHANNEL}:{LATER}"
    top = one(said("nobody in particular"))
    assert (top.thread, top.addressed) == (False, False)


def test_a_reply_in_a_thread_that_the_bot_began_is_for_the_bot() -> None:
    assert one(said("and the other one?", thread_ts=TS, ts=LATER, parent_user_id=BOT)).addressed


def test_a_thread_in_direct_messages_is_a_place_of_its_own_and_gets_a_title() -> None:
    heard = one(said("how long  is\nthe wall?", DIRECT, thread_ts=TS, ts=LATER))
    assert heard.conversation_key == f"{TEAM}:{DIRECT}:{TS}" and heard.thread and heard.private
    assert heard.address["title"] == "how long is the wall?"
    old = one(said("and how high?", DIRECT, thread_ts=TS, ts="1515459530.000100"))
    assert "title" not in old.address
    # the first message of a thread belongs to the conversation around it, also after the thread is there
    assert one(said("hi", DIRECT, thread_ts=TS, ts=TS)).conversation_key == f"{TEAM}:{DIRECT}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Tom &amp; Jerry &lt;3", "Tom & Jerry <3"),
        ("&amp;lt;", "&lt;"),
        ("see <https://example.com/a?b=1&amp;c=2>", "see https://example.com/a?b=1&c=2"),
        ("see <https://example.com/x|the page>", "see the page (https://example.com/x)"),
        ("see <https://example.com|example.com>", "see example.com"),
        ("<mailto:ann@example.com|ann@example.com>", "ann@example.com"),
        ("ask <@U024BE7LH> or <@U024BE7LH|ben>", "ask @U024BE7LH or @ben"),
        ("in <#C024BE7LR|general> and <#C024BE7LR|>", "in #general and #C024BE7LR"),
        ("<!here> <!subteam^SAZ94GDB8|@designers>", "@here @designers"),
        ("<!date^1392734382^Posted {date_num}|Posted 2014-02-18>", "Posted 2014-02-18"),
        (f"hey <@{BOT}> what now?", "hey what now?"),
        (f"<@{BOT}>, what now?", "what now?"),
        (f"<@{BOT}|parley>: what now?", "what now?"),
        (f"what now, <@{BOT}>?", "what now, ?"),
        (f"<@{BOT}> <@{BOT}>  hi", "hi"),
        ("a\0b \ud83d c", "ab � c"),
    ],
)
def test_text_as_people_read_it(text: str, shown: str) -> None:
    assert one(said(text, DIRECT)).text == shown


@pytest.mark.parametrize(
    ("text", "command", "argument"),
    [
        ("!new", "new", ""),
        ("/new", "new", ""),
        ("!Help", "help", ""),
        ("!link 123456", "link", "123456"),
        ("help", "", "help"),
        ("new", "", "new"),
        ("!important: what is it?", "", "!important: what is it?"),
        ("/etc/hosts is what?", "", "/etc/hosts is what?"),
    ],
)
def test_commands_begin_with_a_mark(text: str, command: str, argument: str) -> None:
    heard = one(said(text, DIRECT))
    assert (heard.command, heard.text) == (command, argument)
    assert heard.kind == ("command" if command else "text")


def test_a_bare_mention_asks_for_help() -> None:
    heard = one(said(f"<@{BOT}>"))
    assert (heard.kind, heard.command, heard.addressed) == ("command", "help", True)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"user": BOT}, "own_message"),
        ({"bot_id": "B1", "user": "U9"}, "from_bot"),
        ({"bot_id": "B1", "user": None, "subtype": "bot_message"}, "from_bot"),
        ({"user": "USLACKBOT"}, "from_bot"),
        ({"subtype": "channel_join"}, "service_message"),
        ({"subtype": "assistant_app_thread", "user": BOT}, "own_message"),
        ({"subtype": "channel_topic"}, "service_message"),
        ({"user": None}, "service_message"),
        ({"text": ""}, "no_text"),
    ],
)
def test_who_is_not_answered(more: Json, why: str) -> None:
    assert reason(said("hello", **more)) == why


def test_files_go_along_without_their_address() -> None:
    file = {
        "id": "F0RDZDWEM",
        "name": "tedair.gif",
        "title": "tedair.gif",
        "mimetype": "image/gif",
        "filetype": "gif",
        "mode": "hosted",
        "size": 137531,
        "url_private": "https://files.slack.com/files-pri/T0/tedair.gif",
        "url_private_download": "https://files.slack.com/files-pri/T0/download/tedair.gif",
    }
    heard = one(said("look", DIRECT, subtype="file_share", files=[file, {"id": "F1", "mode": "tombstone"}]))
    assert heard.kind == "text"
    ref = {"file_id": "F0RDZDWEM", "team": TEAM}
    assert heard.attachments == (Attachment("image", "tedair.gif", "image/gif", 137531, ref),)
    assert "files.slack.com" not in json.dumps(heard.to_json())
    silent = one(said("", DIRECT, subtype="file_share", files=[{**file, "mimetype": "audio/mp4"}]))
    assert (silent.kind, silent.detail, silent.attachments[0].kind) == ("unsupported", "voice", "audio")


def changed(message: Json, previous: Json) -> Json:
    """https://docs.slack.dev/reference/events/message/message_changed"""
    event = {"type": "message", "subtype": "message_changed", "hidden": True, "channel": CHANNEL, "ts": LATER}
    return envelope({**event, "message": message, "previous_message": previous, "event_ts": LATER})


WRITTEN = {"type": "message", "user": ANN, "text": "whats up", "ts": TS}


def test_an_edit() -> None:
    edited = {"user": ANN, "ts": "1515449540.000000"}
    heard = one(changed({**WRITTEN, "text": "what's up?", "edited": edited}, WRITTEN))
    assert (heard.kind, heard.text, heard.message_ref) == ("edit", "what's up?", TS)
    assert heard.external_id == f"{TEAM}:{CHANNEL}:{TS}:edit:1515449540.000000"
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}:{TS}"


@pytest.mark.parametrize(
    ("message", "previous", "why"),
    [
        ({**WRITTEN, "attachments": [{"title": "unfurled"}]}, WRITTEN, "not_an_edit"),
        ({**WRITTEN, "edited": {"ts": TS}, "reply_count": 1}, {**WRITTEN, "edited": {"ts": TS}}, "not_an_edit"),
        ({**WRITTEN, "user": BOT, "edited": {"ts": TS}}, WRITTEN, "own_message"),
        ({**WRITTEN, "bot_id": "B9", "edited": {"ts": TS}}, WRITTEN, "from_bot"),
    ],
)
def test_changes_that_are_no_edit_by_a_person(message: Json, previous: Json, why: str) -> None:
    assert reason(changed(message, previous)) == why


def test_a_deletion() -> None:
    """https://docs.slack.dev/reference/events/message/message_deleted"""
    event = {"type": "message", "subtype": "message_deleted", "hidden": True, "channel": CHANNEL, "ts": LATER}
    event |= {"deleted_ts": TS, "event_ts": LATER, "previous_message": {**WRITTEN, "thread_ts": "1515449500.000001"}}
    heard = one(envelope(event))
    assert (heard.kind, heard.message_ref, heard.text) == ("deletion", TS, "")
    assert heard.external_id == f"{TEAM}:{CHANNEL}:{TS}:deleted"
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}:1515449500.000001"
    tombstone = one(changed({"type": "message", "subtype": "tombstone", "ts": TS, "user": "USLACKBOT"}, WRITTEN))
    assert (tombstone.kind, tombstone.external_id) == ("deletion", heard.external_id)
    own = {**event, "previous_message": {**WRITTEN, "bot_id": "B1", "user": BOT}}
    assert reason(envelope(own)) == "own_message"


def reacted(name: str, kind: str = "reaction_added", **more: Any) -> Json:
    """https://docs.slack.dev/reference/events/reaction_added"""
    event = {"type": kind, "user": ANN, "reaction": name, "item_user": BOT, "event_ts": "1360782804.083113"}
    return envelope({**event, "item": {"type": "message", "channel": CHANNEL, "ts": TS}, **more})


@pytest.mark.parametrize(
    ("name", "kind", "detail"),
    [
        ("+1", "reaction_added", "up"),
        ("+1::skin-tone-4", "reaction_added", "up"),
        ("thumbsdown", "reaction_added", "down"),
        ("-1", "reaction_removed", "none"),
    ],
)
def test_thumbs_are_feedback(name: str, kind: str, detail: str) -> None:
    heard = one(reacted(name, kind))
    assert (heard.kind, heard.detail, heard.message_ref, heard.about) == ("feedback", detail, TS, "")
    assert heard.external_id == f"{TEAM}:{CHANNEL}:{TS}:reaction:{ANN}:1360782804.083113"


def test_other_reactions_are_not() -> None:
    assert reason(reacted("tada")) == "other_reaction"
    assert reason(reacted("+1", item_user="U2")) == "reaction_to_others"
    assert reason(reacted("+1", user=BOT)) == "reaction_to_others"
    assert reason(reacted("+1", item={"type": "file", "file": "F1"})) == "reaction_to_others"


def test_somebody_opens_the_assistant() -> None:
    """https://docs.slack.dev/reference/events/assistant_thread_started"""
    thread = {"user_id": ANN, "context": {"channel_id": CHANNEL}, "channel_id": DIRECT, "thread_ts": TS}
    heard = one(envelope({"type": "assistant_thread_started", "assistant_thread": thread, "event_ts": LATER}))
    assert (heard.kind, heard.command, heard.private, heard.thread) == ("command", "start", True, True)
    assert heard.conversation_key == f"{TEAM}:{DIRECT}:{TS}" and heard.address["opened"]
    asked = one(said("how long is the wall?", DIRECT, thread_ts=TS, ts=LATER))
    assert asked.conversation_key == heard.conversation_key


def commanded(text: str, channel: str = CHANNEL) -> Json:
    """https://docs.slack.dev/interactivity/implementing-slash-commands"""
    return {
        "token": "gIkuvaNzQIHg97ATvDxqgjtO",
        "team_id": TEAM,
        "channel_id": channel,
        "channel_name": "directmessage" if channel.startswith("D") else "test",
        "user_id": ANN,
        "user_name": "Steve",
        "command": "/parley",
        "text": text,
        "response_url": "https://hooks.slack.com/commands/1234/5678",
        "trigger_id": "13345224609.738474920.8088930838d88f008e0",
    }


def test_a_slash_command_asks_in_the_channel() -> None:
    heard = one(commanded("what is the moon?"))
    assert (heard.kind, heard.text, heard.addressed, heard.private) == ("text", "what is the moon?", True, False)
    assert heard.external_id == f"{TEAM}:command:13345224609.738474920.8088930838d88f008e0"
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}" and heard.address["otherwise"] == ANN
    assert heard.sender.username == "Steve"
    assert one(commanded("hello", DIRECT)).conversation_key == one(said("hello", DIRECT)).conversation_key


@pytest.mark.parametrize(
    ("text", "command", "rest"),
    [
        ("", "help", ""),
        ("help", "help", ""),
        ("New", "new", ""),
        ("!new", "new", ""),
        ("new phones, which are there?", "", "new phones, which are there?"),
        ("help me with my bill", "", "help me with my bill"),
        ("link ABC123", "link", "ABC123"),
        ("link my account to billing", "", "link my account to billing"),
    ],
)
def test_words_of_a_slash_command(text: str, command: str, rest: str) -> None:
    heard = one(commanded(text, DIRECT))
    assert (heard.command, heard.text) == (command, rest)


@pytest.mark.parametrize(
    ("name", "text", "command", "rest"),
    [
        ("/link", " ABC123 ", "link", "ABC123"),
        ("/LINK", "", "link", ""),
        ("/new", "", "new", ""),
        ("/ask", "hi", "", "hi"),
    ],
)
def test_an_app_may_have_slash_commands_of_those_names(name: str, text: str, command: str, rest: str) -> None:
    heard = one({**commanded(text), "command": name})
    assert (heard.command, heard.text, heard.private) == (command, rest, command == "link")


def test_what_holds_a_code_is_answered_in_private() -> None:
    heard = one(commanded("link"))
    assert heard.private and heard.address["channel"] == ANN and heard.chat == CHANNEL


def pressed(value: str, **container: Any) -> Json:
    """https://docs.slack.dev/reference/interaction-payloads/block_actions-payload"""
    return {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": ANN, "username": "ann", "team_id": TEAM},
        "api_app_id": "A02",
        "token": "Shh_its_a_seekrit",
        "container": {"type": "message", "message_ts": TS, "channel_id": CHANNEL, "is_ephemeral": False, **container},
        "trigger_id": "12466734323.1395872398",
        "channel": {"id": CHANNEL, "name": "review-updates"},
        "message": {"type": "message", "user": BOT, "ts": TS, "text": "An answer"},
        "response_url": "https://hooks.slack.com/actions/T1/1/abc",
        "actions": [{"type": "button", "action_id": "a", "block_id": "b", "value": value, "action_ts": LATER}],
    }


def test_buttons() -> None:
    blame = one(pressed("fb:down:turn_1", thread_ts="1515449500.000001"))
    assert (blame.kind, blame.detail, blame.about, blame.message_ref) == ("feedback", "down", "turn_1", TS)
    assert blame.conversation_key == f"{TEAM}:{CHANNEL}:1515449500.000001"
    assert blame.external_id == f"{TEAM}:{CHANNEL}:action:{LATER}"
    assert json.loads(blame.press) == {
        "url": "https://hooks.slack.com/actions/T1/1/abc",
        "trigger": "12466734323.1395872398",
    }
    assert one(pressed("fb:up:turn_1")).conversation_key == one(commanded("moon?")).conversation_key
    choice = one(pressed("say:How far is it: exactly?"))
    assert (choice.kind, choice.text, choice.addressed) == ("text", "How far is it: exactly?", True)
    assert one(pressed("say:/new")).command == "new"
    assert reason(pressed("buy:now")) == "unknown_action"
    assert reason({**pressed("x"), "channel": None}) == "view_action"


def test_the_form_about_a_bad_answer() -> None:
    """https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload"""
    meta = json.dumps({"turn": "turn_1", "channel": CHANNEL, "thread_ts": TS, "ts": LATER})
    view = {"id": "VNHU13V36", "callback_id": "parley_comment", "private_metadata": meta, "hash": "156663117.cd33ad1f"}
    view["state"] = {"values": {"comment": {"text": {"type": "plain_text_input", "value": " The year is wrong. "}}}}  # type: ignore[assignment]
    update = {"type": "view_submission", "team": {"id": TEAM}, "user": {"id": ANN, "name": "ann"}, "view": view}
    heard = one(update)
    assert (heard.kind, heard.detail, heard.about, heard.text) == ("feedback", "down", "turn_1", "The year is wrong.")
    assert heard.external_id == f"{TEAM}:view:VNHU13V36"
    assert heard.conversation_key == f"{TEAM}:{CHANNEL}:{TS}" and heard.message_ref == LATER
    assert reason({**update, "view": {**view, "callback_id": "other"}}) == "unknown_view"


def test_each_team_has_its_own_bot_user() -> None:
    teams = {"T2": {"bot_token": "xoxb-2", "bot_user_id": "U0OTHER"}}
    heard = message_of(parse(account(teams=teams), {**said("<@U0OTHER> hi"), "team_id": "T2", "authorizations": []}))
    assert (heard.text, heard.addressed, heard.address["team"]) == ("hi", True, "T2")
    [own] = parse(account(teams=teams), {**said("hi", user="U0OTHER"), "team_id": "T2", "authorizations": []})
    assert own == Ignored("own_message")


def test_in_a_shared_channel_the_event_is_by_the_right_of_our_own_team() -> None:
    heard = one({**said(f"<@{BOT}> hi", team="T0THEIRS", user_team="T0THEIRS"), "team_id": "T0THEIRS"})
    assert heard.address["team"] == TEAM and heard.addressed


def test_a_bot_user_that_only_the_event_tells() -> None:
    unknown = Account("ws_1", "acc_1", "slack", "webhook", {}, {}, {})
    assert one(said(f"<@{BOT}> hi"), unknown).addressed


@pytest.mark.parametrize(
    ("update", "why"),
    [
        ({"type": "app_rate_limited", "team_id": TEAM}, "app_rate_limited"),
        ({"type": "view_closed"}, "view_closed"),
        ({"type": "surprise"}, "unknown_update"),
        ({"ssl_check": "1", "token": "x"}, "check"),
        (envelope({"type": "app_home_opened", "user": ANN}), "app_home_opened"),
        (envelope({"type": "surprise"}), "unknown_event"),
    ],
)
def test_what_needs_no_turn(update: Json, why: str) -> None:
    assert reason(update) == why


@pytest.mark.parametrize(
    "update",
    [
        [],
        {"type": "event_callback", "team_id": TEAM},
        {"type": "event_callback", "event": {"type": "message"}},
        envelope({"type": "message", "user": ANN, "text": "hi", "ts": TS}),
        said("hi", ts="yesterday"),
        said("hi", ts=7),
        said("hi", ts="nan"),
        said("hi", files={}),
        said("hi", text=7),
        {**pressed("x"), "actions": {}},
        {**pressed("x"), "team": None},
        {"command": "/parley"},
    ],
)
def test_another_shape_is_a_value_error(update: Any) -> None:
    with pytest.raises(ValueError):
        parse(account(), update)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ("subtype", "user", "text", "ts", "thread_ts", "files", "message", "previous_message", "edited", "item", "bot_id")
)


@given(
    st.sampled_from(("message", "app_mention", "reaction_added", "assistant_thread_started")),
    st.dictionaries(_NAMES, _VALUES),
)
def test_whatever_comes_is_understood_ignored_or_a_value_error(kind: str, fields: Json) -> None:
    try:
        [found] = parse(account(), said("hi", **{**fields, "type": kind}))
    except ValueError:
        return
    if isinstance(found, InboundMessage):
        assert found.external_id.startswith(f"{TEAM}:") and "\0" not in found.text
