"""What a platform is like: how bots may be connected, what they are known by, how much it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Credential:
    """One of the things that a bot is known by. `asked` is how a person is asked for it, "" when only programs give
    it; `pattern` what it looks like."""

    name: str
    asked: str = ""
    pattern: str = r"^[!-~]{1,300}$"
    required: bool = True


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which a bot's messages come in. Of the groups in `one_of` one has to be given whole; `made` names the
    secret that we make ourselves, which proves the platform's calls or lets a page vouch for its visitors."""

    credentials: Sequence[Credential] = ()
    one_of: Sequence[Sequence[str]] = ()
    made: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a platform takes: messages a second by one bot and in one chat, of which `burst` may come at once."""

    bot: float
    bot_burst: int
    chat: float
    chat_burst: int


@dataclass(frozen=True, slots=True)
class Room:
    """A place that is named by its platform's ids. `key` names the conversation; `address` is what `send` needs: both
    are those that `parse` makes of a message at the top of that place."""

    key: str
    address: dict[str, Any]
    private: bool


class NoRoom(ValueError):
    """Why this names no place on the platform."""
