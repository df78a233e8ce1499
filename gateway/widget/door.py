"""The door for visitors' browsers: whose pages may call, who the visitor is, how much they may ask for.

Cross-origin requests: https://fetch.spec.whatwg.org/#http-cors-protocol. No cookies are involved, so nobody can act in
a visitor's name from another page; the list of origins keeps an account from being embedded elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from channels.web import ANY_ORIGIN
from gateway import reading, visitors
from gateway.auth import Caller
from gateway.requests import headers_for, refused
from gateway.visitors import Visitor
from gateway.web import Answer, Call, dump
from kernel.errors import Forbidden, NotFound, RateLimited, Unauthorized
from kernel.ratelimit import Rate
from kernel.types import Account
from pipeline.turns import Place

BODY_LIMIT = 64 << 10
_METHODS = "GET, POST"
_REMEMBERED = 600  # seconds that a browser may remember a preflight

ADDRESS = Rate(count=600, seconds=60, burst=200)  # whole offices share an address
FAILURES = Rate(count=60, seconds=60, burst=30)  # bad tokens, signatures and origins, by address


@dataclass(frozen=True, slots=True)
class Visit:
    """One call by a visitor's browser. `origin` is empty when none was sent; `headers` let the page read the answer."""

    account: Account
    visitor: Visitor | None
    origin: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> Visitor:
        assert self.visitor is not None
        return self.visitor

    @property
    def place(self) -> Place:
        return Place(self.account.account_id, self.known.external_id)

    @property
    def subject(self) -> str:
        """The visitor as limits count them."""
        return f"{self.account.account_id}:{self.known.external_id}"


Handler = Callable[[Call, Visit], Awaitable[Any]]


def for_visitors(handler: Handler) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    """The handler behind the door, for whoever shows a visitor's token."""
    return _behind(handler, by_token=True)


def for_anybody(handler: Handler) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    """The handler behind the door; the token is its own business."""
    return _behind(handler, by_token=False)


def _behind(handler: Handler, *, by_token: bool) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    @functools.wraps(handler)
    async def handle(call: Call) -> web.StreamResponse:
        readable: dict[str, str] = {}
        try:
            visit = await _entered(call, readable, by_token=by_token)
            with call.face.load.enter() if not call.route.streams else nullcontext():
                if call.route.request is not None:
                    raw = await reading.read_body(call.request, BODY_LIMIT)
                    call.body = reading.parse_body(call.route, call.request, raw)
                response = _response(call, await handler(call, visit))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            response = refused(call.request, error, call.request_id)
        if not response.prepared:
            response.headers.update(readable)
        return response

    return handle


async def _entered(call: Call, readable: dict[str, str], *, by_token: bool) -> Visit:
    """Raises NotFound, Forbidden, Unauthorized and RateLimited; from then on `readable` lets the page see why."""
    account = await account_of(call)
    origin = await _admitted(call, account)
    readable |= readable_by(origin)
    await limit(call, "web:address", call.address, ADDRESS)
    visitor = await _visitor(call, account) if by_token else None
    call.caller = Caller(account.workspace_id, "", "", frozenset())  # acts in the workspace and has no right there
    return Visit(account, visitor, origin, readable)


async def account_of(call: Call) -> Account:
    """Raises NotFound."""
    account = await call.services.directory.account(call.path["account_id"])
    if account is None or account.kind != "web":
        raise NotFound("there is no such web channel")
    return account


async def _admitted(call: Call, account: Account) -> str:
    """The page's origin, empty when the caller names none. Raises Forbidden."""
    origin = call.request.headers.get("Origin", "")
    if not origin or admits(call, account, origin):
        return origin
    await failed(call)
    raise Forbidden(
        f"pages of {origin[:200]} may not embed this chat; its settings name the origins that may",
        code="origin_not_allowed",
    )


def admits(call: Call, account: Account, origin: str) -> bool:
    """Whether pages of this origin may embed the account's chat."""
    return origin in account.settings.get("origins", ()) or open_to_all(account) or origin == own_origin(call)


async def in_force(call: Call, visit: Visit) -> bool:
    """Whether a visitor who was let in earlier would be let in now."""
    account = await call.services.directory.account(visit.account.account_id)
    if account is None or not visit.known.in_force(time.time()) or not acceptable(account, visit.known):
        return False
    return not visit.origin or admits(call, account, visit.origin)


def acceptable(account: Account, visitor: Visitor) -> bool:
    """False for a guest where the page has to vouch for its visitors."""
    return visitor.vouched or not account.settings.get("identity_required")


def open_to_all(account: Account) -> bool:
    return ANY_ORIGIN in account.settings.get("origins", ())


def own_origin(call: Call) -> str:
    """Where this gateway's own pages live, the demo of the chat among them.

    The Host header is believed on loopback, and where nobody has said what the public address is: another name that
    was made to lead here (DNS rebinding) is not ours.
    """
    host = call.request.host
    public = urlsplit(call.services.ground.settings.public_url)
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if public.netloc and name not in ("127.0.0.1", "localhost", "[::1]"):
        return f"{public.scheme}://{public.netloc}"
    return f"{call.request.scheme}://{host}"


def readable_by(origin: str) -> dict[str, str]:
    """Headers that let a page of this origin read the answer, and caches keep the answers of origins apart."""
    if not origin:
        return {"Vary": "Origin"}
    exposed = "X-Request-ID, Retry-After"
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": exposed,
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


async def preflight(call: Call) -> web.StreamResponse:
    """What a browser asks before a page of another origin may call."""
    account = await account_of(call)
    headers = {
        **readable_by(await _admitted(call, account)),
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, X-Request-ID",
        "Access-Control-Max-Age": str(_REMEMBERED),
    }
    return web.Response(status=204, headers=headers_for(call.request_id, **headers))


async def _visitor(call: Call, account: Account) -> Visitor:
    scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
    shown = token.strip() if scheme.lower() == "bearer" else ""
    visitor = visitors.read(call.services.ground.ring, account.account_id, shown, time.time()) if shown else None
    if visitor is None:
        await failed(call)
        raise Unauthorized("a visitor's token is needed in Authorization: Bearer; begin a session to get one")
    if not acceptable(account, visitor):
        raise nameless()
    return visitor


def nameless() -> Unauthorized:
    return Unauthorized("this chat is only for visitors for whom the page vouches", code="identity_required")


async def failed(call: Call) -> None:
    """Counts a bad attempt. Raises RateLimited after many."""
    await limit(call, "web:failures", call.address, FAILURES)


async def limit(call: Call, scope: str, subject: str, rate: Rate) -> None:
    """Raises RateLimited."""
    wait = await call.services.ground.limiter.take(scope, subject, rate)
    if wait > 0:
        raise RateLimited("too many requests", retry_after=wait)


def _response(call: Call, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    answer = result if isinstance(result, Answer) else Answer(result)
    headers = headers_for(call.request_id, **answer.headers)
    status = answer.status or call.route.status
    return web.Response(body=dump(answer.body), status=status, headers=headers, content_type="application/json")
