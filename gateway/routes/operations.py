"""What went wrong and waits for a person: updates that were set aside, sends that nobody knows the outcome of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import Field

from channels import accounts
from channels.table import CHANNELS
from gateway.web import Call, Listed, Paging, Route, View, page
from kernel.errors import Conflict, NotFound
from kernel.types import InboundMessage, Json
from pipeline import conversations, outbox, turns
from pipeline.turns import Place


class Update(View):
    update_id: str
    seq: int
    account_id: str
    external_id: str
    conversation_key: str
    kind: str
    status: str
    cause: str = Field(description="Why it was set aside")
    received_at: datetime


class UpdateQuery(Paging):
    status: Literal["pending", "taken", "answered", "ignored", "dead"] = "dead"


class Replayed(View):
    update_id: str
    status: Literal["pending"]


class Outbound(View):
    outbound_id: str
    account_id: str
    conversation_id: str
    message_id: str
    seq: int
    state: str
    attempts: int
    ambiguous: int = Field(description="Sends of it whose outcome nobody knows")
    cause: str
    text: str
    created_at: datetime
    due_at: datetime
    sent_at: datetime | None


class OutboundQuery(Paging):
    state: Literal["pending", "sending", "sent", "failed", "unknown"] = "unknown"


class Resent(View):
    outbound_id: str
    state: Literal["pending"]


async def updates(call: Call) -> Json:
    asked: UpdateQuery = call.query
    async with call.database() as conn:
        rows = await turns.list_updates(conn, asked.status, asked.limit + 1, conversations.seq_of(asked.cursor))
    found = rows[: asked.limit]
    return page((found, str(found[-1]["seq"]) if len(rows) > asked.limit else None))


async def replay(call: Call) -> Json:
    """Reads the update again, with the parser as it is today, and puts it back into the inbox."""
    update_id, ring = call.path["update_id"], call.services.ground.ring
    async with call.database() as conn:
        dead = await turns.dead_update(conn, update_id)
        if dead is None:
            raise NotFound("there is no such update that was set aside")
        message = InboundMessage.from_json(dead["message"]) if dead["message"] else None
        if message is None:
            account = await accounts.find(conn, ring, dead["account_id"])
            if account is None:
                raise Conflict("the channel account is disconnected")
            message = _parsed(CHANNELS[account.kind].parse, account, dead["payload"])
        await turns.revive(conn, update_id, message)
    call.services.runner.wake(Place(dead["account_id"], message.conversation_key))
    return {"update_id": update_id, "status": "pending"}


def _parsed(parse: Any, account: Any, payload: bytes) -> InboundMessage:
    """The update's first message. Raises Conflict when it still cannot be understood."""
    try:
        parsed = parse(account, orjson.loads(payload))
    except Exception as error:  # the very reason why it was set aside: whatever the parser does
        raise Conflict(f"it still cannot be read: {type(error).__name__}: {error}") from error
    for message in parsed:
        if isinstance(message, InboundMessage):
            return message
    raise Conflict("it holds nothing that needs an answer")


async def outbound(call: Call) -> Json:
    asked: OutboundQuery = call.query
    async with call.database() as conn:
        return page(await conversations.list_outbound(conn, asked.state, cursor=asked.cursor, limit=asked.limit))


async def resend(call: Call) -> Json:
    """Sends it again; the user may see it twice."""
    outbound_id = call.path["outbound_id"]
    async with call.database() as conn:
        lane = await outbox.resend(conn, outbound_id)
    if lane is None:
        raise NotFound("there is no such send that failed or is unknown")
    call.services.sender.wake(lane)
    return {"outbound_id": outbound_id, "state": "pending"}


ROUTES = [
    Route(
        "GET",
        "/api/v1/updates",
        updates,
        "read",
        "Inbound updates by status; `dead` ones were set aside",
        "operations",
        query=UpdateQuery,
        response=Listed[Update],
    ),
    Route(
        "POST",
        "/api/v1/updates/{update_id}/replay",
        replay,
        "write",
        "Try an update that was set aside again",
        "operations",
        response=Replayed,
        errors=(NotFound, Conflict),
    ),
    Route(
        "GET",
        "/api/v1/outbound",
        outbound,
        "read",
        "Sends by state; nobody knows what came of `unknown` ones",
        "operations",
        query=OutboundQuery,
        response=Listed[Outbound],
    ),
    Route(
        "POST",
        "/api/v1/outbound/{outbound_id}/resend",
        resend,
        "write",
        "Send an unknown or failed message again",
        "operations",
        response=Resent,
        errors=(NotFound,),
    ),
]
