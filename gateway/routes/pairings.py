"""Letting people in to a bot whose access is `paired`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from channels import accounts
from channels.table import CHANNELS
from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from identity import pairings
from kernel.errors import NotFound
from kernel.types import Json, Reply
from pipeline import outbox
from pipeline.outbox import Lane

LET_IN = "You are let in. What would you like to know?"


class Pairing(View):
    pairing_id: str
    account_id: str
    external_id: str = Field(description="The platform's id of the person")
    name: str
    username: str
    status: Literal["waiting", "paired"]
    created_at: datetime
    expires_at: datetime = Field(description="Until when the code of one who waits is good")
    paired_at: datetime | None


class NewPairing(Shape):
    code: str = Field(min_length=1, max_length=64, description="As the bot told the person", examples=["ABCD-EFGH"])


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    account_id = call.path["account_id"]
    async with call.database() as conn:
        await accounts.get(conn, account_id)
        return page(await pairings.listed(conn, account_id, cursor=asked.cursor, limit=asked.limit))


async def pair(call: Call) -> Json:
    """Whoever was given the code may use the bot from now on, and is told so."""
    asked: NewPairing = call.body
    async with call.database() as conn:
        account = await accounts.get(conn, call.path["account_id"])
        paired = await pairings.pair(conn, account["account_id"], asked.code)
        lane, address = Lane(call.workspace_id, paired.pop("conversation_id")), paired.pop("address")
        if address is not None:
            units = CHANNELS[account["kind"]].render(Reply(LET_IN), address)
            await outbox.tell(conn, lane, LET_IN, units, role="system")
    call.services.sender.wake(lane)
    return paired


async def remove(call: Call) -> Answer:
    async with call.database() as conn:
        await pairings.remove(conn, call.path["account_id"], call.path["pairing_id"])
    return Answer(None)


_BASE = "/api/v1/channels/{account_id}/pairings"

ROUTES = [
    Route(
        "GET",
        _BASE,
        listed,
        "read",
        "Who may use a bot by pairing, and who has asked",
        "channels",
        query=Paging,
        response=Listed[Pairing],
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _BASE,
        pair,
        "write",
        "Let somebody in to a bot by the code that it gave them",
        "channels",
        request=NewPairing,
        response=Pairing,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _BASE + "/{pairing_id}",
        remove,
        "write",
        "Put somebody out of a bot again",
        "channels",
        status=204,
        errors=(NotFound,),
    ),
]
