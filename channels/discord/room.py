"""A Discord channel or thread that is named by its id."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kernel.platform import NoRoom, Room


def room(profile: Mapping[str, object], chat: str, thread: str) -> Room:
    """Threads are channels of their own. Of direct messages a channel's id tells nothing, so this is for servers."""
    channel = thread or chat
    if not re.fullmatch(r"[0-9]{15,21}", channel, re.ASCII) or not re.fullmatch(r"[0-9]{15,21}", chat, re.ASCII):
        raise NoRoom("a Discord channel or thread is named by its numeric id, for instance 1204567890123456789")
    return Room(channel, {"channel_id": channel, "guild_id": None, "reply_to": None, "private": False}, False)
