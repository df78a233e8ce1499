"""What a message carries besides words: files, and what we cannot read.

Source: https://docs.discord.com/developers/resources/message
"""

from __future__ import annotations

from channels.discord.shapes import objects, snowflake, word
from kernel.types import Attachment, Json

_VOICE_MESSAGE = 1 << 13
_KINDS = {"image": "image", "audio": "audio", "video": "video"}
FORWARD = 1


def attachments_of(message: Json) -> list[Attachment]:
    """The files. Their addresses expire within a day, so what is kept names the message that they hang on."""
    place = {"channel_id": message.get("channel_id"), "message_id": message.get("id")}
    return [_attachment(found, place) for found in objects(message, "attachments")]


def _attachment(found: Json, place: Json) -> Attachment:
    mime = word(found, "content_type").partition(";")[0].strip()
    number, size = snowflake(found, "id"), found.get("size")
    return Attachment(
        kind=_KINDS.get(mime.partition("/")[0], "file"),  # type: ignore[arg-type]
        name=word(found, "filename") or number,
        mime=mime or "application/octet-stream",
        size=size if type(size) is int and size > 0 else 0,
        ref={**place, "attachment_id": number},
    )


def forwarded(message: Json) -> str:
    """The words of a message that was passed on, which has none of its own."""
    reference = message.get("message_reference")
    if not isinstance(reference, dict) or reference.get("type") != FORWARD:
        return ""
    snapshots = objects(message, "message_snapshots")
    inside = snapshots[0].get("message") if snapshots else None
    return word(inside, "content") if isinstance(inside, dict) else ""


def unsupported(message: Json) -> str:
    """The kind of content that we cannot read, or nothing."""
    flags = message.get("flags")
    if type(flags) is int and flags & _VOICE_MESSAGE:
        return "voice"
    if message.get("poll") is not None:
        return "poll"
    return "sticker" if message.get("sticker_items") else ""
