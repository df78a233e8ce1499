"""What is owed to endpoints and what came of it, and the events themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel import events
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from webhooks import deliveries, retention, stats


class Delivery(View):
    delivery_id: str
    event_id: str
    event_type: str
    webhook_id: str
    status: Literal["pending", "delivered", "exhausted", "cancelled"]
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


class DeliveryPage(View):
    items: list[Delivery]
    next_cursor: str | None = Field(description="Where the page of older ones starts; null at the end")
    previous_cursor: str | None = Field(description="Where the page of newer ones starts; null at the newest")


class Attempt(View):
    attempt: int
    started_at: datetime
    duration_ms: int
    url: str = Field(description="Where it was sent")
    request_headers: dict[str, Any] = Field(description="As they were sent; credentials are masked")
    status_code: int | None
    error_code: str
    detail: str
    response_headers: dict[str, Any]
    response: str
    truncated: bool = Field(description="Whether there was more of the answer than the 16 KiB that are kept")
    expunged_at: datetime | None = Field(description="When the answer was taken away")
    next_attempt_at: datetime | None


class DeliveryWhole(Delivery):
    seq: int | None = Field(description="Its number in its conversation, where the endpoint asked for order")
    body: str | None = Field(description="What every try sends, byte for byte; null when it was expunged")
    attempt_log: list[Attempt] = Field(description=f"The latest {deliveries.MAX_ATTEMPTS_SHOWN}, oldest first")


class DeliveryQuery(Paging):
    webhook_id: str = Field("", max_length=128)
    event_id: str = Field("", max_length=128)
    event_type: str = Field("", max_length=128)
    status: Literal["", "pending", "delivered", "exhausted", "cancelled"] = ""
    since: AwareDatetime | None = Field(None, description="First owed at this time or later")
    until: AwareDatetime | None = Field(None, description="First owed before this time")


class ExpungeResponse(Shape):
    attempt: int = Field(ge=1, le=2**31 - 1)


class Event(View):
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    id: str
    type: str
    timestamp: datetime
    workspace_id: str
    data: dict[str, Any]
    expunged_at: datetime | None = Field(None, description="There once its data was taken away")


class EventQuery(Paging):
    type: str = Field("", max_length=128)


class StatsQuery(Shape):
    hours: int = Field(24, ge=1, le=720, description="As far back as tries are counted")


class Breaker(View):
    state: Literal["closed", "open", "probing"] = Field(description="While it is open nothing is tried")
    failures_in_a_row: int
    failing_since: datetime | None
    open_until: datetime | None
    slow_until: datetime | None = Field(description="Nothing is sent before this, as the receiver asked")


class Stats(View):
    webhook_id: str
    since: datetime
    succeeded: int = Field(description="Tries")
    failed: int
    success_share: float | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    pending: int = Field(description=f"Deliveries that wait, counted up to {stats.MOST_COUNTED:,}")
    under_way: int
    oldest_due_seconds: float | None = Field(description="For how long the one that waits the longest has been due")
    breaker: Breaker


async def list_deliveries(call: Call) -> Json:
    asked: DeliveryQuery = call.query
    wanted = asked.model_dump(exclude={"cursor", "limit"})
    async with call.database() as conn:
        found = await deliveries.list_deliveries(
            conn, call.workspace_id, cursor=asked.cursor, limit=asked.limit, **wanted
        )
        above = await deliveries.previous_cursor(conn, call.workspace_id, found[0], **wanted)
    return {**page(found), "previous_cursor": above}


async def delivery(call: Call) -> Json:
    async with call.database() as conn:
        return await deliveries.get(conn, call.workspace_id, call.path["delivery_id"])


async def resend(call: Call) -> Json:
    async with call.database() as conn:
        return await deliveries.resend(conn, call.workspace_id, call.path["delivery_id"])


async def expunge_response(call: Call) -> Answer:
    asked: ExpungeResponse = call.body
    async with call.database() as conn:
        await retention.expunge_response(conn, call.workspace_id, call.path["delivery_id"], asked.attempt)
    return Answer(None)


async def list_events(call: Call) -> Json:
    asked: EventQuery = call.query
    async with call.database() as conn:
        return page(
            await events.list_events(
                conn, call.workspace_id, event_type=asked.type, cursor=asked.cursor, limit=asked.limit
            )
        )


async def event(call: Call) -> Json:
    async with call.database() as conn:
        found = await events.get_event(conn, call.workspace_id, call.path["event_id"])
    if found is None:
        raise NotFound("there is no such event")
    return found


async def expunge_event(call: Call) -> Answer:
    async with call.database() as conn:
        await retention.expunge_event(conn, call.path["event_id"])
    return Answer(None)


async def endpoint_stats(call: Call) -> Json:
    asked: StatsQuery = call.query
    since = datetime.now(UTC) - timedelta(hours=asked.hours)
    async with call.database() as conn:
        return await stats.of_endpoint(conn, call.workspace_id, call.path["webhook_id"], since)


_DELIVERIES, _ONE = "/api/v1/deliveries", "/api/v1/deliveries/{delivery_id}"
_EVENTS, _EVENT = "/api/v1/events", "/api/v1/events/{event_id}"

ROUTES = [
    Route(
        "GET",
        "/api/v1/webhooks/{webhook_id}/stats",
        endpoint_stats,
        "read",
        "How an endpoint fares: success, durations, what waits",
        "webhooks",
        query=StatsQuery,
        response=Stats,
        errors=(NotFound,),
    ),
    Route(
        "GET",
        _DELIVERIES,
        list_deliveries,
        "read",
        "What is or was owed to endpoints, newest first",
        "webhooks",
        query=DeliveryQuery,
        response=DeliveryPage,
    ),
    Route(
        "GET",
        _ONE,
        delivery,
        "read",
        "One delivery with what was sent and what came back",
        "webhooks",
        response=DeliveryWhole,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _ONE + "/resend",
        resend,
        "write",
        "Deliver again, now",
        "webhooks",
        response=DeliveryWhole,
        status=202,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        _ONE + "/expunge-response",
        expunge_response,
        "admin",
        "Take away what a receiver answered to one attempt",
        "webhooks",
        request=ExpungeResponse,
        status=204,
        errors=(NotFound,),
    ),
    Route(
        "GET",
        _EVENTS,
        list_events,
        "read",
        "Events, newest first",
        "webhooks",
        query=EventQuery,
        response=Listed[Event],
    ),
    Route("GET", _EVENT, event, "read", "One event", "webhooks", response=Event, errors=(NotFound,)),
    Route(
        "POST",
        _EVENT + "/expunge",
        expunge_event,
        "admin",
        "Take an event's payload away for good, and cancel what is owed of it",
        "webhooks",
        status=204,
        errors=(NotFound,),
    ),
]
