"""One call of the Web API, and how its arguments name channels, users and messages."""

from dataclasses import dataclass
from typing import Any

from simulators.slack.errors import SlackError, invalid_arguments
from simulators.slack.ids import micros
from simulators.slack.params import Params
from simulators.slack.state import World
from simulators.slack.values import Channel, Installation, JsonObject, Seen, User

PAGE = 100
LONGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """method, its arguments, and on whose behalf."""

    world: World
    install: Installation
    method: str
    params: Params

    @property
    def request(self) -> JsonObject:
        """The arguments as the truth keeps them."""
        return {name: value for name, value in self.params.values.items() if name != "token"}

    def record(self, channel: Channel, message: JsonObject, **more: object) -> None:
        self.world.record(self.install, self.method, channel, message, request=self.request, **more)

    def needed(self, name: str) -> str:
        """A text argument. Raises SlackError when it is missing."""
        if not self.params.has(name):
            raise invalid_arguments(f"missing required field: {name}")
        return self.params.text(name)

    def channel(self, name: str = "channel", posting: bool = False) -> Channel:
        """The channel an argument means: an id; for posts also a name or a user's id. Raises SlackError."""
        given = self.params.text(name)
        found = self.world.channels.get(given)
        if found is None and posting:
            found = self._by_name(given)
        if found is None or found.team != self.install.team:
            raise SlackError("channel_not_found")
        if self.install.bot_user not in found.members:
            if found.kind != "channel":
                raise SlackError("channel_not_found")
            if posting and "chat:write.public" not in self.install.scopes:
                raise SlackError("not_in_channel")
        if posting and found.archived:
            raise SlackError("is_archived")
        return found

    def _by_name(self, given: str) -> Channel | None:
        user = self.world.users.get(given)
        if user and user.team == self.install.team and not user.bot_id:
            return self.world.dialogue(self.install, user)
        bare = given.removeprefix("#")
        ours = (one for one in self.world.channels.values() if one.team == self.install.team)
        return next((one for one in ours if one.name and one.name == bare), None)

    def user(self, name: str = "user", error: str = "user_not_found") -> User:
        found = self.world.users.get(self.params.text(name))
        if found is None or found.team != self.install.team:
            raise SlackError(error)
        return found

    def seen(self, channel: Channel, name: str = "ts", error: str = "message_not_found") -> Seen:
        """A message that is still there. Raises SlackError."""
        found = channel.messages.get(self.params.text(name))
        if found is None or found.deleted:
            raise SlackError(error)
        return found

    def blocks_and_metadata(self) -> tuple[Any, JsonObject | None]:
        """Both as structures, unchecked and checked. Raises SlackError."""
        blocks = self.params.parsed("blocks", "invalid_blocks_format")
        metadata = self.params.parsed("metadata", "invalid_metadata_format")
        if metadata is None or metadata == {}:
            return blocks, None
        kind = metadata.get("event_type") if isinstance(metadata, dict) else None
        if not isinstance(kind, str) or not kind or not isinstance(metadata.get("event_payload"), dict):
            raise SlackError("invalid_metadata_format")
        return blocks, {"event_type": kind, "event_payload": metadata["event_payload"]}

    def page(self, items: list[Any], standard: int = PAGE) -> tuple[list[Any], str]:
        """One page of a listing, and the cursor of the next one. Raises SlackError for a bad limit or cursor."""
        limit = self.params.whole("limit", standard)
        if not 0 < limit <= LONGEST_PAGE:
            raise SlackError("invalid_limit")
        cursor = self.params.text("cursor")
        if cursor and not (cursor.startswith("next:") and cursor[5:].isdecimal()):
            raise SlackError("invalid_cursor")
        start = int(cursor[5:]) if cursor else 0
        rest = f"next:{start + limit}" if start + limit < len(items) else ""
        return items[start : start + limit], rest


def bounds(params: Params) -> tuple[int, int]:
    """oldest and latest in microseconds, as exclusive bounds whatever `inclusive` says. Raises SlackError."""
    edge = 1 if params.flag("inclusive") else 0
    try:
        oldest = micros(params.text("oldest")) if params.has("oldest") else -1
        latest = micros(params.text("latest")) if params.has("latest") else 1 << 62
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None
    return oldest - edge, latest + edge
