"""Rooms: places that an operator names by what their platform shows, so that a bot may speak there unasked."""

from __future__ import annotations

from collections.abc import Mapping

from channels.table import CHANNELS
from kernel.platform import NoRoom, Room


def room(kind: str, profile: Mapping[str, object], chat: str, thread: str = "") -> Room:
    """`profile` is the account's. Raises NoRoom."""
    find = CHANNELS[kind].room
    if find is None:
        raise NoRoom(f"{kind} has no chats to name; name a user instead")
    return find(profile, chat, thread)
