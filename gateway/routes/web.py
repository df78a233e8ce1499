"""The chat on somebody's pages: a session, messages, their history and stream, and what visitors think of answers."""

from __future__ import annotations

import time
from collections.abc import Hashable
from contextlib import suppress
from functools import partial

from aiohttp import web

from channels.heal import heal
from channels.web import shown, vouched
from channels.web_html import to_html
from gateway import talk, visitors
from gateway.routes.attachments import download
from gateway.sse import BEAT, EventStream, Gone, open_stream
from gateway.streams import Reader
from gateway.visitors import Visitor
from gateway.web import Call, Route, instant
from gateway.widget import door, files
from gateway.widget.door import Visit, for_anybody, for_visitors
from gateway.widget.draft import Draft
from gateway.widget.shapes import Accepted, Begin, Begun, Identity, Opinion, Rated, Said, Span, Words
from identity.visitors import adopt
from kernel.errors import Forbidden, InvalidRequest, NotFound, RateLimited, Unauthorized, Unavailable
from kernel.ratelimit import Rate
from kernel.types import Ignored, Json, Sender
from pipeline import conversations, feedback, threads
from pipeline.conversations import Reading
from pipeline.files import attachments
from pipeline.turns import Place

_SESSIONS = Rate(count=240, seconds=60, burst=120)  # by address
_MESSAGES = Rate(count=30, seconds=60, burst=10)  # by visitor, as the next two
_READS = Rate(count=120, seconds=60, burst=40)
_STREAMS_AT_ONCE, _STREAMS_OF_ADDRESS = 8, 500


@for_anybody
async def session(call: Call, visit: Visit) -> Json:
    """Begins or goes on. A guest whom the page now vouches for keeps the conversation, unless that user has one
    already: then the user's goes on, and the guest's is left as it is. Callers that name no origin need an identity or
    a token, unless the channel is open to all origins."""
    asked: Begin = call.body
    await door.limit(call, "web:sessions", call.address, _SESSIONS)
    now = time.time()
    ring, account = call.services.ground.ring, visit.account
    earlier = visitors.read(ring, account.account_id, asked.visitor, now) if asked.visitor else None
    visitor = await _visitor(call, visit, asked.identity, earlier, now)
    continued = await _continued(call, visitor, earlier) if earlier else False
    settings = account.settings
    return {
        "visitor": visitors.issue(ring, visitor),
        "expires_at": instant(visitor.expires),
        "vouched": visitor.vouched,
        "continued": continued,
        "has_messages": await _has_messages(call, visitor) if earlier or visitor.vouched else False,
        "title": settings.get("title") or "",
        "greeting": settings.get("greeting") or "",
        "suggestions": settings.get("suggestions") or [],
        "theme": settings.get("theme") or {},
        "feedback": settings.get("feedback") is not False,
    }


async def _visitor(call: Call, visit: Visit, identity: Identity | None, earlier: Visitor | None, now: float) -> Visitor:
    """Raises Unauthorized and Forbidden."""
    account = visit.account
    if identity is not None:
        if not vouched(account, identity.user_id, identity.expires, identity.signature, now):
            await door.failed(call)
            raise Unauthorized("the signature is not this channel's for this user, or has expired", code="bad_identity")
        return visitors.of_user(account.account_id, identity.user_id, identity.name, identity.email, now)
    if earlier is not None and door.acceptable(account, earlier):
        return visitors.renewed(earlier, now)
    if account.settings.get("identity_required"):
        raise door.nameless()
    if not visit.origin and not door.open_to_all(account):
        raise Forbidden("a guest's session begins on a page", code="origin_not_allowed")
    return visitors.new_guest(account.account_id, now)


async def _continued(call: Call, visitor: Visitor, earlier: Visitor) -> bool:
    if earlier.vouched or not visitor.vouched:
        return False
    async with call.database() as conn:
        adopted = await adopt(conn, call.workspace_id, visitor.account_id, earlier.external_id, visitor.external_id)
    if adopted:
        call.services.runner.wake(Place(visitor.account_id, visitor.external_id))
    return adopted


