"""Who is answered where: the settings `groups` and `access`, judged without asking anybody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from channels.policy import Admit, AskJoined, AskPaired, Stranger, Verdict, judge
from gateway.routes.policies import AccessSettings, GroupSettings
from kernel.types import Account, Attachment, Ignored, InboundMessage, Json, Sender

FILE = Attachment("file", "a.txt", "text/plain", 3, {"id": "f1"})


def account(**settings: Any) -> Account:
    return Account("ws", "acc", "slack", "webhook", {}, settings, {"id": "U1"})


def said(text: str = "hello", **more: Any) -> InboundMessage:
    """Something said in a group, by default to nobody in particular."""
    fields: Json = {"kind": "text", "private": False, "addressed": False, "chat": "C1", "address": {}} | more
    return InboundMessage("1", "C1:t" if fields.get("thread") else "C1", sender=Sender("U9"), text=text, **fields)


def private(text: str = "hello", **more: Any) -> InboundMessage:
    return said(text, **{"private": True, "addressed": True, "chat": "D1", **more})


def reason(verdict: Verdict) -> str:
    assert isinstance(verdict, Ignored), verdict
    return verdict.reason


def test_a_private_message_to_a_bot_without_settings_is_taken_as_it_is() -> None:
    message = private()
    verdict = judge(account(), message)
    assert isinstance(verdict, Admit) and verdict.message is message


@pytest.mark.parametrize("groups", [{}, {"answer": "threads"}, {"answer": "mention"}, {"answer": "always"}])
def test_what_is_addressed_to_the_bot_is_answered(groups: Json) -> None:
    for message in (said(addressed=True), said(addressed=True, thread=True), said("", kind="command", addressed=True)):
        assert judge(account(groups=groups), message) == Admit(message)


def test_by_default_others_words_count_only_in_threads_that_the_bot_has_joined() -> None:
    assert reason(judge(account(), said())) == "not_addressed"
    threaded = said(thread=True)
    assert judge(account(), threaded) == AskJoined()
    assert judge(account(), threaded, joined=True) == Admit(threaded)
    assert reason(judge(account(), threaded, joined=False)) == "not_addressed"


def test_mention_means_that_threads_are_not_even_looked_up() -> None:
    assert reason(judge(account(groups={"answer": "mention"}), said(thread=True))) == "not_addressed"


def test_always_answers_words_but_neither_stickers_nor_commands_for_others() -> None:
    always = account(groups={"answer": "always"})
    assert judge(always, said()) == Admit(said())
    assert reason(judge(always, said("", kind="unsupported", detail="sticker"))) == "not_addressed"
    assert reason(judge(always, said("", kind="command", command="roll"))) == "not_addressed"


@pytest.mark.parametrize(
    ("text", "left"),
    [("!bot when do you open?", "when do you open?"), ("!BOT: hi", "hi"), ("  !bot\nhi", "hi"), ("!bot, hi ", "hi")],
)
def test_a_prefix_is_cut_off(text: str, left: str) -> None:
    verdict = judge(account(groups={"answer": "prefix", "prefix": "!bot"}), said(text))
    assert isinstance(verdict, Admit)
    assert (verdict.message.text, verdict.message.addressed, verdict.message.kind) == (left, True, "text")


@pytest.mark.parametrize("text", ["hello", "!bottom line", "say !bot", "!bo", ""])
def test_without_the_prefix_nothing_is_answered_but_mentions(text: str) -> None:
    prefixed = account(groups={"answer": "prefix", "prefix": "!bot"})
    assert reason(judge(prefixed, said(text))) == "not_addressed"
    assert reason(judge(prefixed, said(text, thread=True))) == "not_addressed"
    assert judge(prefixed, said(text, addressed=True)) == Admit(said(text, addressed=True))


def test_a_prefix_alone_asks_for_help_unless_a_file_comes_with_it() -> None:
    prefixed = account(groups={"answer": "prefix", "prefix": "!bot"})
    alone = judge(prefixed, said("!bot"))
    assert isinstance(alone, Admit) and (alone.message.kind, alone.message.command) == ("command", "help")
    file = judge(prefixed, said("!bot", attachments=(FILE,)))
    assert isinstance(file, Admit) and (file.message.kind, file.message.text) == ("text", "")


def test_a_prefix_that_ends_in_a_sign_needs_no_space_after_it() -> None:
    verdict = judge(account(groups={"answer": "prefix", "prefix": "?"}), said("?opening hours"))
    assert isinstance(verdict, Admit) and verdict.message.text == "opening hours"


def test_an_edit_of_a_prefixed_message_is_cut_like_the_message() -> None:
    prefixed = account(groups={"answer": "prefix", "prefix": "!bot"})
    verdict = judge(prefixed, said("!bot and on Sunday?", kind="edit"), joined=True)
    assert isinstance(verdict, Admit) and (verdict.message.kind, verdict.message.text) == ("edit", "and on Sunday?")


def test_a_prefix_left_over_from_another_mode_is_not_looked_for() -> None:
    assert reason(judge(account(groups={"answer": "mention", "prefix": "!bot"}), said("!bot hi"))) == "not_addressed"


@pytest.mark.parametrize(
    ("groups", "served"),
    [
        ({"chats": ["C1", "C2"]}, True),
        ({"chats": ["C2"]}, False),
        ({"chats": []}, False),
        ({"except": ["C1"]}, False),
        ({"except": ["C2"]}, True),
        ({"except": []}, True),
        ({"chats": ["C1"], "except": ["C1"]}, False),
    ],
)
def test_lists_of_chats_say_where_the_bot_serves(groups: Json, served: bool) -> None:
    verdict = judge(account(groups={"answer": "always", **groups}), said(addressed=True))
    assert isinstance(verdict, Admit) == served
    if not served:
        assert reason(verdict) == "chat_not_served"
    assert isinstance(judge(account(groups=groups), private()), Admit)  # lists are about groups


@pytest.mark.parametrize("kind", ["edit", "deletion", "feedback", "migrated", "blocked", "unblocked"])
@pytest.mark.parametrize("message", [private(), said(), said(thread=True), said(addressed=True)])
def test_news_of_nothing_opens_no_conversation(kind: Any, message: InboundMessage) -> None:
    news = replace(message, kind=kind)
    assert judge(account(), news) == AskJoined()
    assert reason(judge(account(), news, joined=False)) == "news_of_nothing"
    assert judge(account(), news, joined=True) == Admit(news)


@pytest.mark.parametrize("who", ["listed", "paired"])
def test_strangers_hear_of_it_in_private_and_are_passed_over_in_groups(who: str) -> None:
    closed = account(access={"who": who, "users": ["U1"]})
    verdict = judge(closed, private("my secret", attachments=(FILE,)), paired=False)
    assert isinstance(verdict, Stranger)
    heard = verdict.message
    assert (heard.kind, heard.detail, heard.text, heard.attachments) == ("stranger", who, "", ())
    assert heard.sender == Sender("U9")
    assert reason(judge(closed, said(addressed=True), paired=False)) == "not_let_in"
    assert reason(judge(closed, said("", kind="command", command="link", addressed=True), paired=False)) == "not_let_in"
    for kind in ("edit", "feedback"):
        assert reason(judge(closed, replace(private(), kind=kind), joined=True, paired=False)) == "not_let_in"
    for kind in ("deletion", "blocked", "unblocked", "migrated"):
        assert isinstance(judge(closed, replace(private(), kind=kind), joined=True), Admit)  # type: ignore[arg-type]


def test_listed_people_are_let_in_whatever_the_way() -> None:
    for who in ("listed", "paired"):
        assert isinstance(judge(account(access={"who": who, "users": ["U9"]}), private()), Admit)
        assert isinstance(judge(account(access={"who": who, "users": ["U9"]}), said(addressed=True)), Admit)
    assert isinstance(judge(account(access={"who": "everyone"}), private()), Admit)
    assert isinstance(judge(account(access={"who": "everyone", "users": ["U1"]}), private()), Admit)
    assert isinstance(judge(account(access={"who": "listed"}), private()), Stranger)


def test_pairing_is_looked_up_only_where_it_decides() -> None:
    paired = account(access={"who": "paired"})
    assert judge(paired, private()) == AskPaired()
    assert judge(paired, private(), paired=True) == Admit(private())
    assert reason(judge(paired, said())) == "not_addressed"  # nobody is looked up for what is not for us
    assert judge(paired, said(thread=True)) == AskJoined()
    assert judge(paired, said(thread=True), joined=True) == AskPaired()
    assert judge(paired, said(thread=True), joined=True, paired=True) == Admit(said(thread=True))


KINDS = ("text", "command", "edit", "deletion", "feedback", "unsupported", "migrated", "blocked", "unblocked")


@given(
    message=st.builds(
        said,
        st.sampled_from(["hello", "!bot hi", ""]),
        kind=st.sampled_from(KINDS),
        private=st.booleans(),
        addressed=st.booleans(),
        thread=st.booleans(),
        chat=st.sampled_from(["", "C1", "C2"]),
    ),
    groups=st.fixed_dictionaries(
        {},
        optional={
            "answer": st.sampled_from(["always", "mention", "threads", "prefix"]),
            "prefix": st.just("!bot"),
            "chats": st.lists(st.sampled_from(["C1", "C3"]), max_size=2),
            "except": st.lists(st.sampled_from(["C1", "C3"]), max_size=2),
        },
    ),
    access=st.fixed_dictionaries(
        {},
        optional={
            "who": st.sampled_from(["everyone", "listed", "paired"]),
            "users": st.lists(st.sampled_from(["U9", "U8"]), max_size=2),
        },
    ),
    joined=st.booleans(),
    paired=st.booleans(),
)
def test_whatever_the_settings_two_look_ups_settle_it(
    message: InboundMessage, groups: Json, access: Json, joined: bool, paired: bool
) -> None:
    bot = account(groups=groups, access=access)
    verdict = judge(bot, message)
    if isinstance(verdict, AskJoined):
        verdict = judge(bot, message, joined=joined)
        assert not isinstance(verdict, AskJoined)
        asked = True
    else:
        asked = False
    if isinstance(verdict, AskPaired):
        verdict = judge(bot, message, joined=joined if asked else None, paired=paired)
    assert not isinstance(verdict, AskJoined | AskPaired)
    known = access.get("who", "everyone") == "everyone" or "U9" in access.get("users", [])
    known = known or (access.get("who") == "paired" and paired)
    if isinstance(verdict, Admit) and message.kind not in ("deletion", "migrated", "blocked", "unblocked"):
        assert known
    if isinstance(verdict, Stranger):
        assert message.private and not known and verdict.message.text == ""


def test_the_settings_that_routes_take_are_those_that_are_judged_by() -> None:
    given_ = {"answer": "prefix", "prefix": "!bot", "chats": ["C1"], "except": ["C2"]}
    assert GroupSettings.model_validate(given_).model_dump(exclude_unset=True) == given_
    people = {"who": "paired", "users": ["U1"]}
    assert AccessSettings.model_validate(people).model_dump(exclude_unset=True) == people


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": "prefix"},
        {"prefix": "!bot"},
        {"answer": "prefix", "prefix": " "},
        {"answer": "prefix", "prefix": "!bot "},
        {"answer": "sometimes"},
        {"chats": [""]},
        {"chat": ["C1"]},
        {"except_": ["C1"]},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: Json) -> None:
    with pytest.raises(ValidationError):
        GroupSettings.model_validate(wrong)
