"""Words to a user that answer no question: where they were last seen, or in a channel that the caller names."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from channels.table import CHANNELS
from gateway.routes.talk import TEXT_LIMIT
from gateway.web import Call, Route, Shape, View
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.types import Json, Reply
from pipeline import outbox
from pipeline.outbox import Lane
from pipeline.reach import Reach
from pipeline.reach import reach as find_places


class Unreachable(Conflict):
    """The platform does not let the bot write there."""

    code = "unreachable"


class Notification(Shape):
    """To a user (`usr_…`, or the caller's own name for one who came by REST), or into one conversation."""

    user_id: str | None = Field(None, min_length=1, max_length=200)
    conversation_id: str | None = Field(None, max_length=128)
    channel: Literal["telegram", "slack", "discord", "web", "rest"] | None = Field(
        None, description="By default the one where the user was last seen"
    )
    account_id: str | None = Field(None, max_length=128, description="One bot among several of a channel")
    text: str = Field(min_length=1, max_length=TEXT_LIMIT, description="Markdown")


class Notified(View):
    message_id: str
    conversation_id: str
    channel: str
    account_id: str


async def notify(call: Call) -> Json:
    """Committed before it is answered; delivered like any reply. Raises NotFound and Unreachable."""
    asked: Notification = call.body
    if (asked.user_id is None) == (asked.conversation_id is None):
        message = "give either user_id or conversation_id"
        raise InvalidRequest(message, details=[{"field": "user_id", "message": message}])
    async with call.database() as conn:
        places = await find_places(
            conn, user_id=asked.user_id, conversation_id=asked.conversation_id,
            channel=asked.channel, account_id=asked.account_id,
        )  # fmt: skip
        reach = _open(places, asked)
        lane = Lane(call.workspace_id, reach.conversation_id)
        units = CHANNELS[reach.channel].render(Reply(asked.text), reach.address)
        message_id = await outbox.tell(conn, lane, asked.text, units)
    call.services.sender.wake(lane)
    return {
        "message_id": message_id,
        "conversation_id": reach.conversation_id,
        "channel": reach.channel,
        "account_id": reach.account_id,
    }


def _open(places: list[Reach], asked: Notification) -> Reach:
    """The first place that takes words, the one spoken in last before others."""
    if not places:
        where = f" on {asked.channel}" if asked.channel else ""
        if asked.conversation_id:
            raise NotFound("there is no such conversation")
        raise Unreachable(f"this user has not written to a bot of this workspace{where} in private, so none may write")
    for reach in places:
        if not reach.closed:
            return reach
    raise Unreachable(places[0].closed)


ROUTES = [
    Route(
        "POST",
        "/api/v1/notifications",
        notify,
        "write",
        "Tell a user something that they did not ask for",
        "talk",
        request=Notification,
        response=Notified,
        status=202,
        errors=(NotFound, Unreachable),
    ),
]
