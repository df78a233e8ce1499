"""A question, answered from the workspace's knowledge: one body, or a stream of pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from pydantic import ConfigDict, Field

from gateway import talk
from gateway.metrics import ASK_SECONDS
from gateway.requests import known
from gateway.sse import BEAT, EventStream, Gone, open_stream
from gateway.talk import Opened, Piece, Said, Utterance
from gateway.web import Call, Route, Shape, View
from kernel.errors import Conflict, NotFound, Unavailable
from kernel.ids import new_id
from kernel.types import Json
from pipeline.conversations import Progress

_PATIENCE = 60.0


class Ask(Shape):
    query: str = Field(min_length=1, max_length=8_000, examples=["When do you open?"])
    k: int | None = Field(None, ge=1, le=50, description="Passages to draw the answer from")
    conversation_id: str | None = Field(None, max_length=128, description="To ask on; by default a fresh conversation")
    user_id: str | None = Field(None, min_length=1, max_length=200, description="The caller's own name for the user")
    stream: bool = Field(False, description="Answer as text/event-stream")


class Chunk(View):
    model_config = ConfigDict(extra="allow")

    chunk_id: str
    document_id: str
    title: str
    text: str
    score: float


class Answered(View):
    answer: str
    chunks: list[Chunk] = Field(description="The passages that the answer was drawn from, best first")
    citations: list[dict[str, Any]]
    score: float = Field(description="How well the best passage fits, 0 to 1")
    count: int = Field(description="Number of chunks")
    grounded: bool = Field(description="False: the knowledge holds no answer, and the text says so")
    conversation_id: str
    message_id: str
    cached: bool
    fallback_used: bool


async def ask(call: Call) -> Json | web.StreamResponse:
    asked: Ask = call.body
    utterance = Utterance(
        user_id=asked.user_id or "anonymous",
        text=asked.query,
        key=f"ask:{call.origin or new_id('call')}",
        conversation_id=asked.conversation_id,
        detail=str(asked.k or ""),
    )
    async with talk.say(call, utterance) as said:
        if asked.stream:
            return await _streamed(call, said)
        started = time.perf_counter()
        try:
            async for step in talk.follow(call, said, _PATIENCE):
                if isinstance(step, Progress):
                    answered = _answered(said, step)
                    ASK_SECONDS.labels("answered").observe(time.perf_counter() - started)
                    return answered
            raise _late(said)
        except Unavailable:
            ASK_SECONDS.labels("failed").observe(time.perf_counter() - started)
            raise


def _late(said: Said) -> Unavailable:
    return Unavailable(f"the answer will arrive in the conversation {said.conversation_id}", retry_after=5.0)


def _answered(said: Said, finished: Progress) -> Json:
    """Raises Unavailable when the turn was set aside after its last attempt."""
    answer = finished.answer
    if answer is None or finished.turn_status != "done":
        raise Unavailable("the question could not be answered", code="answer_failed", retry_after=5.0)
    retrieval: Json = answer["retrieval"]
    chunks = retrieval.get("hits", [])
    return {
        "answer": answer["text"],
        "chunks": chunks,
        "citations": answer["citations"],
        "score": retrieval.get("score", 0.0),
        "count": len(chunks),
        "grounded": retrieval.get("grounded", False),
        "conversation_id": said.conversation_id,
        "message_id": answer["message_id"],
        "cached": False,
        "fallback_used": retrieval.get("fallback_used", False),
    }


async def _streamed(call: Call, said: Said) -> web.StreamResponse:
    """Events: `piece` {"text"}, `restart` when a retry begins the answer anew, `done` with the whole body, `error`."""
    started, outcome = time.perf_counter(), "hung_up"
    stream = await _opened(call)
    if isinstance(stream, web.Response):
        return stream
    try:
        outcome = await _pump(call, said, stream)
    except Gone:
        pass
    except Exception as error:
        outcome = "failed"
        await _tell(stream, known(error).body(call.request_id))
    ASK_SECONDS.labels(outcome).observe(time.perf_counter() - started)
    return stream.response


async def _opened(call: Call) -> EventStream | web.Response:
    try:
        return await open_stream(call)
    except Gone:
        return web.Response(status=499)


async def _tell(stream: EventStream, body: Json) -> None:
    try:
        await stream.send("error", body)
    except Gone:
        return


async def _pump(call: Call, said: Said, stream: EventStream) -> str:
    """Raises Gone, and Unavailable when there is no answer in time."""
    pieces = 0
    async for step in _with_beats(call, said, stream):
        if isinstance(step, Piece):
            pieces += 1
            await stream.send("piece", {"text": step.text})
        elif isinstance(step, Opened) and pieces:
            pieces = 0
            await stream.send("restart", {})
        elif isinstance(step, Progress):
            await stream.send("done", _answered(said, step))
            return "answered"
    raise _late(said)


async def _with_beats(call: Call, said: Said, stream: EventStream) -> AsyncIterator[talk.Step]:
    """The steps, with a comment on the stream whenever it was silent for a while."""
    steps = talk.follow(call, said, _PATIENCE)
    coming = asyncio.ensure_future(anext(steps, None))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=BEAT)
            if not done:
                await stream.beat()
                continue
            step = coming.result()
            if step is None:
                return
            yield step
            coming = asyncio.ensure_future(anext(steps, None))
    finally:
        coming.cancel()


ROUTES = [
    Route(
        "POST",
        "/api/v1/ask",
        ask,
        "read",
        "Ask the workspace's knowledge",
        "ask",
        request=Ask,
        response=Answered,
        errors=(NotFound, Conflict, Unavailable),
    ),
]
