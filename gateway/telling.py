"""Words and files that nobody asked for: in which of several places, and what is owed there from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from channels.table import CHANNELS
from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.types import Json, OutgoingFile, Reply, Unit
from pipeline import outbox
from pipeline.files import attachments, outgoing
from pipeline.outbox import Lane
from pipeline.reach import Reach


class Unreachable(Conflict):
    """The platform does not let the bot write there."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Told:
    """A message that is owed once the transaction is committed; then its lane is to be woken."""

    message_id: str
    lane: Lane
    reach: Reach


def first_open(places: Sequence[Reach]) -> Reach:
    """The first place that takes words. `places` are not empty. Raises Unreachable."""
    for reach in places:
        if not reach.closed:
            return reach
    raise Unreachable(places[0].closed)


def rendered(reach: Reach, text: str) -> list[Unit]:
    """What is said there, as an answer to nothing that was said there before."""
    return CHANNELS[reach.channel].render(Reply(text), _unasked(reach.address)) if text else []


def _unasked(address: Json) -> Json:
    return {**address, "reply_to": None} if address.get("reply_to") else address


async def tell(conn: Connection, workspace_id: str, reach: Reach, text: str, files: Mapping[str, OutgoingFile]) -> Told:
    """Owes a place a text in markdown, then the files by their attachments' ids. Raises NotFound."""
    lane = Lane(workspace_id, reach.conversation_id)
    message_id = await outbox.tell(conn, lane, text, [*rendered(reach, text), *outgoing.units(files)])
    if message_id is None:
        raise NotFound("there is no such conversation")
    if files:
        await attachments.store_outgoing(conn, reach.conversation_id, message_id, files)
    return Told(message_id, lane, reach)