async def _has_messages(call: Call, visitor: Visitor) -> bool:
    async with call.database() as conn:
        said, _ = await threads.latest(conn, Place(visitor.account_id, visitor.external_id), before=None, limit=1)
    return bool(said)


@for_visitors
async def message(call: Call, visit: Visit) -> Json:
    """Answered when it is committed; the reply comes in the stream. A repeat with the same `client_id` counts once."""
    asked: Words = call.body
    await door.limit(call, "web:messages", visit.subject, _MESSAGES)
    said = talk.message_of(
        Sender(visit.known.external_id, name=visit.known.name, username=visit.known.email),
        asked.text,
        visit.place,
        _address(visit),
        external_id=f"{visit.known.external_id}:{asked.client_id}",
    )
    judged = await call.services.intake.judged(visit.account, said)
    if isinstance(judged, Ignored):
        raise Forbidden("this chat does not take that up")
    async with call.database() as conn:
        conversation_id = await conversations.ensure(conn, call.workspace_id, visit.place, _address(visit))
    update_id, repeated = await talk.accept(call, visit.place, judged)
    return {
        "message_id": talk.message_id_of(update_id),
        "conversation_id": conversation_id,
        "client_id": asked.client_id,
        "repeated": repeated,
    }


def _address(visit: Visit) -> Json:
    return {"visitor": visit.known.external_id}


@for_visitors
async def history(call: Call, visit: Visit) -> Json:
    """Without `after` and `before` the last messages. Nothing but the visitor's own conversation is ever shown."""
    asked: Span = call.query
    await door.limit(call, "web:reads", visit.subject, _READS)
    async with call.database() as conn:
        if asked.after is not None:
            found = await threads.since(conn, visit.place, after=asked.after, limit=asked.limit)
        else:
            found = await threads.latest(conn, visit.place, before=asked.before, limit=asked.limit)
    return {"items": [shown(row) for row in found[0]], "more": found[1]}


@for_visitors
async def file(call: Call, visit: Visit) -> web.Response:
    """A file of the visitor's own conversation, as a download."""
    await door.limit(call, "web:reads", visit.subject, _READS)
    async with call.database() as conn:
        found = await attachments.content(conn, call.path["attachment_id"], visit.place)
    if found is None:
        raise NotFound("there is no such file in this conversation")
    name, _, data = found
    return download(call, name, data)


@for_visitors
async def rate(call: Call, visit: Visit) -> Json:
    """Rates an answer, changes the rating or takes it back."""
    asked: Opinion = call.body
    await door.limit(call, "web:reads", visit.subject, _READS)
    async with call.database() as conn:
        if not await threads.answered(conn, visit.place, asked.message_id):
            raise NotFound("there is no such answer")
        given = await feedback.rate(conn, asked.message_id, user_id=None, rating=asked.rating, comment=asked.comment)
    return {"message_id": asked.message_id, "rating": asked.rating, "comment": given["comment"] if given else ""}


@for_visitors
async def stream(call: Call, visit: Visit) -> web.StreamResponse:
    """Events: `message`, as in the history, with its seq as id; `typing` {"on"} when an answer is begun and when it is
    there; `draft` {"html"}, all of the answer as far as it has come. Without Last-Event-ID only what is new."""
    await door.limit(call, "web:reads", visit.subject, _READS)
    last = conversations.seq_of(call.request.headers.get("Last-Event-ID", ""))
    async with call.database() as conn:
        conversation_id = await conversations.ensure(conn, call.workspace_id, visit.place, _address(visit))
        seen = await conversations.last_seq(conn, conversation_id) if last is None else last
    reading = Reading(call.workspace_id, conversation_id, seen)
    shares: dict[Hashable, int] = {
        ("visitor", visit.subject): _STREAMS_AT_ONCE,
        ("address", call.address): _STREAMS_OF_ADDRESS,
    }
    caller = (visit.subject, visit.known.expires, visit.origin)
    with call.face.streams.reader(caller, partial(door.in_force, call, visit), visit.place, reading, shares) as reader:
        try:
            opened = await open_stream(call, visit.headers)
        except Gone:
            return web.Response(status=499)
        with suppress(Gone):
            await _pump(call, visit, opened, reader)
        return opened.response


