"""Rooms: places that an operator names by what their platform shows, so that a bot may speak there unasked.

Names and addresses are those that `parse` makes of a message at the top of such a place: both are one conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from channels.slack.places import Place
from kernel.types import Json


@dataclass(frozen=True, slots=True)
class Room:
    """`key` names the conversation; `address` is what `send` needs."""

    key: str
    address: Json
    private: bool


class NoRoom(ValueError):
    """Why this names no place on the platform."""


def room(kind: str, profile: Mapping[str, object], chat: str, thread: str = "") -> Room:
    """`profile` is the account's. Raises NoRoom."""
    if kind not in _ROOMS:
        raise NoRoom(f"{kind} has no chats to name; name a user instead")
    return _ROOMS[kind](profile, chat, thread)


def _telegram(profile: Mapping[str, object], chat: str, thread: str) -> Room:
    """https://core.telegram.org/bots/api#chat: groups have negative ids; `thread` is a topic's."""
    if not re.fullmatch(r"-?[1-9][0-9]{0,15}", chat, re.ASCII):
        raise NoRoom("a Telegram chat is named by its numeric id, for instance -1001234567890")
    if thread and not re.fullmatch(r"[1-9][0-9]{0,15}", thread, re.ASCII):
        raise NoRoom("a topic is named by its numeric id")
    number = int(thread) if thread else None
    private = not chat.startswith("-")
    address: Json = {"chat_id": int(chat), "thread_id": number, "reply_to": None, "private": private}
    return Room(f"{chat}:{number}" if number is not None else chat, address, private)


def _slack(profile: Mapping[str, object], chat: str, thread: str) -> Room:
    """A channel's id, with its team's before it where the bot is in several; `thread` is the first message's ts."""
    found = re.fullmatch(r"(?:([TE][A-Z0-9]{2,20}):)?([CGD][A-Z0-9]{2,20})", chat, re.ASCII)
    if found is None:
        raise NoRoom("a Slack channel is named by its id, for instance C0LAN2Q65, or with its team T061EG9R6:C0LAN2Q65")
    if thread and not re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,9}", thread, re.ASCII):
        raise NoRoom("a thread is named by the ts of its first message, for instance 1726133700.887259")
    team = found[1] or str(profile.get("team") or "")
    if not team:
        raise NoRoom("this bot is in several Slack workspaces: write the team before the channel, T061EG9R6:C0LAN2Q65")
    place = Place(team, found[2], found[2].startswith("D"), thread)
    return Room(place.key, place.address(""), place.direct)


def _discord(profile: Mapping[str, object], chat: str, thread: str) -> Room:
    """Threads are channels of their own. Of direct messages a channel's id tells nothing, so this is for servers."""
    channel = thread or chat
    if not re.fullmatch(r"[0-9]{15,21}", channel, re.ASCII) or not re.fullmatch(r"[0-9]{15,21}", chat, re.ASCII):
        raise NoRoom("a Discord channel or thread is named by its numeric id, for instance 1204567890123456789")
    return Room(channel, {"channel_id": channel, "guild_id": None, "reply_to": None, "private": False}, False)


_ROOMS: dict[str, Callable[[Mapping[str, object], str, str], Room]] = {
    "telegram": _telegram,
    "slack": _slack,
    "discord": _discord,
}
