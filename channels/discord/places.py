"""Where a message stands: what the platform told earlier about its channel, and by which roles we are called.

A message names its channel by id alone, so what we learn of channels travels beside it in the update: `channel` is
{"id", "type", "name", "parent_id", "parent_type"}, `roles` are the ids of the bot's own roles.
Types of channels: https://docs.discord.com/developers/resources/channel#channel-object-channel-types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel.types import Json

TEXT, DM, VOICE, ANNOUNCEMENT, FORUM, MEDIA = 0, 1, 2, 5, 15, 16
THREADS = frozenset({10, 11, 12})
FORUMS = frozenset({FORUM, MEDIA})
WITH_MESSAGES = frozenset({TEXT, VOICE, ANNOUNCEMENT, 13})


def is_thread(kind: Any) -> bool:
    return type(kind) is int and kind in THREADS


def is_forum(kind: Any) -> bool:
    return type(kind) is int and kind in FORUMS


@dataclass(frozen=True, slots=True)
class Place:
    type: int
    parent: str
    name: str


@dataclass(slots=True)
class Places:
    """Channels and threads by id, our roles by guild, and the direct-message channels met so far."""

    bot: str
    known: dict[str, Place] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        """Learns from an event of the gateway, or from the same object over REST; anything odd is passed over."""
        if name == "GUILD_CREATE":
            self.roles[str(data.get("id"))] = [
                str(role["id"]) for role in _list(data, "roles") if _tags(role).get("bot_id") == self.bot
            ]
        if name in ("GUILD_CREATE", "THREAD_LIST_SYNC"):
            for channel in (*_list(data, "channels"), *_list(data, "threads")):
                self._learn(channel)
        elif name in ("CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE"):
            self._learn(data)
        elif name in ("CHANNEL_DELETE", "THREAD_DELETE"):
            self.known.pop(str(data.get("id")), None)
        elif name == "READY":
            self.private.update(str(channel.get("id")) for channel in _list(data, "private_channels"))
        elif name == "MESSAGE_CREATE" and data.get("guild_id") is None:
            self.private.add(str(data.get("channel_id")))

    def _learn(self, channel: Mapping[str, Any]) -> None:
        if channel.get("type") == DM:
            self.private.add(str(channel.get("id")))
        elif type(channel.get("type")) is int:
            parent = str(channel.get("parent_id") or "")
            self.known[str(channel.get("id"))] = Place(channel["type"], parent, str(channel.get("name") or ""))

    def update(self, name: str, data: Json) -> Json:
        """The event as `parse` takes it, with what is known of its place."""
        update: Json = {"t": name, "d": data}
        channel_id = str(data.get("channel_id"))
        place = self.known.get(channel_id)
        if place is not None:
            parent = self.known.get(place.parent)
            update["channel"] = {
                "id": channel_id,
                "type": place.type,
                "name": place.name,
                "parent_id": place.parent,
                "parent_type": parent.type if parent else None,
            }
        if data.get("mention_roles") and self.roles.get(str(data.get("guild_id"))):
            update["roles"] = self.roles[str(data["guild_id"])]
        return update


def _list(data: Mapping[str, Any], key: str) -> list[Json]:
    value = data.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _tags(role: Json) -> Json:
    tags = role.get("tags")
    return tags if isinstance(tags, dict) else {}
