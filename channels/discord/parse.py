"""Discord's events and interactions to inbound messages: plain dictionaries in, kernel values out, nothing looked up.

An update is an interaction as Discord posts it, or {"t": name, "d": payload} as the gateway dispatches it, with what
`channels.discord.places` adds.
Shapes: https://docs.discord.com/developers/events/gateway-events and /resources/message
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from channels.discord.content import attachments_of, forwarded, unsupported
from channels.discord.interactions import interaction
from channels.discord.places import is_forum, is_thread
from channels.discord.reactions import reaction
from channels.discord.shapes import an_object, sender, snowflake, snowflake_or_none, whole, word
from channels.discord.snowflakes import seconds_of
from channels.discord.text import mentions, readable
from channels.discord.words import command_in
from kernel.types import Account, Ignored, InboundKind, InboundMessage, Json, Parsed, Sender

WRITTEN = (0, 19)  # types of message that a person writes: the default and a reply


def parse(account: Account, update: Json) -> list[Parsed]:
    """What one update means to us. Who is answered where is not decided here: a message in a server that does not
    call the bot comes with `addressed` False.

    Raises ValueError when `update` is not Discord's shape.
    """
    if not isinstance(update, dict):
        raise ValueError("an update must be an object")
    if "t" not in update:
        return [interaction(account, update)]
    read = _EVENTS.get(str(update["t"]))
    return read(account, update) if read else [Ignored("other_event")]


def _created(account: Account, update: Json) -> list[Parsed]:
    message = an_object(update, "d")
    return [_message(account, update, snowflake(message, "id"), edited=False)]


def _updated(account: Account, update: Json) -> list[Parsed]:
    """Only a person's edit is news: Discord also sends this event when it has unfolded a link."""
    message = an_object(update, "d")
    at = message.get("edited_timestamp")
    if not isinstance(at, str) or "author" not in message:
        return [Ignored("not_edited")]
    return [_message(account, update, f"{snowflake(message, 'id')}:edit:{at}", edited=True)]


def _message(account: Account, update: Json, external_id: str, *, edited: bool) -> Parsed:
    message = an_object(update, "d")
    author = an_object(message, "author")
    if reason := _stranger(account, message, author):
        return Ignored(reason)
    content = message.get("content") or forwarded(message)
    if not isinstance(content, str):
        raise ValueError("content must be a string")
    private = snowflake_or_none(message, "guild_id") is None
    ours = {str(account.profile.get("id") or ""), *map(str, update.get("roles") or ())} - {""}
    text = _titled(update, message, readable(content, message, ours))
    files = attachments_of(message)
    addressed = private or mentions(content, ours) or _answers_us(account, message)
    kind, command, text, detail = _reading(message, text, bool(files), edited=edited)
    if not addressed and not (text or files):
        return Ignored("empty")
    member = message.get("member")
    return InboundMessage(
        external_id=external_id,
        kind=kind,
        sender=sender(author, member if isinstance(member, dict) else None),
        text=text,
        message_ref=snowflake(message, "id"),
        command=command,
        detail=detail,
        sent_at=_edited_at(message) if edited else seconds_of(snowflake(message, "id")),
        addressed=addressed,
        attachments=files,
        **_place(update, message, snowflake(message, "id")),
    )


def _stranger(account: Account, message: Json, author: Json) -> str:
    """Why nobody is answered here: the author is not a person who speaks for themselves. Empty when one is."""
    if snowflake(author, "id") == str(account.profile.get("id")):
        return "own_message"
    if message.get("webhook_id") is not None:
        return "webhook"
    if author.get("bot") is True:
        return "from_bot"
    return "" if whole(message, "type") in WRITTEN and author.get("system") is not True else "service_message"


def _reading(message: Json, text: str, files: bool, *, edited: bool) -> tuple[InboundKind, str, str, str]:
    """Kind, command, text to work on, and what it is that we cannot read."""
    if edited:
        return "edit", "", text, ""
    detail = unsupported(message)
    if detail and (not text or detail == "voice"):
        return "unsupported", "", text, detail
    if found := command_in(text):
        return "command", *found, ""
    if text or files:
        return "text", "", text, ""
    return "command", "help", "", ""


def _titled(update: Json, message: Json, text: str) -> str:
    """The post that opens a thread of a forum asks in its title, too."""
    channel = _channel(update)
    opens = message["id"] == message.get("channel_id") and is_forum(channel.get("parent_type"))
    return f"{word(channel, 'name')}\n\n{text}".strip() if opens else text


def _answers_us(account: Account, message: Json) -> bool:
    replied = message.get("referenced_message")
    if not isinstance(replied, dict) or not isinstance(replied.get("author"), dict):
        return False
    return bool(replied["author"].get("id") == str(account.profile.get("id")))


def _place(update: Json, event: Json, reply_to: str | None) -> Json:
    """The fields that say where: the channel is the conversation, be it a thread or not."""
    channel_id, guild_id = snowflake(event, "channel_id"), snowflake_or_none(event, "guild_id")
    channel = _channel(update)
    thread = is_thread(channel.get("type"))
    private = guild_id is None
    return {
        "conversation_key": channel_id,
        "address": {
            "channel_id": channel_id,
            "guild_id": guild_id,
            "reply_to": None if private else reply_to,
            "private": private,
        },
        "private": private,
        "chat": (word(channel, "parent_id") if thread else "") or channel_id,
        "thread": thread,
    }


def _channel(update: Json) -> Json:
    return an_object(update, "channel") if update.get("channel") is not None else {}


def _edited_at(message: Json) -> float:
    return datetime.fromisoformat(message["edited_timestamp"]).timestamp()


def _deleted(account: Account, update: Json) -> list[Parsed]:
    """Discord does not say whose message it was, so every deletion is news; who wrote it stands in our records."""
    gone = an_object(update, "d")
    ids = gone.get("ids") if update["t"] == "MESSAGE_DELETE_BULK" else [gone.get("id")]
    if not isinstance(ids, list):
        raise ValueError("ids must be a list")
    return [_deletion(update, gone, snowflake({"id": number}, "id")) for number in ids]


def _deletion(update: Json, gone: Json, number: str) -> InboundMessage:
    return InboundMessage(
        external_id=f"{number}:deleted",
        kind="deletion",
        sender=Sender(snowflake(gone, "channel_id")),
        text="",
        message_ref=number,
        sent_at=0.0,
        **_place(update, gone, None),
    )


def _reacted(account: Account, update: Json) -> list[Parsed]:
    return [reaction(account, update, _place(update, an_object(update, "d"), None))]


def _interacted(account: Account, update: Json) -> list[Parsed]:
    return [interaction(account, an_object(update, "d"))]


def _passed_over(account: Account, update: Json) -> list[Parsed]:
    """A new thread says nothing by itself; its messages come on their own."""
    return [Ignored("thread_created")]


_EVENTS: dict[str, Callable[[Account, Json], list[Parsed]]] = {
    "MESSAGE_CREATE": _created,
    "MESSAGE_UPDATE": _updated,
    "MESSAGE_DELETE": _deleted,
    "MESSAGE_DELETE_BULK": _deleted,
    "MESSAGE_REACTION_ADD": _reacted,
    "MESSAGE_REACTION_REMOVE": _reacted,
    "INTERACTION_CREATE": _interacted,
    "THREAD_CREATE": _passed_over,
}
TAKEN = frozenset(_EVENTS)
