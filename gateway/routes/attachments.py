"""Files that people sent in a conversation, and files that they were sent."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from gateway.requests import headers_for
from gateway.web import Call, Listed, Paging, Route, View, page
from kernel.errors import NotFound
from kernel.types import Json
from pipeline import conversations
from pipeline.files import attachments


class Attached(View):
    attachment_id: str
    conversation_id: str
    message_id: str | None
    turn_id: str
    direction: Literal["in", "out"] = Field(description="`in`: the person sent it; `out`: they were sent it")
    name: str
    caption: str
    mime: str
    size: int
    status: Literal["read", "kept", "refused"]
    cause: str
    created_at: datetime


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    conversation_id = call.path["conversation_id"]
    async with call.database() as conn:
        await conversations.spot(conn, conversation_id)
        return page(await attachments.list_attachments(conn, conversation_id, cursor=asked.cursor, limit=asked.limit))


async def content(call: Call) -> web.Response:
    """The bytes, always as a download: a stranger's file must not run in our origin."""
    async with call.database() as conn:
        found = await attachments.content(conn, call.path["attachment_id"])
    if found is None:
        raise NotFound("there is no such file, or it was not kept")
    name, _, data = found
    return download(call, name, data)


def download(call: Call, name: str, data: bytes) -> web.Response:
    """Never shown by a browser, whatever it is."""
    headers = headers_for(
        call.request_id,
        **{
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        },
    )
    return web.Response(body=data, headers=headers)


ROUTES = [
    Route(
        "GET",
        "/api/v1/conversations/{conversation_id}/attachments",
        listed,
        "read",
        "Files of a conversation, of both sides",
        "talk",
        query=Paging,
        response=Listed[Attached],
        errors=(NotFound,),
    ),
    Route(
        "GET",
        "/api/v1/attachments/{attachment_id}/content",
        content,
        "read",
        "A file's bytes",
        "talk",
        media="application/octet-stream",
        errors=(NotFound,),
    ),
]
