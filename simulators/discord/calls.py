"""One call of the API, as its handler gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.discord.params import Params
from simulators.discord.state import Bot, Interaction, World


@dataclass(frozen=True, slots=True)
class Call:
    """path: the ids in the URL by name. root: where this simulator is. interaction: whose token the URL carries."""

    world: World
    bot: Bot
    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    params: Params
    root: str
    interaction: Interaction | None = None

    def number(self, name: str) -> int:
        """An id of the path, which the route has checked to be a number."""
        return int(self.path[name])


@dataclass(frozen=True, slots=True)
class Status:
    """What a handler returns when 200 is not the answer."""

    code: int
    body: Any = None


NOTHING = Status(204)
