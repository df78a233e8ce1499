"""What platforms call. As lean as can be: read, hand to the intake, answer when it is committed."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from channels.table import CHANNELS
from gateway.web import MEBIBYTE, Call, Route
from kernel.errors import MalformedRequest, NotFound, TooLarge, Unauthorized, Unavailable
from kernel.types import Json


async def _inbound(kind: str, call: Call) -> Json | None:
    """What the platform wants to hear, None for an empty answer."""
    request = call.request
    body = await _body(request)
    return await call.services.intake.receive(kind, request.match_info["account_id"], request.headers, body)


async def _body(request: web.Request) -> bytes:
    """The whole body. A small one has arrived by now, and then it need not be gathered chunk by chunk."""
    content = request.content
    if content.is_eof() and content.total_bytes <= MEBIBYTE:
        return content.read_nowait()
    return await request.read()


ROUTES = [
    Route(
        "POST",
        f"/channels/{kind}/{{account_id}}",
        partial(_inbound, kind),
        "platform",
        channel.called,
        "platforms",
        errors=(Unauthorized, NotFound, MalformedRequest, TooLarge, Unavailable),
    )
    for kind, channel in CHANNELS.items()
    if channel.called
]
