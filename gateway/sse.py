"""Server-sent events on an open response (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.requests import BEGUN, headers_for
from gateway.web import Call, dump

BEAT = 15.0  # seconds between comments on a silent stream
_PATIENCE = 30.0  # seconds that a client may leave its buffer full


class Gone(Exception):
    """The client hung up, or stopped reading."""


class EventStream:
    """Make it with `open_stream`; `Gone` from any method means that there is nobody to write to."""

    def __init__(self, response: web.StreamResponse, request: web.Request) -> None:
        self.response = response
        self._request = request

    async def send(self, event: str, data: Any, event_id: int | None = None) -> None:
        head = b"" if event_id is None else b"id: %d\n" % event_id
        await self._write(head + b"event: " + event.encode() + b"\ndata: " + dump(data) + b"\n\n")

    async def beat(self) -> None:
        await self._write(b": still here\n\n")

    async def _write(self, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.response.write(chunk)
        except TimeoutError as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise Gone from error
        except ConnectionError as error:
            raise Gone from error


async def open_stream(call: Call, headers: Mapping[str, str] | None = None) -> EventStream:
    """Starts the response, with `headers` beside the usual ones. Raises Gone when the client is not there any more."""
    whole = headers_for(call.request_id, **{"X-Accel-Buffering": "no", **(headers or {})})
    response = web.StreamResponse(headers=whole)
    response.content_type, response.charset = "text/event-stream", "utf-8"
    try:
        await response.prepare(call.request)
    except ConnectionError as error:
        raise Gone from error
    call.request[BEGUN] = response
    return EventStream(response, call.request)
