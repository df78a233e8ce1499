"""A user's message through the REST channel."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway import talk
from gateway.talk import Opened, Said, Utterance
from gateway.web import Answer, Call, Route, Shape, View
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from pipeline.conversations import Progress

_FOR_TURN = 2.0  # seconds that the caller waits for the turn's id
TEXT_LIMIT = 32_000


class Message(Shape):
    user_id: str = Field(min_length=1, max_length=200, description="The caller's own name for the user")
    text: str = Field(min_length=1, max_length=TEXT_LIMIT, examples=["When do you open?"])
    conversation_id: str | None = Field(None, max_length=128, description="By default the user's own conversation")


class Waiting(Shape):
    wait: float = Field(0, ge=0, le=120, description="Seconds to wait for the reply")


class Reply(View):
    message_id: str | None
    text: str
    citations: list[dict[str, Any]]


class Taken(View):
    message_id: str
    conversation_id: str
    turn_id: str | None = Field(description="null when no turn has begun yet")
    reply: Reply | None = Field(None, description="With `wait`, once it is there")


async def message(call: Call) -> Answer:
    """202 with the ids; with `wait` 200 and the reply, if it is there in time."""
    asked: Message = call.body
    wait: float = call.query.wait
    utterance = Utterance(asked.user_id, asked.text, f"user:{asked.user_id}", asked.conversation_id)
    async with talk.say(call, utterance) as said:
        turn_id, reply = await _outcome(call, said, wait)
    taken: Json = {
        "message_id": said.message_id,
        "conversation_id": said.conversation_id,
        "turn_id": turn_id,
    }
    if reply is None:
        return Answer(taken, status=202)
    return Answer({**taken, "reply": reply}, status=200)


async def _outcome(call: Call, said: Said, wait: float) -> tuple[str | None, Json | None]:
    turn_id = None
    async for step in talk.follow(call, said, max(wait, _FOR_TURN)):
        if isinstance(step, Opened):
            turn_id = step.turn_id
            if not wait:
                break
        elif isinstance(step, Progress):
            turn_id = step.turn_id
            return turn_id, _reply(step) if wait else None
    return turn_id, None


def _reply(finished: Progress) -> Json:
    answer = finished.answer or {"message_id": None, "text": "", "citations": []}
    return {name: answer[name] for name in ("message_id", "text", "citations")}


ROUTES = [
    Route(
        "POST",
        "/api/v1/messages",
        message,
        "write",
        "A user says something; the answer comes as in any channel",
        "talk",
        request=Message,
        query=Waiting,
        response=Taken,
        status=202,
        also={200: "The reply came in time"},
        errors=(NotFound, Conflict),
    ),
]
