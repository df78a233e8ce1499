"""Telegram updates to inbound messages: plain dictionaries in, kernel values out, nothing looked up.

Shapes: https://core.telegram.org/bots/api#update and #message. Entity offsets count UTF-16 code units.
"""

from __future__ import annotations

from channels.telegram.attachments import attachments
from channels.telegram.entities import Addressed, address_of
from channels.telegram.presses import pressed, reacted
from channels.telegram.shapes import integer, is_int, object_of, seconds, sender, storable
from kernel.types import Account, Ignored, InboundKind, InboundMessage, Json, Parsed, Sender

# Order matters: an animation is also a document, a venue also a location.
ATTACHMENTS = (
    "photo",
    "animation",
    "document",
    "video",
    "video_note",
    "voice",
    "audio",
    "sticker",
    "venue",
    "location",
    "contact",
    "poll",
    "dice",
    "game",
    "story",
    "paid_media",
    "checklist",
    "invoice",
)

# Kinds of update that we never ask for, yet may meet; named so that the counter's labels stay a closed set.
OTHER_UPDATES = (
    "channel_post",
    "edited_channel_post",
    "inline_query",
    "chosen_inline_result",
    "message_reaction_count",
    "poll",
    "poll_answer",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "purchased_paid_media",
    "shipping_query",
    "pre_checkout_query",
)

OUTSIDE = ("left", "kicked")


def parse(account: Account, update: Json) -> list[Parsed]:
    """What one update means to us: exactly one message or the reason to ignore it.

    Private chats are always meant for us; in groups only a mention, a reply to the bot or a command for it is, and the
    mention is cut from the text (with nothing left it is the command `help`). What is not meant for us is passed on
    only where the account has a policy for groups; without one it would be ignored in any case.
    Raises ValueError when `update` is not Telegram's shape.
    """
    if not isinstance(update, dict):
        raise ValueError("an update must be an object")
    update_id = integer(update, "update_id")
    if "message" in update:
        return [_message(account, str(update_id), object_of(update, "message"), edited=False)]
    if "edited_message" in update:
        return [_message(account, str(update_id), object_of(update, "edited_message"), edited=True)]
    if "my_chat_member" in update:
        return [_membership(str(update_id), object_of(update, "my_chat_member"))]
    if "callback_query" in update:
        return [pressed(str(update_id), object_of(update, "callback_query"))]
    if "message_reaction" in update:
        return [reacted(str(update_id), object_of(update, "message_reaction"))]
    return [Ignored(next((kind for kind in OTHER_UPDATES if kind in update), "unknown_update"))]


def _message(account: Account, external_id: str, message: Json, *, edited: bool) -> Parsed:
    chat = object_of(message, "chat")
    chat_id = integer(chat, "id")
    message_id = integer(message, "message_id")
    if "migrate_to_chat_id" in message:
        new_id = str(integer(message, "migrate_to_chat_id"))
        return _notice(external_id, "migrated", message, chat_id, private=False, detail=new_id)
    if reason := _stranger(message, chat):
        return Ignored(reason)

    private = chat.get("type") == "private"
    content = message.get("text", message.get("caption"))
    if content is not None and not isinstance(content, str):
        raise ValueError("text and caption must be strings")
    attachment = "" if "text" in message else next(filter(message.__contains__, ATTACHMENTS), "")
    if content is None and (edited or not attachment):
        return Ignored("edit_without_text" if edited else "service_message")

    plainly_to_us = private and "entities" not in message and "caption_entities" not in message
    addressed = (
        Addressed(True, (content or "").strip())
        if plainly_to_us
        else address_of(message, content or "", account.profile)
    )
    if not private and not addressed.to_us and not _may_be_heard(account, addressed):
        return Ignored(addressed.reason)
    thread_id = message.get("message_thread_id") if message.get("is_topic_message") is True else None
    if thread_id is not None and not is_int(thread_id):
        raise ValueError("message_thread_id must be an integer")
    files = attachments(message) if attachment and not edited else ()
    kind, command, text = _reading(addressed, content, attachment, edited=edited, files=bool(files))
    return InboundMessage(
        external_id,
        f"{chat_id}:{thread_id}" if thread_id is not None else str(chat_id),
        kind,
        sender(object_of(message, "from")),
        text,
        {
            "chat_id": chat_id,
            "thread_id": thread_id,
            "reply_to": None if private else message_id,
            "private": private,
        },
        str(message_id),
        command,
        private,
        "" if files else attachment,
        seconds(message.get("date")),
        str(chat_id),
        False,
        private or addressed.to_us,
        "",
        "",
        files,
    )


def _may_be_heard(account: Account, addressed: Addressed) -> bool:
    return bool(account.settings.get("groups")) and not addressed.command


def _reading(
    addressed: Addressed, content: str | None, attachment: str, *, edited: bool, files: bool
) -> tuple[InboundKind, str, str]:
    """The kind of message, the command's name and the text to work on."""
    if edited:
        return "edit", "", storable(addressed.text)
    if addressed.command:
        return "command", storable(addressed.command), storable(addressed.argument)
    if addressed.text:
        return "text", "", storable(addressed.text)
    if files:
        return "text", "", ""
    return ("unsupported", "", "") if attachment else ("command", "help", "")


def _stranger(message: Json, chat: Json) -> str:
    """Why nobody is answered here: the sender is not a person who speaks for themselves. Empty when one is."""
    if chat.get("type") == "channel" or message.get("is_automatic_forward") is True:
        return "channel_post"
    if "sender_chat" in message or "from" not in message:
        return "anonymous"
    if object_of(message, "from").get("is_bot") is True:
        return "from_bot"
    return "via_bot" if "via_bot" in message else ""


def _membership(external_id: str, change: Json) -> Parsed:
    """We were put out of a chat or let in again; a change of rights inside it is nobody's turn."""
    chat = object_of(change, "chat")
    if chat.get("type") == "channel":
        return Ignored("channel_membership")
    chat_id = integer(chat, "id")
    was_in, is_in = _is_member(object_of(change, "old_chat_member")), _is_member(object_of(change, "new_chat_member"))
    if was_in == is_in:
        return Ignored("membership_unchanged")
    kind: InboundKind = "unblocked" if is_in else "blocked"
    return _notice(external_id, kind, change, chat_id, private=chat.get("type") == "private")


def _is_member(member: Json) -> bool:
    status = member.get("status")
    if not isinstance(status, str):
        raise ValueError("status must be a string")
    if status == "restricted":
        return member.get("is_member") is True
    return status not in OUTSIDE


def _notice(
    external_id: str, kind: InboundKind, source: Json, chat_id: int, *, private: bool, detail: str = ""
) -> InboundMessage:
    """News about the chat itself, which quotes no message and needs no answer."""
    return InboundMessage(
        external_id=external_id,
        conversation_key=str(chat_id),
        kind=kind,
        sender=sender(object_of(source, "from")) if "from" in source else Sender(str(chat_id)),
        text="",
        address={"chat_id": chat_id, "thread_id": None, "reply_to": None, "private": private},
        private=private,
        detail=detail,
        sent_at=seconds(source.get("date")),
        chat=str(chat_id),
    )
