"""The life of one API request: who calls, what is asked, the handler, the answer; every refusal in one shape."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import aiohttp
import asyncpg
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from gateway import idempotency, reading
from gateway.acknowledgement import acknowledge
from gateway.idempotency import Replay, Try
from gateway.metrics import REQUEST_SECONDS, REQUESTS
from gateway.parts import digest_of, read_form
from gateway.reading import refuse_nul
from gateway.web import MEBIBYTE, Answer, Call, Face, Route, dump
from kernel import log
from kernel.db import AWAY
from kernel.errors import (
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    ParleyError,
    TooLarge,
    Unavailable,
)

_log = log.get("http")

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEGUN = web.RequestKey("begun", web.StreamResponse)  # the stream that has been opened in answer to a request
_SANE = re.compile(r"[\w.-]{1,128}", re.ASCII)
# A random half for the process and a number: a random id for each request would cost the platforms' path 2 µs.
_PROCESS = os.urandom(8).hex()
_NUMBERS = itertools.count()
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


_CONTENT_TYPES = {"text/html": "text/html; charset=utf-8"}


class Internal(ParleyError):
    """What a client is told of a bug: its request id, nothing else."""

    status, code = 500, "internal"


def request_id_of(request: web.Request) -> str:
    """The caller's own `X-Request-ID` when it is sane, otherwise a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if given and _SANE.fullmatch(given) else f"req_{_PROCESS}{next(_NUMBERS):08x}"


def headers_for(request_id: str, **more: str) -> dict[str, str]:
    return {**_SAFE_HEADERS, "X-Request-ID": request_id, **more}


def refusal(error: ParleyError, request_id: str) -> web.Response:
    """A refusal in the contract's shape."""
    headers = headers_for(request_id)
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="parley"'
    return web.Response(
        body=dump(error.body(request_id)), status=error.status, headers=headers, content_type="application/json"
    )


def refused(request: web.Request, error: BaseException, request_id: str) -> web.StreamResponse:
    """The refusal of a request whose body may not have been read to its end.

    aiohttp would read on, to keep the connection; but a compressed rest may be a bomb, and a broken one raises again.
    Where a stream has begun it is too late for a refusal, which would be garbage in the midst of it: the connection
    ends, and clients come back.
    """
    response = refusal(known(error), request_id)
    begun: web.StreamResponse | None = request.get(BEGUN)
    if begun is not None:
        if request.transport is not None:
            request.transport.abort()
        return begun
    if not request.content.is_eof() and "Content-Encoding" in request.headers:
        request.content.feed_eof()
        response.force_close()
    return response


def known(error: BaseException) -> ParleyError:
    """What an exception means for the caller; one that we did not foresee is a bug and is logged whole."""
    if isinstance(error, ParleyError):
        return error
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge("the body is too large, counted after decompression")
    if isinstance(error, (web.RequestPayloadError, HttpProcessingError, aiohttp.ClientError)):
        return MalformedRequest("the body cannot be read")
    if isinstance(error, asyncpg.DataError):
        _log.warning("http.unstorable", error=type(error).__name__)
        return InvalidRequest("a value in the request cannot be stored")
    if isinstance(error, AWAY):
        _log.warning("http.database_away", error=type(error).__name__)
        return Unavailable("the gateway cannot reach its database", retry_after=2.0)
    _log.error("http.bug", exc_info=error)
    return Internal("something went wrong on our side")


def serve(route: Route, face: Face) -> WebHandler:
    """The aiohttp handler of a route."""
    counts = route.keyed and not route.streams
    seconds = REQUEST_SECONDS.labels(route.path)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        call = Call(request, face, route, request_id_of(request))
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        try:
            with face.load.enter() if counts else nullcontext():
                response = await _run(call)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            response = refused(request, error, call.request_id)
        REQUESTS.labels(route.path, str(response.status)).inc()
        seconds.observe(time.perf_counter() - started)
        return response

    return handle


def serve_platform(route: Route, face: Face) -> WebHandler:
    """The handler of a platform's route: nothing but the request's id and the shape of refusals around it."""
    taken = REQUESTS.labels(route.path, "200")

    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(request, face, route, request_id_of(request))
        try:
            wanted = await route.handler(call)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            response = refused(request, error, call.request_id)
            REQUESTS.labels(route.path, str(response.status)).inc()
            return response
        taken.inc()
        if wanted is None:
            return acknowledge(request, call.request_id)
        headers = CIMultiDict({"X-Request-ID": call.request_id})
        return web.Response(body=dump(wanted), headers=headers, content_type="application/json")

    return handle


