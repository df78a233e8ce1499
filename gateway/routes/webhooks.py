"""Registered endpoints, what is owed to them and what came of it, and the events themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel import events
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from webhooks import deliveries, endpoints

Status = Literal["enabled", "disabled"]


class NewWebhook(Shape):
    url: str = Field(max_length=endpoints.MAX_URL, examples=["https://example.com/hook"])
    events: list[str] = Field(examples=[["chat.*"]], description="Event types, or patterns like `chat.*` and `*`")
    description: str = ""
    secret: str | None = Field(None, max_length=200, description="`whsec_…`, to bring one's own")


class WebhookChange(Shape):
    url: str | None = None
    events: list[str] | None = None
    description: str | None = None
    status: Status | None = None


class Webhook(View):
    webhook_id: str
    url: str
    events: list[str]
    description: str
    status: Status
    disabled_reason: str
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookMade(Webhook):
    secret: str = Field(description="Signs every delivery; shown this once only")


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


class Attempt(View):
    attempt: int
    started_at: datetime
    duration_ms: int
    status_code: int | None
    error_code: str
    detail: str
    response_headers: dict[str, Any]
    response: str
    truncated: bool
    next_attempt_at: datetime | None


class DeliveryWhole(Delivery):
    attempt_log: list[Attempt]


class DeliveryQuery(Paging):
    webhook_id: str = Field("", max_length=128)
    event_id: str = Field("", max_length=128)
    event_type: str = Field("", max_length=128)
    status: Literal["", "pending", "delivered", "exhausted", "cancelled"] = ""


class Event(View):
    id: str
    type: str
    timestamp: datetime
    workspace_id: str
    data: dict[str, Any]


class EventQuery(Paging):
    type: str = Field("", max_length=128)


async def register(call: Call) -> Json:
    asked: NewWebhook = call.body
    ground = call.services.ground
    async with call.database() as conn:
        webhook_id, secret = await endpoints.register(
            conn,
            call.workspace_id,
            asked.url,
            asked.events,
            keyring=ground.ring,
            allow=ground.settings.egress_allow or (),
            description=asked.description,
            secret=asked.secret,
        )
        return {**await endpoints.get(conn, call.workspace_id, webhook_id), "secret": secret}


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await endpoints.list_endpoints(conn, call.workspace_id, cursor=asked.cursor, limit=asked.limit))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await endpoints.get(conn, call.workspace_id, call.path["webhook_id"])


async def change(call: Call) -> Json:
    asked: WebhookChange = call.body
    async with call.database() as conn:
        return await endpoints.update(
            conn,
            call.workspace_id,
            call.path["webhook_id"],
            asked.model_dump(exclude_none=True),
            allow=call.services.ground.settings.egress_allow or (),
        )


async def delete(call: Call) -> Answer:
    async with call.database() as conn:
        await endpoints.delete(conn, call.workspace_id, call.path["webhook_id"])
    return Answer(None)


async def test(call: Call) -> Json:
    async with call.database() as conn:
        return await deliveries.send_test(conn, call.workspace_id, call.path["webhook_id"])


async def list_deliveries(call: Call) -> Json:
    asked: DeliveryQuery = call.query
    async with call.database() as conn:
        return page(await deliveries.list_deliveries(conn, call.workspace_id, **asked.model_dump()))


async def delivery(call: Call) -> Json:
    async with call.database() as conn:
        return await deliveries.get(conn, call.workspace_id, call.path["delivery_id"])


async def resend(call: Call) -> Json:
    async with call.database() as conn:
        return await deliveries.resend(conn, call.workspace_id, call.path["delivery_id"])


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


_HOOKS, _DELIVERIES = "/api/v1/webhooks", "/api/v1/deliveries"

ROUTES = [
    Route(
        "POST",
        _HOOKS,
        register,
        "write",
        "Register an endpoint",
        "webhooks",
        request=NewWebhook,
        response=WebhookMade,
        status=201,
    ),
    Route("GET", _HOOKS, listed, "read", "List endpoints", "webhooks", query=Paging, response=Listed[Webhook]),
    Route(
        "GET", _HOOKS + "/{webhook_id}", one, "read", "One endpoint", "webhooks", response=Webhook, errors=(NotFound,)
    ),
    Route(
        "PATCH",
        _HOOKS + "/{webhook_id}",
        change,
        "write",
        "Change an endpoint, or put it in or out of use",
        "webhooks",
        request=WebhookChange,
        response=Webhook,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _HOOKS + "/{webhook_id}",
        delete,
        "write",
        "Remove an endpoint",
        "webhooks",
        status=204,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _HOOKS + "/{webhook_id}/test",
        test,
        "write",
        "Send a ping to this endpoint",
        "webhooks",
        response=DeliveryWhole,
        status=202,
        errors=(NotFound, Conflict),
    ),
    Route(
        "GET",
        _DELIVERIES,
        list_deliveries,
        "read",
        "What is or was owed to endpoints",
        "webhooks",
        query=DeliveryQuery,
        response=Listed[Delivery],
    ),
    Route(
        "GET",
        _DELIVERIES + "/{delivery_id}",
        delivery,
        "read",
        "One delivery with every attempt",
        "webhooks",
        response=DeliveryWhole,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _DELIVERIES + "/{delivery_id}/resend",
        resend,
        "write",
        "Deliver again, now",
        "webhooks",
        response=DeliveryWhole,
        status=202,
        errors=(NotFound, Conflict),
    ),
    Route(
        "GET",
        "/api/v1/events",
        list_events,
        "read",
        "Events, newest first",
        "webhooks",
        query=EventQuery,
        response=Listed[Event],
    ),
    Route(
        "GET", "/api/v1/events/{event_id}", event, "read", "One event", "webhooks", response=Event, errors=(NotFound,)
    ),
]
