"""The catalogue of events: what there is to subscribe to, and what it looks like."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.web import Call, Listed, Route, View, page
from kernel.catalogue import EVENT_TYPES, EventType
from kernel.errors import NotFound
from kernel.types import Json


class EventTypeView(View):
    type: str
    description: str
    sent: bool = Field(description="Whether this version of Parley sends it; the others may be subscribed to already")
    version: int = Field(description="Raised when a member of `data` goes or changes its meaning, not for new ones")
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema 2020-12 of the event's `data`")
    example: dict[str, Any] = Field(description="An event's `data`")


def _seen(name: str, kind: EventType) -> Json:
    return {
        "type": name,
        "description": kind.description,
        "sent": kind.sent,
        "version": kind.version,
        "schema": kind.schema,
        "example": dict(kind.example),
    }


async def listed(call: Call) -> Json:
    return page(([_seen(name, kind) for name, kind in EVENT_TYPES.items()], None))


async def one(call: Call) -> Json:
    name = call.path["event_type"]
    if name not in EVENT_TYPES:
        raise NotFound("there is no such type of event")
    return _seen(name, EVENT_TYPES[name])


_TYPES = "/api/v1/event-types"

ROUTES = [
    Route("GET", _TYPES, listed, "read", "Every type of event", "webhooks", response=Listed[EventTypeView]),
    Route(
        "GET",
        _TYPES + "/{event_type}",
        one,
        "read",
        "One type of event, with its schema and an example",
        "webhooks",
        response=EventTypeView,
        errors=(NotFound,),
    ),
]
