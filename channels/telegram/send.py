"""One message out, and what became of it. Every failure is a value.

Wordings of refusals: https://core.telegram.org/bots/api gives none, so these are the server's own, lower-cased.
"""

from __future__ import annotations

from telegram.error import NetworkError

from channels.telegram.client import Answer, NoAnswer, NotConnected, TelegramClient
from kernel.types import Json, NotSent, Refused, SendOutcome, Sent, Unit, Unknown

TYPING_SECONDS = 5.0
_FORMATTING = ("can't parse", "parse entities", "entity", "entities", "too long", "too_long")
_CODES = {400: "bad_request", 401: "unauthorized", 403: "blocked", 404: "unauthorized", 413: "too_large"}


async def send(client: TelegramClient, address: Json, unit: Unit, plain: bool, key: str = "") -> SendOutcome:
    """Sends one unit to `address`, formatted or `plain`. The receipt of a Sent holds `message_id` and `chat_id`.

    Telegram has no way to recognise a repeat, so `key` goes nowhere.
    """
    try:
        answer = await client.call("sendMessage", _message(address, unit, plain))
    except NotConnected as error:
        return NotSent(error.message)
    except NoAnswer as error:
        return Unknown(error.message)
    return outcome(answer, plain=plain)


def _message(address: Json, unit: Unit, plain: bool) -> Json:
    message = {"chat_id": address["chat_id"], **unit.payload}
    if plain:
        message["text"] = unit.plain
        message.pop("parse_mode", None)
        message.pop("entities", None)
    if address.get("thread_id") is not None:
        message["message_thread_id"] = address["thread_id"]
    return message


def outcome(answer: Answer, *, plain: bool) -> SendOutcome:
    """What an answer to `sendMessage` means. A refused `plain` message is never asked to be plainer."""
    if answer.ok:
        return _receipt(answer)
    status, reason = answer.status, answer.description
    moved_to = answer.parameters.get("migrate_to_chat_id")
    if type(moved_to) is int:
        return Refused("moved", reason, moved_to=str(moved_to))
    if status == 429:
        return NotSent(reason, retry_after(answer), "chat")
    if status >= 500 or status < 300:
        return Unknown(reason)
    plainer = status == 400 and not plain and any(words in reason.lower() for words in _FORMATTING)
    code = "chat_not_found" if "chat not found" in reason.lower() else _CODES.get(status, f"http_{status}")
    return Refused(code, reason, plainer=plainer, blocked=status == 403)


def _receipt(answer: Answer) -> SendOutcome:
    message = answer.result if isinstance(answer.result, dict) else {}
    chat = message.get("chat")
    if type(message.get("message_id")) is not int:
        return Unknown("an answer without a message id")
    return Sent({"message_id": message["message_id"], "chat_id": chat.get("id") if isinstance(chat, dict) else None})


def retry_after(answer: Answer) -> float | None:
    """Seconds that a 429 asks us to wait, or None when it does not say."""
    seconds = answer.parameters.get("retry_after")
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


async def typing(client: TelegramClient, address: Json) -> None:
    """Shows "typing…" for up to five seconds; that it failed is nobody's concern."""
    action = {"chat_id": address["chat_id"], "action": "typing"}
    if address.get("thread_id") is not None:
        action["message_thread_id"] = address["thread_id"]
    try:
        await client.call("sendChatAction", action, TYPING_SECONDS)
    except NetworkError:
        return
