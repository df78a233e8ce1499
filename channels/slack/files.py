"""Files that people share: what parse tells of them, and getting their bytes.

https://docs.slack.dev/reference/objects/file-object. A file's address needs the bot's token, so only its id is kept.
"""

from __future__ import annotations

from typing import Any, Literal

from channels.slack.words import clean
from kernel.types import Attachment, Json

_GONE = ("tombstone", "hidden_by_limit", "external")
_KINDS: dict[str, Literal["image", "audio", "video"]] = {"image": "image", "audio": "audio", "video": "video"}


def attachments(team: str, files: Any) -> tuple[Attachment, ...]:
    """The files of a message that Slack itself holds. Raises ValueError when they are not Slack's shape."""
    if files is None:
        return ()
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise ValueError("files must be a list of objects")
    held = (file for file in files if file.get("mode") not in _GONE and isinstance(file.get("id"), str))
    return tuple(_attachment(team, file) for file in held)


def _attachment(team: str, file: Json) -> Attachment:
    mime, size = _text(file.get("mimetype")), file.get("size")
    return Attachment(
        kind=_KINDS.get(mime.partition("/")[0], "file"),
        name=_text(file.get("name")) or _text(file.get("title")) or "file",
        mime=mime,
        size=size if type(size) is int and size > 0 else 0,
        ref={"file_id": file["id"], "team": team},
    )


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""