async def _still_there(call: Call, visit: Visit, reader: Reader) -> bool:
    """False when the conversation has been given to a user meanwhile: the guest that it was reads no further."""
    async with call.database() as conn:
        return await threads.conversation_at(conn, visit.place) == reader.reading.conversation_id


async def _pump(call: Call, visit: Visit, opened: EventStream, reader: Reader) -> None:
    """Until the gateway stops, the visitor is not let in any more or is gone."""
    drafts = visit.account.settings.get("streaming") is not False
    reader.live, draft, typing, more = [], Draft(), False, True
    await opened.beat()
    while True:
        while more:
            rows, more = await call.face.streams.unseen(reader)
            if rows and not await _still_there(call, visit, reader):
                return
            for row in rows:
                await opened.send("message", shown(row), row["seq"])
                reader.reading.seen = row["seq"]
        for event in reader.live:
            draft.hear(event)
        reader.live.clear()
        if draft.running != typing:
            typing = draft.running
            await opened.send("typing", {"on": typing})
        due = draft.due(time.monotonic()) if drafts else None
        if due == 0:
            await opened.send("draft", {"html": to_html(heal(draft.taken(time.monotonic())))})
            due = None
        news = await reader.wait(BEAT if due is None else due)
        if news == "end":
            return
        if news == "beat" and due is None:
            await opened.beat()
        more = news == "news"


_BASE = "/channels/web/{account_id}"
_TURNED_AWAY = (NotFound, Forbidden, RateLimited)
_KNOWN = (*_TURNED_AWAY, Unauthorized, Unavailable)


def _preflight(path: str) -> Route:
    summary = "What a browser asks before a page of another origin may call"
    return Route("OPTIONS", _BASE + path, door.preflight, "public", summary, "web", status=204, errors=_TURNED_AWAY)


ROUTES = [
    Route(
        "POST",
        _BASE + "/sessions",
        session,
        "public",
        "Begin a visitor's session, or go on with it",
        "web",
        request=Begin,
        response=Begun,
        errors=(*_KNOWN,),
    ),
    Route(
        "POST",
        _BASE + "/messages",
        message,
        "visitor",
        "A visitor says something",
        "web",
        request=Words,
        response=Accepted,
        status=202,
        errors=_KNOWN,
    ),
    Route(
        "GET",
        _BASE + "/messages",
        history,
        "visitor",
        "What was said",
        "web",
        query=Span,
        response=Said,
        errors=_KNOWN,
    ),
    Route(
        "GET",
        _BASE + "/files/{attachment_id}",
        file,
        "visitor",
        "A file of the visitor's conversation",
        "web",
        errors=_KNOWN,
        media="application/octet-stream",
    ),
    Route(
        "GET",
        _BASE + "/stream",
        stream,
        "visitor",
        "New messages and answers in the making; resumes from Last-Event-ID",
        "web",
        errors=(*_KNOWN, InvalidRequest),
        streams=True,
        media="text/event-stream",
    ),
    Route(
        "POST",
        _BASE + "/feedback",
        rate,
        "visitor",
        "A visitor's opinion of an answer",
        "web",
        request=Opinion,
        response=Rated,
        errors=_KNOWN,
    ),
    *files.ROUTES,
    *map(_preflight, ("/sessions", "/messages", "/files/{attachment_id}", "/stream", "/feedback")),
]
