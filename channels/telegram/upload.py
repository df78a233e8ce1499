"""Files out: pictures as photos, everything else as a document.

Source: https://core.telegram.org/bots/api#senddocument, #sendphoto. Like a message, a file is not known again when it
is sent twice.
"""

from __future__ import annotations

from channels.telegram.client import NoAnswer, NotConnected, TelegramClient
from channels.telegram.send import outcome
from kernel.types import Json, NotSent, OutgoingFile, Refused, SendOutcome, Unknown

PHOTOS = frozenset(("image/jpeg", "image/png", "image/webp"))
PHOTO_MOST = 10 * 1024 * 1024  # bytes
_NO_PHOTO = ("bad_request", "too_large")  # too long, too wide, or not what it seems


async def upload(client: TelegramClient, address: Json, file: OutgoingFile, key: str = "") -> SendOutcome:
    """The receipt of a Sent holds `message_id` and `chat_id`. A picture that Telegram does not take as a photo is sent
    as a document."""
    try:
        if file.mime in PHOTOS and len(file.data) <= PHOTO_MOST:
            sent = await _sent(client, "sendPhoto", "photo", address, file)
            if not (isinstance(sent, Refused) and sent.code in _NO_PHOTO):
                return sent
        return await _sent(client, "sendDocument", "document", address, file)
    except NotConnected as error:
        return NotSent(error.message)
    except NoAnswer as error:
        return Unknown(error.message)


async def _sent(client: TelegramClient, method: str, field: str, address: Json, file: OutgoingFile) -> SendOutcome:
    parameters = {"chat_id": str(address["chat_id"])}
    if address.get("thread_id") is not None:
        parameters["message_thread_id"] = str(address["thread_id"])
    if file.caption:
        parameters["caption"] = file.caption
    if field == "document":
        parameters["disable_content_type_detection"] = "true"  # or a small picture becomes a sticker
    return outcome(await client.upload(method, parameters, field, file), plain=True)
