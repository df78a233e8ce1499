"""Showing an answer while it is made: Telegram's drafts, which vanish by themselves and so leave nothing to clean up.

Source: https://core.telegram.org/bots/api#sendmessagedraft. Private chats only; groups see "typing…".
"""

from __future__ import annotations

import hashlib

from telegram.error import NetworkError

from channels.telegram.client import TelegramClient
from channels.telegram.render import render
from kernel.types import Json, Preview, Reply

_SECONDS = 5.0  # a draft that takes longer than this is not worth waiting for
_FLOOR = 1.1  # as fast as Telegram takes edits of one chat without a 429


async def _show(client: TelegramClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    if not address.get("private"):
        return None
    unit = render(Reply(markdown), {})[-1]
    draft = {
        "chat_id": address["chat_id"],
        "draft_id": _draft_id(key),
        "text": unit.payload["text"],
        "parse_mode": unit.payload["parse_mode"],
    }
    if address.get("thread_id") is not None:
        draft["message_thread_id"] = address["thread_id"]
    try:
        answer = await client.call("sendMessageDraft", draft, _SECONDS)
    except NetworkError:
        return state or {"shown": 0}
    return {"shown": len(markdown)} if answer.ok else None


def _draft_id(key: str) -> int:
    """Not 0, and the same for every part of one answer."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % 0x7FFFFFFF + 1


async def _recover(client: TelegramClient, address: Json, key: str, since: float) -> Json | None:
    return None


def _floor(address: Json) -> float:
    return _FLOOR


PREVIEW = Preview(_show, _recover, _floor, lasting=False)
