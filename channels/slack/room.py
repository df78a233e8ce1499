"""A Slack channel that is named by its id."""

from __future__ import annotations

import re
from collections.abc import Mapping

from channels.slack.places import Place
from kernel.platform import NoRoom, Room


def room(profile: Mapping[str, object], chat: str, thread: str) -> Room:
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
