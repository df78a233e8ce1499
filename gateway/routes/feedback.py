"""What people think of answers: from buttons and reactions, and from callers who have buttons of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel.errors import NotFound
from kernel.types import Json
from pipeline import feedback


class Feedback(View):
    feedback_id: str
    message_id: str
    conversation_id: str
    session_id: str
    turn_id: str
    user_id: str
    account_id: str
    rating: Literal["up", "down"]
    comment: str
    source: Literal["button", "reaction", "api"]
    created_at: datetime
    updated_at: datetime


class NewFeedback(Shape):
    rating: Literal["up", "down", "none"] = Field(examples=["up"], description="`none` takes an earlier rating back")
    comment: str | None = Field(None, max_length=4_000, description="By default an earlier comment is left as it is")
    user_id: str | None = Field(
        None, min_length=1, max_length=128, description="Whose opinion it is; by default that of the person answered"
    )


class FeedbackQuery(Paging):
    rating: Literal["", "up", "down"] = ""
    user_id: str = Field("", max_length=128)
    message_id: str = Field("", max_length=128)
    conversation_id: str = Field("", max_length=128)
    account_id: str = Field("", max_length=128)


async def rate(call: Call) -> Answer:
    """One opinion of each person on each answer: a second one replaces the first."""
    asked: NewFeedback = call.body
    async with call.database() as conn:
        given = await feedback.rate(
            conn, call.path["message_id"], user_id=asked.user_id, rating=asked.rating, comment=asked.comment
        )
    return Answer(given, status=200 if given else 204)


async def listed(call: Call) -> Json:
    asked: FeedbackQuery = call.query
    async with call.database() as conn:
        return page(await feedback.listed(conn, **asked.model_dump()))


ROUTES = [
    Route(
        "POST",
        "/api/v1/messages/{message_id}/feedback",
        rate,
        "write",
        "Rate an answer, change the rating or take it back",
        "talk",
        request=NewFeedback,
        response=Feedback,
        also={204: "The rating is taken back"},
        errors=(NotFound,),
    ),
    Route(
        "GET",
        "/api/v1/feedback",
        listed,
        "read",
        "What people think of answers, newest first",
        "talk",
        query=FeedbackQuery,
        response=Listed[Feedback],
    ),
]
