"""Files in a Telegram message. Only their ids are kept: the address of a file holds the bot's token.

Shapes: https://core.telegram.org/bots/api#document and #photosize.
"""

from __future__ import annotations

from typing import Any

from kernel.types import Attachment, Json


def attachments(message: Json) -> tuple[Attachment, ...]:
    """The documents and pictures of a message; of a picture its largest size. Voices, videos and the like are none."""
    if "animation" in message:
        return ()
    document, photo = message.get("document"), message.get("photo")
    if isinstance(document, dict) and isinstance(document.get("file_id"), str):
        mime = _word(document, "mime_type") or "application/octet-stream"
        name = _word(document, "file_name") or "document"
        kind = "image" if mime.startswith("image/") else "file"
        return (Attachment(kind, name[:255], mime[:255], _size(document), {"file_id": document["file_id"]}),)  # type: ignore[arg-type]
    sizes = [size for size in photo if _is_picture(size)] if isinstance(photo, list) else []
    if not sizes:
        return ()
    largest = max(sizes, key=lambda size: size.get("width", 0) * size.get("height", 0))
    return (Attachment("image", "photo.jpg", "image/jpeg", _size(largest), {"file_id": largest["file_id"]}),)


def _is_picture(size: Any) -> bool:
    return (
        isinstance(size, dict)
        and isinstance(size.get("file_id"), str)
        and all(type(size.get(side, 0)) is int for side in ("width", "height"))
    )


def _word(parent: Json, key: str) -> str:
    value = parent.get(key)
    return value.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _size(file: Json) -> int:
    size = file.get("file_size")
    return size if type(size) is int and 0 <= size < 1 << 53 else 0
