"""The keys with which an endpoint's deliveries are signed."""

from __future__ import annotations

from gateway.routes.webhook_models import Rotation, Secret, SecretMade
from gateway.web import Answer, Call, Listed, Route, page
from kernel.errors import Conflict, MalformedRequest, NotFound
from kernel.types import Json
from webhooks import secrets


async def rotate(call: Call) -> Json:
    """A new key. Those that it replaces sign beside it until the overlap ends, so that receivers can change over; at
    most five keys are live. A secret that still signs is made the current one again."""
    asked: Rotation = call.body
    async with call.database() as conn:
        return await secrets.rotate(
            conn,
            call.services.ground.ring,
            call.workspace_id,
            call.path["webhook_id"],
            secret=asked.secret,
            kind=asked.kind,
            overlap=asked.overlap_seconds,
        )


async def list_secrets(call: Call) -> Json:
    async with call.database() as conn:
        found = await secrets.list_live(conn, call.services.ground.ring, call.workspace_id, call.path["webhook_id"])
    return page((found, None))


async def revoke(call: Call) -> Answer:
    """Refuses the current key: rotate it, with an overlap of 0 if it has to end at once."""
    async with call.database() as conn:
        await secrets.revoke(conn, call.workspace_id, call.path["webhook_id"], call.path["secret_id"])
    return Answer(None)


_ONE = "/api/v1/webhooks/{webhook_id}"

ROUTES = [
    Route(
        "POST",
        _ONE + "/rotate-secret",
        rotate,
        "write",
        "Sign with a new key",
        "webhooks",
        request=Rotation,
        response=SecretMade,
        status=201,
        errors=(NotFound, MalformedRequest),
    ),
    Route(
        "GET",
        _ONE + "/secrets",
        list_secrets,
        "read",
        "The keys that sign now",
        "webhooks",
        response=Listed[Secret],
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE + "/secrets/{secret_id}",
        revoke,
        "write",
        "End a key at once",
        "webhooks",
        status=204,
        errors=(NotFound, Conflict),
    ),
]
