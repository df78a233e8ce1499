"""Events as the gateway's REST interface tells of them: for whoever cannot be reached from outside."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.client import Client
from kernel.events import matches
from kernel.types import Json

_PATH = "/api/v1/events"
_PAGE = 100
# An event's id is made before its transaction is committed, so one may turn up behind others that came later.
_LATE = 60_000  # milliseconds


def floor_of(event_id: str) -> str:
    """The smallest id of an event that may still turn up once this one has: ids begin with epoch milliseconds."""
    prefix, _, rest = event_id.partition("_")
    return f"{prefix}_{max(0, int(rest[:12], 16) - _LATE):012x}"


class Feed:
    """Each event once, in the order of ids, from when the feed was begun."""

    def __init__(self, client: Client, patterns: Sequence[str]) -> None:
        self._client = client
        self._patterns = patterns
        self._floor = ""
        self._seen: set[str] = set()

    async def begin(self) -> None:
        """Passes over what is there."""
        newest = (await self._client.get(_PATH, limit=1))["items"]
        if newest:
            self._floor = floor_of(newest[0]["id"])
            await self.unseen()

    async def unseen(self) -> list[Json]:
        """What came since the last call, oldest first."""
        found = [event for event in await self._since(self._floor) if event["id"] not in self._seen]
        found.sort(key=lambda event: str(event["id"]))
        self._seen.update(event["id"] for event in found)
        if found:
            self._floor = max(self._floor, floor_of(found[-1]["id"]))
            self._seen = {event_id for event_id in self._seen if event_id >= self._floor}
        return [event for event in found if any(matches(pattern, event["type"]) for pattern in self._patterns)]

    async def _since(self, floor: str) -> list[Json]:
        """Every event from `floor` on, newest first."""
        found: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self._client.get(_PATH, limit=_PAGE, **cursor)
            found += [event for event in page["items"] if event["id"] >= floor]
            if not page["next_cursor"] or page["items"][-1]["id"] < floor:
                return found
            cursor = {"cursor": page["next_cursor"]}
