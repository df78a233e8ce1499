"""Where something was said in Slack: the name of the place, and what answering there needs.

In direct messages the place is the whole conversation, unless somebody opened a thread (as the assistant's view does).
Anywhere else every message at the top is a thread to be, in which it is answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from channels.slack.words import clean
from kernel.types import Account, Json, Sender

_STAMP = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Place:
    """`thread` is the ts of the thread's first message, empty at the top of a direct conversation."""

    team: str
    channel: str
    direct: bool
    thread: str = ""

    @property
    def key(self) -> str:
        return ":".join(filter(None, (self.team, self.channel, self.thread)))

    def address(self, user: str, **more: Any) -> Json:
        thread = {"thread_ts": self.thread} if self.thread else {}
        return {"team": self.team, "channel": self.channel, "user": user, "direct": self.direct, **thread, **more}


def place_of(team: str, channel: str, ts: str, thread_ts: str = "") -> Place:
    """Slack's ids of direct conversations begin with D; `app_mention` names no kind of channel, so all go by that."""
    direct = channel.startswith("D")
    if thread_ts and thread_ts != ts:
        return Place(team, channel, direct, thread_ts)
    return Place(team, channel, direct, "" if direct else ts)


def bot_of(account: Account, team: str, update: Json) -> str:
    """The bot's user id in a team, empty when nobody knows."""
    teams = account.credentials.get("teams")
    known = teams.get(team) if isinstance(teams, dict) else None
    if isinstance(known, dict) and known.get("bot_user_id"):
        return str(known["bot_user_id"])
    if account.profile.get("team") == team:
        return str(account.profile.get("bot_user_id") or "")
    for entry in update.get("authorizations") or ():
        if isinstance(entry, dict) and entry.get("is_bot") is True and entry.get("team_id") == team:
            return str(entry.get("user_id") or "")
    return ""


def sender_of(team: str, user: str, name: Any = "", username: Any = "") -> Sender:
    """Slack promises unique user ids within a team only, so the team is part of ours."""
    return Sender(f"{team}:{user}", _text(name), _text(username))


def text_in(parent: Json, key: str) -> str:
    """A text that has to be there. Raises ValueError."""
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be a text")
    return value


def optional(parent: Json, key: str) -> str:
    """A text that may be missing or null. Raises ValueError for anything else."""
    value = parent.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} must be a text")
    return value or ""


def object_in(parent: Json, key: str) -> Json:
    value = parent.get(key)
    if type(value) is not dict:
        raise ValueError(f"{key} must be an object")
    return value


def stamp_in(parent: Json, key: str) -> str:
    """A ts such as "1726133700.887259": epoch seconds, and a message's id in its channel. Raises ValueError."""
    value = parent.get(key)
    if not isinstance(value, str) or not _STAMP.fullmatch(value):
        raise ValueError(f"{key} must be a ts")
    return value


def optional_stamp(parent: Json, key: str) -> str:
    return stamp_in(parent, key) if parent.get(key) else ""


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""
