"""Registered endpoints, what is owed to them and what came of it, and the events themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from gateway.routes.webhook_models import (
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookMade,
    WebhookQuery,
)
from gateway.web import Answer, Call, Listed, Paging, Route, View, page
from kernel import events
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from webhooks import deliveries, endpoints
from webhooks.urls import Rules


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


def _rules(call: Call) -> Rules:
    settings = call.services.ground.settings
    return Rules(settings.egress_allow or (), settings.webhook_https_only)


async def register(call: Call) -> Json:
    asked: NewWebhook = call.body
    ring = call.services.ground.ring
    async with call.database() as conn:
        return await endpoints.create(
            conn, call.workspace_id, asked.given(), keyring=ring, rules=_rules(call), secret=asked.secret
        )


async def put(call: Call) -> Answer:
    """Makes the endpoint of this uid what is asked for; there may be none yet. What is not mentioned goes back to its
    default, except for `status`. `secret` counts when there was none."""
    asked: NewWebhook = call.body
    ring, uid = call.services.ground.ring, call.path["uid"]
    async with call.database() as conn:
        found, made = await endpoints.put(
            conn, call.workspace_id, uid, asked.given(), keyring=ring, rules=_rules(call), secret=asked.secret
        )
    return Answer(found, 201 if made else 200)


async def listed(call: Call) -> Json:
    asked: WebhookQuery = call.query
    async with call.database() as conn:
        return page(await endpoints.list_endpoints(conn, call.workspace_id, **asked.model_dump()))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await endpoints.get(conn, call.workspace_id, call.path["webhook_id"])


async def change(call: Call) -> Json:
    """Changes what is mentioned; null takes a field back to its default. A new `signing` makes the keys it needs."""
    asked: WebhookChange = call.body
    ring, webhook_id = call.services.ground.ring, call.path["webhook_id"]
    async with call.database() as conn:
        return await endpoints.update(
            conn, call.workspace_id, webhook_id, asked.given(), keyring=ring, rules=_rules(call)
        )


async def delete(call: Call) -> Answer:
    async with call.database() as conn:
        await endpoints.delete(conn, call.workspace_id, call.path["webhook_id"])
    return Answer(None)


async def enable(call: Call) -> Json:
    """What waited goes out; that it was failing is forgotten."""
    async with call.database() as conn:
        return await endpoints.set_status(conn, call.workspace_id, call.path["webhook_id"], "enabled")


async def disable(call: Call) -> Json:
    """What is owed waits. Events that happen meanwhile are not owed."""
    async with call.database() as conn:
        return await endpoints.set_status(conn, call.workspace_id, call.path["webhook_id"], "disabled")


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
        errors=(Conflict,),
    ),
    Route("GET", _HOOKS, listed, "read", "List endpoints", "webhooks", query=WebhookQuery, response=Listed[Webhook]),
    Route(
        "PUT",
        _HOOKS + "/uid/{uid}",
        put,
        "write",
        "Register or replace the endpoint of this uid",
        "webhooks",
        request=NewWebhook,
        response=WebhookMade,
        also={201: "Registered"},
        errors=(Conflict,),
    ),
    Route(
        "GET", _HOOKS + "/{webhook_id}", one, "read", "One endpoint", "webhooks", response=Webhook, errors=(NotFound,)
    ),
    Route(
        "PATCH",
        _HOOKS + "/{webhook_id}",
        change,
        "write",
        "Change an endpoint",
        "webhooks",
        request=WebhookChange,
        response=WebhookMade,
        errors=(NotFound, Conflict),
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
        _HOOKS + "/{webhook_id}/enable",
        enable,
        "write",
        "Put an endpoint in use",
        "webhooks",
        response=Webhook,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _HOOKS + "/{webhook_id}/disable",
        disable,
        "write",
        "Put an endpoint out of use",
        "webhooks",
        response=Webhook,
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
