"""Files that people send, fetched when they are wanted. A file's address holds the bot's token, so it is never kept.

Source: https://core.telegram.org/bots/api#getfile
"""

from __future__ import annotations

from telegram.error import NetworkError

from channels.telegram.client import TelegramClient
from channels.telegram.send import retry_after
from kernel.types import Attachment, NotSent, Refused

MOST = 20 * 1024 * 1024  # bytes; the Bot API hands out nothing larger


async def fetch(client: TelegramClient, attachment: Attachment, limit: int) -> bytes | Refused | NotSent:
    """The file's bytes. Refused: it is larger than `limit` or than Telegram gives, or gone; NotSent: try again."""
    if attachment.size > min(limit, MOST):
        return Refused("too_large", f"{attachment.size} bytes are more than {min(limit, MOST)}")
    try:
        answer = await client.call("getFile", {"file_id": attachment.ref["file_id"]})
        if not answer.ok:
            again = answer.status == 429 or answer.status >= 500
            code = "too_large" if "too big" in answer.description.lower() else "gone"
            return NotSent(answer.description, retry_after(answer)) if again else Refused(code, answer.description)
        path = answer.result.get("file_path") if isinstance(answer.result, dict) else None
        if not isinstance(path, str):
            return Refused("gone", "Telegram names no path to the file")
        status, body = await client.download(path, limit)
    except NetworkError as error:
        return NotSent(error.message)
    if status == 200:
        return body if len(body) <= limit else Refused("too_large", f"more than {limit} bytes")
    return NotSent(f"HTTP {status}") if status >= 500 or status == 429 else Refused("gone", f"HTTP {status}")
