"""Pressed buttons: Telegram shows a spinner on them until they are answered."""

from __future__ import annotations

from telegram.error import NetworkError

from channels.telegram.client import TelegramClient
from kernel.types import InboundMessage

_SECONDS = 5.0
_LONGEST = 200


async def acknowledge(client: TelegramClient, message: InboundMessage, text: str) -> None:
    """Answers a callback query, with a short notice when `text` is given; too late is nobody's concern.

    Source: https://core.telegram.org/bots/api#answercallbackquery
    """
    answer = {"callback_query_id": message.press, **({"text": text[:_LONGEST]} if text else {})}
    try:
        await client.call("answerCallbackQuery", answer, _SECONDS)
    except NetworkError:
        return
