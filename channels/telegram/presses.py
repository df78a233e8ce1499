"""Pressed buttons and reactions: praise, blame, and choices that count as if they had been typed.

Shapes: https://core.telegram.org/bots/api#callbackquery and #messagereactionupdated. The data of our buttons is in
`channels.buttons`.
"""

from __future__ import annotations

from typing import Any

from channels.buttons import BLAME, PRAISE
from channels.telegram.shapes import integer, integer_or_none, object_of, seconds, sender, storable
from kernel.types import Ignored, InboundMessage, Json, Parsed


def pressed(external_id: str, query: Json) -> Parsed:
    """A callback query. Raises ValueError when it is not Telegram's shape."""
    if "message" not in query or not isinstance(query.get("data"), str):
        return Ignored("other_button")
    message = object_of(query, "message")
    verb, _, rest = storable(query["data"]).partition(":")
    where = {**_place(message), "external_id": external_id, "sender": sender(object_of(query, "from"))}
    where["press"] = str(query.get("id", ""))
    verdict, _, turn = rest.partition(":")
    if verb == "fb" and verdict in ("up", "down") and turn:
        return InboundMessage(kind="feedback", text="", detail=verdict, about=turn, **where)
    if verb != "say" or not rest.strip():
        return Ignored("other_button")
    if not rest.startswith("/"):
        return InboundMessage(kind="text", text=rest, **where)
    command, _, argument = rest[1:].partition(" ")
    return InboundMessage(kind="command", command=command.lower(), text=argument.strip(), **where)


def reacted(external_id: str, change: Json) -> Parsed:
    """👍 or 👎 under one of our messages, or taken back. Telegram tells it in groups to administrators only."""
    if "user" not in change:
        return Ignored("anonymous")
    old, new = _verdict(change.get("old_reaction")), _verdict(change.get("new_reaction"))
    if old == new:
        return Ignored("other_reaction")
    where = {**_place(change), "external_id": external_id, "sender": sender(object_of(change, "user"))}
    return InboundMessage(kind="feedback", text="", detail=new or "none", **where)


def _verdict(reactions: Any) -> str:
    if not isinstance(reactions, list):
        raise ValueError("reactions must be a list")
    emojis = {reaction.get("emoji") for reaction in reactions if isinstance(reaction, dict)}
    return "up" if PRAISE in emojis else "down" if BLAME in emojis else ""


def _place(message: Json) -> Json:
    """The fields of an InboundMessage that tell where it belongs."""
    chat = object_of(message, "chat")
    chat_id, message_id = integer(chat, "id"), integer(message, "message_id")
    thread_id = integer_or_none(message, "message_thread_id") if message.get("is_topic_message") is True else None
    private = chat.get("type") == "private"
    return {
        "conversation_key": f"{chat_id}:{thread_id}" if thread_id is not None else str(chat_id),
        "address": {"chat_id": chat_id, "thread_id": thread_id, "reply_to": None, "private": private},
        "message_ref": str(message_id),
        "private": private,
        "chat": str(chat_id),
        "sent_at": seconds(message.get("date")),
    }
