"""Whether a bot takes up a message: the account's settings `groups` and `access`, judged without asking anybody.

settings["groups"]  {"answer": "threads" (default), "mention", "always" or "prefix", "prefix": "!bot",
                     "chats": the only groups that are served, "except": groups that are not}
settings["access"]  {"who": "everyone" (default), "listed" or "paired", "users": [external ids that are always let in]}

docs/channels/groups.md tells operators what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel.types import Account, Ignored, InboundMessage

# About something that is there already: such news never opens a conversation.
_NEWS = frozenset(("edit", "deletion", "feedback", "migrated", "blocked", "unblocked"))
# News of a chat and not of a person, who need not be known; a platform may not say whose message was deleted.
_OF_THE_CHAT = frozenset(("migrated", "blocked", "unblocked", "deletion"))


@dataclass(frozen=True, slots=True)
class Admit:
    """Take it up, as `message` has it now: a prefix is cut off."""

    message: InboundMessage


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody whom this bot does not know wrote in private. `message` is of kind "stranger", without their words;
    its detail is "listed" or "paired": how one is let in."""

    message: InboundMessage


@dataclass(frozen=True, slots=True)
class AskJoined:
    """Judge again with `joined`: whether the bot takes part in this place."""


@dataclass(frozen=True, slots=True)
class AskPaired:
    """Judge again with `paired`: whether this sender is paired with this bot. Never asked before `joined`."""


Verdict = Admit | Ignored | Stranger | AskJoined | AskPaired


def judge(
    account: Account, message: InboundMessage, *, joined: bool | None = None, paired: bool | None = None
) -> Verdict:
    """What to do with a message. `joined` and `paired` are given when an earlier verdict asked for them."""
    settings = account.settings
    news = message.kind in _NEWS
    if message.private and not news and "access" not in settings:
        return Admit(message)
    if news and not joined:
        return AskJoined() if joined is None else Ignored("news_of_nothing")
    if not message.private:
        heard = _in_group(settings.get("groups") or {}, message, joined)
        if not isinstance(heard, Admit):
            return heard
        message = heard.message
    return _let_in(settings.get("access") or {}, message, paired)


def _in_group(groups: Mapping[str, Any], message: InboundMessage, joined: bool | None) -> Verdict:
    cut = _without_prefix(groups, message)
    if message.kind in _NEWS:
        return Admit(message if cut is None else replace(message, text=cut))
    chats = groups.get("chats")
    if (chats is not None and message.chat not in chats) or message.chat in (groups.get("except") or ()):
        return Ignored("chat_not_served")
    if cut is not None:
        return Admit(_said(message, cut))
    if message.addressed:
        return Admit(message)
    if message.kind != "text":
        return Ignored("not_addressed")  # a sticker, or a command that may be for another bot
    answer = groups.get("answer") or "threads"
    if answer == "always":
        return Admit(message)
    if answer == "threads" and message.thread:
        if joined is None:
            return AskJoined()
        if joined:
            return Admit(message)
    return Ignored("not_addressed")


def _without_prefix(groups: Mapping[str, Any], message: InboundMessage) -> str | None:
    """The text after the prefix; None when there is no prefix to look for, or it is not there as a word of its own."""
    prefix = groups.get("prefix") if groups.get("answer") == "prefix" else None
    if not prefix or message.kind not in ("text", "unsupported", "edit"):
        return None
    text = message.text.lstrip()
    head, rest = text[: len(prefix)], text[len(prefix) :]
    if head.casefold() != prefix.casefold() or (rest[:1].isalnum() and prefix[-1].isalnum()):
        return None
    return rest.lstrip(" \t\n,:").rstrip()


def _said(message: InboundMessage, text: str) -> InboundMessage:
    """What follows the prefix; the prefix alone asks for help, as a bare mention does."""
    if message.kind == "text" and not text and not message.attachments:
        return replace(message, kind="command", command="help", text="", addressed=True)
    return replace(message, text=text, addressed=True)


def _let_in(access: Mapping[str, Any], message: InboundMessage, paired: bool | None) -> Verdict:
    who = access.get("who") or "everyone"
    if (
        who == "everyone"
        or message.kind in _OF_THE_CHAT
        or message.sender.external_id in (access.get("users") or ())
        or (who == "paired" and paired)
    ):
        return Admit(message)
    if who == "paired" and paired is None:
        return AskPaired()
    if not message.private or message.kind in _NEWS:
        return Ignored("not_let_in")
    return Stranger(replace(message, kind="stranger", text="", command="", detail=who, attachments=()))
