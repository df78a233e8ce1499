"""Subscription patterns, and the one door to the `events` table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from kernel.catalogue import EVENT_TYPES as EVENT_TYPES
from kernel.errors import TooLarge

if TYPE_CHECKING:
    from kernel.db import Connection
    from kernel.types import Json

MAX_DATA = 1 << 20  # bytes; `publish_events` says the same of what the database makes itself
_PATTERN = re.compile(r"(?!.*\*.*\*)(\*|[a-z_]+)(\.(\*|[a-z_]+))*")


def matches(pattern: str, event_type: str) -> bool:
    """`*` stands for one or more parts: `*` is everything, `chat.*` what begins so, `*.failed` what ends so.

    The SQL function `patterns_for` says the same; a test holds them together.
    """
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == event_type
    return len(event_type) > len(before) + len(after) and event_type.startswith(before) and event_type.endswith(after)


def pattern_fault(pattern: str) -> str | None:
    """Why a subscription pattern is refused, or None: it has to be well formed and match a known type."""
    if not _PATTERN.fullmatch(pattern):
        return f"{pattern!r} is no event type, and no pattern like 'chat.*', '*.failed' or '*'"
    if not any(matches(pattern, event_type) for event_type in EVENT_TYPES):
        return f"{pattern!r} matches no event type"
    return None


def _check(event_type: str, data: object) -> None:
    """Before the database is asked, whose refusal would end the caller's transaction."""
    if event_type not in EVENT_TYPES:
        raise ValueError(f"unknown event type {event_type!r}")
    if not isinstance(data, Mapping):
        raise ValueError(f"the data of an event is an object, not {type(data).__name__}")
    if len(orjson.dumps(data)) > MAX_DATA:
        raise TooLarge(f"the data of an event may have {MAX_DATA} bytes at most")


async def publish(conn: Connection, workspace_id: str, event_type: str, data: Mapping[str, Any]) -> str:
    """Stores an event and what it owes to endpoints, in the caller's workspace transaction. Returns the event's id.

    An event about a conversation or a bot is told its `account_id` and `channel`, where they are missing. Raises
    ValueError for a type that the catalogue does not hold and for data that is no object, and TooLarge.
    """
    _check(event_type, data)
    event_id: str = await conn.fetchval("SELECT publish_event($1, $2, $3)", workspace_id, event_type, data)
    return event_id


async def publish_many(
    conn: Connection, workspace_id: str, events: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """`publish` for several events in one statement; ids in the same order. Raises like it."""
    if not events:
        return []
    for event_type, data in events:
        _check(event_type, data)
    ids: list[str] = await conn.fetchval(
        "SELECT publish_events($1, $2, $3)",
        [workspace_id] * len(events),
        [event_type for event_type, _ in events],
        [data for _, data in events],
    )
    return ids


async def list_events(
    conn: Connection, workspace_id: str, *, event_type: str = "", cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """Events as they were sent, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        """
        SELECT event_id, body FROM events
        WHERE workspace_id = $1 AND ($2 = '' OR type = $2) AND ($3 = '' OR event_id < $3)
        ORDER BY event_id DESC LIMIT $4 + 1
        """,
        workspace_id,
        event_type,
        cursor,
        limit,
    )
    page = rows[:limit]
    return [orjson.loads(row["body"]) for row in page], page[-1]["event_id"] if len(rows) > limit else None


async def get_event(conn: Connection, workspace_id: str, event_id: str) -> Json | None:
    body = await conn.fetchval(
        "SELECT body FROM events WHERE workspace_id = $1 AND event_id = $2", workspace_id, event_id
    )
    return None if body is None else orjson.loads(body)
