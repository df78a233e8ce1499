"""Linking from a page where a person is signed in, and taking an identity apart from its person."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gateway.routes.people import Identity
from gateway.web import Call, Route, Shape, View
from identity import linking
from identity.people import People
from kernel.errors import Conflict, NotFound, RateLimited
from kernel.types import Json


class NewLinkCode(Shape):
    user_id: str = Field(min_length=1, max_length=128, description="Who is signed in where the code is shown")


class LinkCode(View):
    code: str = Field(description="To be sent to a bot of this workspace as `/link CODE`; shown this once only")
    expires_at: datetime


class Unlinked(Identity):
    user_id: str = Field(description="The person that the identity is now")
    previous_user_id: str


async def code(call: Call) -> Json:
    """The caller vouches for the person: whoever enters the code elsewhere, and agrees, becomes one with them. A new
    code puts an earlier one out of force."""
    asked: NewLinkCode = call.body
    ground = call.services.ground
    people = People(ground.database, ground.ring, ground.limiter)
    made, expires_at = await people.issue_for(call.workspace_id, asked.user_id)
    return {"code": made, "expires_at": expires_at}


async def unlink(call: Call) -> Json:
    """The identity gets a person of its own again, and its conversations go with it."""
    async with call.database() as conn:
        await linking.lock(conn)
        parted = await linking.unlink(conn, call.path["identity_id"])
    return {name: parted[name] for name in Unlinked.model_fields}


ROUTES = [
    Route(
        "POST",
        "/api/v1/identities/link-codes",
        code,
        "write",
        "Make a code with which a person links another channel",
        "people",
        request=NewLinkCode,
        response=LinkCode,
        status=201,
        errors=(NotFound, RateLimited),
    ),
    Route(
        "DELETE",
        "/api/v1/identities/{identity_id}",
        unlink,
        "write",
        "Part an identity from the person it is linked to",
        "people",
        response=Unlinked,
        errors=(NotFound, Conflict),
    ),
]
