"""The table of event types, subscription patterns, and the one door to the `events` table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from kernel.db import Connection
    from kernel.types import Json


@dataclass(frozen=True, slots=True)
class EventType:
    """What happened, in one line, and an example of its `data`."""

    description: str
    example: Mapping[str, Any]


_TALK = {"conversation_id": "conv_01a1…", "session_id": "ses_01a1…", "user_id": "usr_01a1…"}
_SESSION = {**_TALK, "outcome": "resolved"}
_ESCALATION = {**_TALK, "escalation_id": "esc_01a1…"}
_IDENTITY = {
    "identity_id": "idn_01a1…",
    "account_id": "acc_01a1…",
    "channel": "telegram",
    "user_id": "usr_01a1…",
    "previous_user_id": "usr_01a2…",
}
_DOCUMENT = {"document_id": "doc_01a1…", "source_id": "src_01a1…", "title": "Opening hours"}
_CHANNEL = {"account_id": "acc_01a1…", "kind": "telegram", "name": "Support bot"}
_QUOTA = {"name": "messages", "used": 900, "limit": 1000, "period": "2026-11"}

EVENT_TYPES: Mapping[str, EventType] = {
    "chat.message.received": EventType(
        "A user's message was accepted", {**_TALK, "message_id": "msg_01a1…", "text": "When do you open?"}
    ),
    "chat.response.generated": EventType(
        "An answer was written",
        {**_TALK, "message_id": "msg_01a2…", "text": "At nine [1].", "citations": [], "fallback_used": False},
    ),
    "chat.response.delivered": EventType(
        "The platform accepted every part of an answer", {**_TALK, "message_id": "msg_01a2…"}
    ),
    "chat.response.failed": EventType(
        "An answer could not be delivered", {**_TALK, "message_id": "msg_01a2…", "reason": "blocked"}
    ),
    "chat.feedback.received": EventType(
        "A user rated an answer: 1, -1, or 0 when the rating is taken back",
        {**_TALK, "message_id": "msg_01a2…", "turn_id": "turn_01a1…", "rating": 1, "comment": "", "source": "button"},
    ),
    "session.started": EventType("A conversation began a new episode", _TALK),
    "session.resolved": EventType("A session ended with its question answered", _SESSION),
    "session.escalated": EventType(
        "A session was handed to a person", {**_SESSION, "outcome": "escalated", "escalation_id": "esc_01a1…"}
    ),
    "session.abandoned": EventType("A session ended in silence", {**_SESSION, "outcome": "abandoned"}),
    "session.summarized": EventType("A summary of a session was written", {**_SESSION, "summary": "Asked for hours."}),
    "escalation.opened": EventType(
        "Somebody should take over a conversation", {**_ESCALATION, "reason": "asked for a person"}
    ),
    "escalation.claimed": EventType("A person took an escalation", {**_ESCALATION, "claimed_by": "usr_01a9…"}),
    "escalation.resolved": EventType("An escalation was closed", {**_ESCALATION, "resolution": "refunded"}),
    "user.created": EventType("A person wrote for the first time", {"user_id": "usr_01a1…", "channel": "telegram"}),
    "user.erased": EventType("A person's data was erased", {"user_id": "usr_01a1…"}),
    "identity.linked": EventType("An identity became another person, to whom it was linked", _IDENTITY),
    "identity.unlinked": EventType("An identity was parted from its person and is one of its own", _IDENTITY),
    "document.indexed": EventType("A document can be found", {**_DOCUMENT, "chunks": 4}),
    "document.failed": EventType("A document could not be read", {**_DOCUMENT, "reason": "no text found"}),
    "document.deleted": EventType("A document was removed", _DOCUMENT),
    "channel.connected": EventType("A bot was connected", _CHANNEL),
    "channel.failed": EventType("A bot stopped working", {**_CHANNEL, "reason": "the token was revoked"}),
    "webhook.disabled": EventType(
        "An endpoint was put out of use",
        {"webhook_id": "wh_01a1…", "url": "https://example.com/hook", "reason": "gone"},
    ),
    "quota.warning": EventType("Most of a quota is used", _QUOTA),
    "quota.exceeded": EventType("A quota is used up", {**_QUOTA, "used": 1000}),
    "ping": EventType("A test, sent on request to one endpoint", {"webhook_id": "wh_01a1…"}),
}

_PATTERN = re.compile(r"\*|[a-z]+(\.[a-z]+)*(\.\*)?")


def matches(pattern: str, event_type: str) -> bool:
    """`*` is everything, `chat.*` everything below `chat.`, anything else the type itself.

    The SQL function `patterns_for` says the same; a test holds them together.
    """
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def pattern_fault(pattern: str) -> str | None:
    """Why a subscription pattern is refused, or None: it has to be well formed and match a known type."""
    if not _PATTERN.fullmatch(pattern):
        return f"{pattern!r} is no event type, and no pattern like 'chat.*' or '*'"
    if not any(matches(pattern, event_type) for event_type in EVENT_TYPES):
        return f"{pattern!r} matches no event type"
    return None


async def publish(conn: Connection, workspace_id: str, event_type: str, data: Mapping[str, Any]) -> str:
    """Stores an event and what it owes to endpoints, in the caller's workspace transaction. Returns the event's id.

    Raises ValueError for a type that the catalogue does not hold.
    """
    if event_type not in EVENT_TYPES:
        raise ValueError(f"unknown event type {event_type!r}")
    event_id: str = await conn.fetchval("SELECT publish_event($1, $2, $3)", workspace_id, event_type, data)
    return event_id


async def publish_many(
    conn: Connection, workspace_id: str, events: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """`publish` for several events in one statement; ids in the same order. Raises ValueError like it."""
    for event_type, _ in events:
        if event_type not in EVENT_TYPES:
            raise ValueError(f"unknown event type {event_type!r}")
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
