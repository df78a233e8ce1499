"""The portal: links for a workspace's developers, the sessions that they become, and the page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from channels.web import origin_of
from gateway import idempotency, reading
from gateway.idempotency import Replay
from gateway.portal import files, tokens
from gateway.portal.tokens import Link, Session
from gateway.web import Call, Route, Shape, View, instant
from gateway.widget import door
from identity import workspaces
from kernel.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from kernel.ids import new_id
from kernel.ratelimit import Rate
from kernel.types import Json

Capability = Literal["read", "manage"]

_EXCHANGES = Rate(count=120, seconds=60, burst=60)  # by address
_BODY = 8 << 10
_ONCE = "POST /portal/sessions"


def _page_of(text: str) -> str:
    """Raises ValueError."""
    origin = origin_of(text)
    if origin == "*":
        raise ValueError("the portal is not for frames on any page: name the origins")
    return origin


class Theme(Shape):
    name: str = Field("", max_length=80, description="Stands at the head of the page")
    accent: str = Field("", pattern=r"^(#[0-9A-Fa-f]{6})?$", examples=["#7a1f3d"], description="Colour of buttons")
    mode: Literal["auto", "light", "dark"] = "auto"


class NewPortalLink(Shape):
    expires_in: int = Field(900, ge=30, le=86_400, description="Seconds in which it has to be opened")
    capabilities: list[Capability] | None = Field(
        None, min_length=1, max_length=2, description="By default all that the key may hand out"
    )
    theme: Theme = Field(default_factory=lambda: Theme.model_validate({}))
    origins: list[Annotated[str, Field(max_length=300), AfterValidator(_page_of)]] = Field(
        [], max_length=20, description="Whose pages may show it in a frame", examples=[["https://app.example"]]
    )


class PortalLink(View):
    url: str = Field(description="Good for one opening. Who has it has its rights: hand it to one person")
    expires_at: datetime


class Opening(Shape):
    token: str = Field(max_length=4_000, description="What stands behind the `#` of the link")


class Opened(View):
    session: str = Field(description="To show as Authorization: Bearer on the portal's routes")
    expires_at: datetime
    capabilities: list[Capability]
    theme: dict[str, str]
    workspace_id: str
    workspace: str = Field(description="Its name")


async def invite(call: Call) -> Json:
    """A link for a person who looks after the workspace's endpoints and has no key. It ends when it was opened, when
    its time is over and when the key that made it is revoked; so does the session, which lasts an hour."""
    asked: NewPortalLink = call.body
    assert call.caller
    expires = int(time.time()) + asked.expires_in
    link = Link(
        new_id("plk"),
        call.workspace_id,
        call.caller.public_id,
        _granted(asked.capabilities, call.caller.scopes),
        expires,
        {name: value for name, value in asked.theme.model_dump().items() if value},
    )
    ring = call.services.ground.ring
    root = call.services.ground.settings.public_url or f"{call.request.scheme}://{call.request.host}"
    frame = tokens.issue_frame(ring, list(dict.fromkeys(asked.origins)))
    return {"url": f"{root}/portal?frame={frame}#{tokens.issue_link(ring, link)}", "expires_at": instant(expires)}


def _granted(wanted: list[Capability] | None, scopes: frozenset[str]) -> tuple[str, ...]:
    """Nobody hands out more than they have. Raises Forbidden."""
    for name in wanted or ():
        if tokens.SCOPES[name] not in scopes:
            raise Forbidden(f"this key does not have the scope {tokens.SCOPES[name]!r}, so it cannot grant {name!r}")
    return tuple(
        name for name, scope in tokens.SCOPES.items() if scope in scopes and (wanted is None or name in wanted)
    )


async def begin(call: Call) -> Json:
    """A link for a session, once. Called by the portal's page."""
    await door.limit(call, "portal", call.address, _EXCHANGES)
    raw = await reading.read_body(call.request, _BODY)
    asked: Opening = reading.parse_body(call.route, call.request, raw)
    ring, now = call.services.ground.ring, time.time()
    link = tokens.read_link(ring, asked.token, now)
    known = await call.face.auth.find(link.public_id) if link else None
    if (
        link is None
        or known is None
        or known.workspace_id != link.workspace_id
        or not known.in_force(datetime.now(UTC))
    ):
        await door.failed(call)
        raise Unauthorized("this link is not valid, or not any more", code="link_over")
    async with call.services.ground.database.workspace(link.workspace_id) as conn:
        # Kept for a day, as long as a link may be good for: a second opening finds what the first one left.
        mark = idempotency.mark_of(link.workspace_id, _ONCE, link.link_id, b"")
        first = await idempotency.reserve(conn, ring, mark)
        if isinstance(first, Replay):
            raise Conflict("this link was opened before", code="link_used")
        await idempotency.settle(conn, ring, first, 204, b"")
        name = (await workspaces.get(conn))["name"]
    session = Session(link.workspace_id, link.public_id, link.capabilities, int(now) + tokens.SESSION_LIFE)
    return {
        "session": tokens.issue_session(ring, session),
        "expires_at": instant(session.expires),
        "capabilities": link.capabilities,
        "theme": link.theme,
        "workspace_id": link.workspace_id,
        "workspace": name,
    }


_REFUSALS = (Unauthorized, RateLimited, Conflict, Unavailable, InvalidRequest, MalformedRequest, TooLarge, Unsupported)

ROUTES = [
    Route(
        "POST",
        "/api/v1/webhooks/portal-links",
        invite,
        "write",
        "Invite somebody to look after webhooks in a browser",
        "webhooks",
        request=NewPortalLink,
        response=PortalLink,
        status=201,
    ),
    Route(
        "POST",
        "/portal/sessions",
        begin,
        "public",
        "Open a link, once",
        "portal",
        request=Opening,
        response=Opened,
        errors=_REFUSALS,
    ),
    Route(
        "GET",
        "/portal",
        files.page,
        "public",
        "The page that a link leads to",
        "portal",
        query=files.Frame,
        media="text/html",
        errors=(NotFound,),
    ),
    Route(
        "GET",
        "/portal/{file}",
        files.file,
        "public",
        "What the page loads",
        "portal",
        media="text/javascript",
        errors=(NotFound,),
    ),
]