async def _run(call: Call) -> web.StreamResponse:
    route, request = call.route, call.request
    if route.keyed:
        call.caller = await call.face.auth.caller(request.headers, call.address, route.scope, route.name)
    call.path = reading.parse_path(route, request)
    if route.repeatable:
        with call.face.uploads.enter() if _may_be_large(call) else nullcontext():
            return await _unsafe(call)
    call.query = reading.parse_query(route, request)
    return _response(call, await route.handler(call))


def _may_be_large(call: Call) -> bool:
    """Whether the body may be one of those of which only a few are held at once."""
    route, request = call.route, call.request
    if route.parts or route.limit <= MEBIBYTE:
        return route.parts
    size = request.content_length
    return size is None or size > MEBIBYTE or "Content-Encoding" in request.headers


async def _unsafe(call: Call) -> web.StreamResponse:
    """A call that changes something: its body is read whole before anything is done."""
    route, request = call.route, call.request
    if route.parts:
        call.body = form = await read_form(request, route.limit)
        refuse_nul([*form.fields.values(), *form.fields])
        raw = digest_of(form)
    else:
        raw = await reading.read_body(request, route.limit)
    key = request.headers.get(idempotency.HEADER)
    if key is not None:
        return await _once(call, key, raw)
    return await _checked(call, raw)


async def _checked(call: Call, raw: bytes) -> web.StreamResponse:
    if not call.route.parts:
        call.body = reading.parse_body(call.route, call.request, raw)
    call.query = reading.parse_query(call.route, call.request)
    return _response(call, await call.route.handler(call))


async def _once(call: Call, key: str, raw: bytes) -> web.StreamResponse:
    """Runs a call that carries an Idempotency-Key, or repeats what it came to."""
    ground, request = call.services.ground, call.request
    mark = idempotency.mark_of(
        call.workspace_id, f"{call.route.method} {request.path}", key, request.query_string.encode() + b"\n" + raw
    )
    async with call.database() as conn:
        found = await idempotency.reserve(conn, ground.ring, mark)
    if isinstance(found, Replay):
        headers = headers_for(call.request_id, **{idempotency.REPLAYED: "true"})
        return web.Response(body=found.body, status=found.status, headers=headers, content_type="application/json")
    call.origin = found.origin
    async with idempotency.holding(ground.database, found):
        try:
            response = await _checked(call, raw)
        except Exception as error:
            response = refusal(known(error), call.request_id)
        await _keep(call, found, response)
    return response


async def _keep(call: Call, held: Try, response: web.StreamResponse) -> None:
    """Stores the answer. Should that fail the answer still goes out: what was done was done."""
    body = response.body if isinstance(response, web.Response) else b""
    status = response.status if isinstance(response, web.Response) else 500  # a stream is not kept: it is run anew
    try:
        async with call.database() as conn:
            stored = body if isinstance(body, bytes) else b""
            await idempotency.settle(conn, call.services.ground.ring, held, status, stored)
    except AWAY as error:
        _log.warning("http.answer_not_kept", error=type(error).__name__)


def _response(call: Call, result: object) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    answer = result if isinstance(result, Answer) else Answer(result)
    status = answer.status or call.route.status
    headers = headers_for(call.request_id, **answer.headers)
    if status == 204:
        return web.Response(status=status, headers=headers)
    headers.setdefault("Content-Type", _CONTENT_TYPES.get(call.route.media, call.route.media))
    body = answer.body if isinstance(answer.body, bytes) else dump(answer.body)
    return web.Response(body=body, status=status, headers=headers)


async def no_route(request: web.Request) -> web.Response:
    """Whatever no route matches: 405 with the methods that would do, or 404."""
    request_id = request_id_of(request)
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        allowed |= methods
    allowed.discard("*")
    REQUESTS.labels("(none)", "405" if allowed else "404").inc()
    if not allowed:
        return refusal(NotFound("there is no such route"), request_id)
    response = refusal(MethodNotAllowed("this route takes other methods"), request_id)
    response.headers["Allow"] = ", ".join(sorted(allowed))
    return response
