"""A Telegram chat that is named by its id."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kernel.platform import NoRoom, Room
from kernel.types import Json


def room(profile: Mapping[str, object], chat: str, thread: str) -> Room:
    """https://core.telegram.org/bots/api#chat: groups have negative ids; `thread` is a topic's."""
    if not re.fullmatch(r"-?[1-9][0-9]{0,15}", chat, re.ASCII):
        raise NoRoom("a Telegram chat is named by its numeric id, for instance -1001234567890")
    if thread and not re.fullmatch(r"[1-9][0-9]{0,15}", thread, re.ASCII):
        raise NoRoom("a topic is named by its numeric id")
    number = int(thread) if thread else None
    private = not chat.startswith("-")
    address: Json = {"chat_id": int(chat), "thread_id": number, "reply_to": None, "private": private}
    return Room(f"{chat}:{number}" if number is not None else chat, address, private)
