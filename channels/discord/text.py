"""What a message says, in words: our mention cut, other people's and channels' names in the place of their ids.

Source: https://docs.discord.com/developers/reference#message-formatting
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime

from channels.discord.shapes import objects, snowflake, storable, word
from kernel.types import Json

_MARK = re.compile(
    r"<@!?(?P<user>\d+)>|<@&(?P<role>\d+)>|<#(?P<channel>\d+)>|<a?:(?P<emoji>\w+):\d+>"
    r"|<t:(?P<time>-?\d{1,12})(?::\w)?>|</(?P<command>[^:>\n]+):\d+>|<(?P<link>https?://[^\s<>]+)>"
)


def readable(content: str, message: Json, ours: Collection[str]) -> str:
    """The content of `message` as a person reads it. `ours` are the ids, of users and roles, that mean the bot.

    Raises ValueError when the message's lists of mentions are not Discord's shape.
    """
    if "<" not in content:
        return storable(content).strip()
    names = {snowflake(user, "id"): word(user, "global_name") or word(user, "username") for user in _users(message)}
    places = {snowflake(place, "id"): word(place, "name") for place in objects(message, "mention_channels")}

    def shown(found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        value = found[kind]
        if kind == "user":
            return "@" + (names.get(value) or "someone")
        if kind == "channel":
            return "#" + (places.get(value) or "channel")
        if kind == "time":
            return _moment(int(value)) or found[0]
        return {"role": "@role", "emoji": f":{value}:", "command": f"/{value}", "link": value}[kind]

    return storable(_MARK.sub(shown, _without(content, ours))).strip()


def mentions(content: str, ours: Collection[str]) -> bool:
    """Whether the text itself names one of these ids."""
    return any((found["user"] or found["role"]) in ours for found in _MARK.finditer(content))


def _users(message: Json) -> list[Json]:
    return objects(message, "mentions")


def _without(content: str, ours: Collection[str]) -> str:
    """The content without our mentions; what called us at its beginning takes its comma or colon along."""
    if not ours:
        return content
    mention = f"<@[!&]?(?:{'|'.join(map(re.escape, sorted(ours)))})>"
    content = re.sub(rf"\A(?:\s*{mention}[\s,:]*)+", "", content)
    return re.sub(rf"[ \t]?{mention}", "", content)


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return ""
