"""What REST callers say: into the inbox like any other update, and the way back from its turn to the caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson

from channels import accounts
from gateway.web import Call
from kernel.errors import Conflict
from kernel.ids import new_id
from kernel.types import InboundMessage, Json, Sender
from pipeline import conversations
from pipeline.conversations import Progress, Spot
from pipeline.turns import Arrival, Place

_LOOK = 0.25  # seconds between looks at the rows while the turn may run in another process
_LOOK_HERE = 2.0  # once this process is known to run it
_COMMANDS = ("new", "help", "start", "link", "unlink")
_TAKE_WORDS = ("link",)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a caller's user says. Without `conversation_id` it goes to the conversation named `key`.

    `detail` tells the turn something about it: for a question the number of passages wanted.
    """

    user_id: str
    text: str
    key: str
    conversation_id: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """An accepted utterance, with the queue on which this process tells of its conversation."""

    conversation_id: str
    update_id: str
    news: asyncio.Queue[Json]
    repeated: bool

    @property
    def message_id(self) -> str:
        return message_id_of(self.update_id)


@dataclass(frozen=True, slots=True)
class Opened:
    turn_id: str


@dataclass(frozen=True, slots=True)
class Piece:
    text: str


Step = Opened | Piece | Progress


def message_id_of(update_id: str) -> str:
    """The id that a turn gives to the user's message of an update."""
    return "msg" + update_id[3:]


@asynccontextmanager
async def say(call: Call, utterance: Utterance) -> AsyncIterator[Said]:
    """Commits what was said. Raises NotFound for an unknown conversation, Conflict for one of another channel."""
    spot = await _spot(call, utterance)
    message = message_of(
        Sender(utterance.user_id, name=utterance.user_id),
        utterance.text,
        spot.place,
        {"user_id": utterance.user_id},
        external_id=call.origin or new_id("call"),
        detail=utterance.detail,
    )
    with call.services.hub.listen(spot.place) as news:
        update_id, repeated = await accept(call, spot.place, message)
        yield Said(spot.conversation_id, update_id, news, repeated)


async def accept(call: Call, place: Place, message: InboundMessage) -> tuple[str, bool]:
    """Commits an update. Returns its id, also when it was accepted before, and whether it was. Raises Conflict."""
    arrival = Arrival(place.account_id, orjson.dumps({"text": message.text}), message)
    accepted = await call.services.intake.accept(arrival)
    if accepted.update_id is not None:
        return accepted.update_id, False
    return await _earlier(call, arrival), True


async def _spot(call: Call, utterance: Utterance) -> Spot:
    async with call.database() as conn:
        if utterance.conversation_id:
            spot = await conversations.spot(conn, utterance.conversation_id)
            if spot.channel != "rest":
                raise Conflict(f"this conversation takes place on {spot.channel}; only its user can write there")
            return spot
        account_id = await accounts.ensure_rest(conn, call.services.ground.ring, call.workspace_id)
        place = Place(account_id, utterance.key)
        address = {"user_id": utterance.user_id}
        return Spot(await conversations.ensure(conn, call.workspace_id, place, address), place, "rest")


async def _earlier(call: Call, arrival: Arrival) -> str:
    async with call.database() as conn:
        update_id = await conversations.update_named(conn, arrival.account_id, arrival.message.external_id)
    if update_id is None:
        raise Conflict("the channel was disconnected")
    return update_id


def message_of(
    sender: Sender, text: str, place: Place, address: Json, *, external_id: str, detail: str = ""
) -> InboundMessage:
    """Words that came over HTTP, as the turn takes them."""
    command, _, words = text[1:].partition(" ") if text.startswith("/") else ("", "", "")
    known = command in _COMMANDS and (not words or command in _TAKE_WORDS)
    return InboundMessage(
        external_id=external_id,
        conversation_key=place.conversation_key,
        kind="command" if known else "text",
        sender=sender,
        text=words.strip() if known else text,
        address=address,
        command=command if known else "",
        detail=detail,
        sent_at=time.time(),
    )


async def follow(call: Call, said: Said, seconds: float) -> AsyncIterator[Step]:
    """What becomes of it: Opened (again after a retry), Pieces, and last its Progress when it is finished.

    Ends without that when `seconds` are over or the client hangs up. Only a turn of this process tells its pieces.
    """
    deadline = time.monotonic() + seconds
    turn_id, here, look = "", False, said.repeated
    while True:
        if look:
            now = await _progress(call, said)
            if now.turn_id and not turn_id:
                turn_id = now.turn_id
                yield Opened(turn_id)
            if now.finished:
                yield now
                return
        left = deadline - time.monotonic()
        if left <= 0 or call.gone:
            return
        news = await _next(said.news, min(left, _LOOK_HERE if here else _LOOK))
        look = news is None or (news["type"] == "finished" and news["turn_id"] == turn_id)
        if news and news["type"] == "opened" and said.message_id in news["message_ids"]:
            turn_id, here = news["turn_id"], True
            yield Opened(turn_id)
        elif news and news["type"] == "piece" and here:
            yield Piece(news["text"])


async def _next(news: asyncio.Queue[Json], seconds: float) -> Json | None:
    try:
        async with asyncio.timeout(seconds):
            return await news.get()
    except TimeoutError:
        return None


async def _progress(call: Call, said: Said) -> Progress:
    async with call.database() as conn:
        return await conversations.progress(conn, said.update_id)
