"""Registered endpoints."""

from __future__ import annotations

import asyncio
import time

from gateway.routes.deliveries import DeliveryWhole
from gateway.routes.webhook_models import (
    NewWebhook,
    TrialQuery,
    Webhook,
    WebhookChange,
    WebhookMade,
    WebhookQuery,
)
from gateway.web import Answer, Call, Listed, Route, page
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from webhooks import deliveries, endpoints
from webhooks.urls import Rules


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


async def test(call: Call) -> Answer:
    """A signed `ping`, whatever the endpoint subscribes to. With `wait` the answer tells what came of its first try."""
    asked: TrialQuery = call.query
    until = time.monotonic() + asked.wait
    async with call.database() as conn:
        found = await deliveries.send_test(conn, call.workspace_id, call.path["webhook_id"])
    while not found["attempt_log"] and found["status"] == "pending" and time.monotonic() < until and not call.gone:
        await asyncio.sleep(_LOOK)
        async with call.database() as conn:
            found = await deliveries.get(conn, call.workspace_id, found["delivery_id"])
    return Answer(found, 200 if found["attempt_log"] else 202)


_HOOKS = "/api/v1/webhooks"
_LOOK = 0.1

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
        query=TrialQuery,
        response=DeliveryWhole,
        status=202,
        also={200: "It was tried"},
        errors=(NotFound, Conflict),
    ),
]
