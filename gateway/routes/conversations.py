"""Conversations, what was said in them, their sessions; and the stream of new messages."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from gateway.sse import BEAT, EventStream, Gone, open_stream
from gateway.streams import Reader
from gateway.web import Call, Listed, Paging, Route, View, page
from kernel.errors import NotFound, Unavailable
from kernel.types import Json
from pipeline import conversations
from pipeline.conversations import Reading


class Conversation(View):
    conversation_id: str
    account_id: str
    channel: str
    user_id: str | None
    private: bool
    blocked_at: datetime | None = Field(description="Set while the user or group has put the bot out")
    created_at: datetime
    last_message_at: datetime


class MessageFile(View):
    attachment_id: str = Field(description="Its bytes: `/api/v1/attachments/{attachment_id}/content`")
    name: str
    mime: str
    size: int = Field(description="Bytes")
    caption: str


class ChatMessage(View):
    seq: int = Field(description="Grows with every message; the id of its event in the stream")
    message_id: str
    session_id: str
    turn_id: str
    user_id: str | None
    role: Literal["user", "assistant", "system"]
    text: str
    citations: list[dict[str, Any]]
    files: list[MessageFile]
    edited_at: datetime | None
    created_at: datetime


class Session(View):
    session_id: str
    conversation_id: str
    user_id: str
    outcome: Literal["resolved", "escalated", "abandoned"] | None
    started_at: datetime
    last_turn_at: datetime
    closed_at: datetime | None


class SessionWhole(Session):
    snapshot: dict[str, Any]


class ConversationQuery(Paging):
    user_id: str = Field("", max_length=128)
    account_id: str = Field("", max_length=128)


class SessionQuery(Paging):
    conversation_id: str = Field("", max_length=128)
    open: bool | None = None


async def listed(call: Call) -> Json:
    asked: ConversationQuery = call.query
    async with call.database() as conn:
        return page(
            await conversations.list_conversations(
                conn, user_id=asked.user_id, account_id=asked.account_id, cursor=asked.cursor, limit=asked.limit
            )
        )


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await conversations.get_conversation(conn, call.path["conversation_id"])


async def messages(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(
            await conversations.list_messages(
                conn, call.path["conversation_id"], cursor=asked.cursor, limit=asked.limit
            )
        )


async def stream(call: Call) -> web.StreamResponse:
    """Every new message, of both sides, as event `message` with its seq as id."""
    conversation_id = call.path["conversation_id"]
    async with call.database() as conn:
        spot = await conversations.spot(conn, conversation_id)
        last = conversations.seq_of(call.request.headers.get("Last-Event-ID", ""))
        seen = await conversations.last_seq(conn, conversation_id) if last is None else last
    assert call.caller
    reading = Reading(call.workspace_id, conversation_id, seen)
    in_force = partial(call.face.auth.in_force, call.caller)
    with call.face.streams.reader(call.caller, in_force, spot.place, reading) as reader:
        try:
            opened = await open_stream(call)
        except Gone:
            return web.Response(status=499)
        with suppress(Gone):
            await _pump(call, opened, reader)
        return opened.response


async def _pump(call: Call, opened: EventStream, reader: Reader) -> None:
    """Until the gateway stops, the key is revoked or the client is gone."""
    await opened.beat()
    more = True
    while True:
        while more:
            rows, more = await call.face.streams.unseen(reader)
            for row in rows:
                seq = row["seq"]
                await opened.send("message", {name: row[name] for name in row if name != "n"}, seq)
                reader.reading.seen = seq
        news = await reader.wait(BEAT)
        if news == "end":
            return
        if news == "beat":
            await opened.beat()
        more = news == "news"


async def sessions(call: Call) -> Json:
    asked: SessionQuery = call.query
    async with call.database() as conn:
        return page(
            await conversations.list_sessions(
                conn,
                conversation_id=asked.conversation_id,
                is_open=asked.open,
                cursor=asked.cursor,
                limit=asked.limit,
            )
        )


async def session(call: Call) -> Json:
    async with call.database() as conn:
        return await conversations.get_session(conn, call.path["session_id"])


_BASE = "/api/v1/conversations"

ROUTES = [
    Route(
        "GET",
        _BASE,
        listed,
        "read",
        "List conversations, the latest first",
        "talk",
        query=ConversationQuery,
        response=Listed[Conversation],
    ),
    Route(
        "GET",
        _BASE + "/{conversation_id}",
        one,
        "read",
        "One conversation",
        "talk",
        response=Conversation,
        errors=(NotFound,),
    ),
    Route(
        "GET",
        _BASE + "/{conversation_id}/messages",
        messages,
        "read",
        "What was said, oldest first",
        "talk",
        query=Paging,
        response=Listed[ChatMessage],
        errors=(NotFound,),
    ),
    Route(
        "GET",
        _BASE + "/{conversation_id}/stream",
        stream,
        "read",
        "New messages as they come; resumes from Last-Event-ID",
        "talk",
        errors=(NotFound, Unavailable),
        streams=True,
        media="text/event-stream",
    ),
    Route(
        "GET",
        "/api/v1/sessions",
        sessions,
        "read",
        "List sessions, newest first",
        "talk",
        query=SessionQuery,
        response=Listed[Session],
    ),
    Route(
        "GET",
        "/api/v1/sessions/{session_id}",
        session,
        "read",
        "One session",
        "talk",
        response=SessionWhole,
        errors=(NotFound,),
    ),
]
