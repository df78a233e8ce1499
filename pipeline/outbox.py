"""The door to outbound messages: one row per rendered unit, claimed and recorded in batches, fenced by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kernel.db import Connection
from kernel.ids import new_id
from kernel.types import Json, Unit


class Lane(NamedTuple):
    """One conversation's sends, which leave one after the other."""

    workspace_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """A unit that this process may send now. `ambiguous` counts earlier sends of it whose outcome nobody knows.

    `target` is the receipt of the message that it replaces; `created_at` epoch seconds, not after its first send.
    """

    lane: Lane
    outbound_id: str
    token: str
    account_id: str
    message_id: str
    unit: Unit
    use_plain: bool
    attempts: int
    ambiguous: int
    address: Json
    target: Json | None
    created_at: float

    @property
    def attachment_id(self) -> str:
        """The file that this unit stands for; empty for words."""
        return str(self.unit.payload.get("attachment_id") or "")


@dataclass(frozen=True, slots=True)
class Disposition:
    """What came of a send. `delay` in seconds, for state "pending"."""

    state: str
    receipt: Json | None = None
    cause: str = ""
    delay: float = 0.0
    plain: bool = False
    ambiguous: bool = False


async def claim_many(conn: Connection, lanes: Sequence[Lane], lease: float) -> list[Outbound | None]:
    """The next due unit of each lane, now "sending"; None where nothing is due or one is under way."""
    token = new_id("tok")
    rows = await conn.fetch(
        "SELECT * FROM claim_outbound($1, $2, $3, $4)",
        [lane.workspace_id for lane in lanes],
        [lane.conversation_id for lane in lanes],
        token,
        lease,
    )
    claimed = {(row["workspace_id"], row["conversation_id"]): row for row in rows}
    return [_outbound(claimed.get((lane.workspace_id, lane.conversation_id)), lane, token) for lane in lanes]


def _outbound(row: Any, lane: Lane, token: str) -> Outbound | None:
    if row is None:
        return None
    return Outbound(
        lane=lane,
        outbound_id=row["outbound_id"],
        token=token,
        account_id=row["account_id"],
        message_id=row["message_id"],
        unit=Unit(row["unit"], row["plain"]),
        use_plain=row["use_plain"],
        attempts=row["attempts"],
        ambiguous=row["ambiguous"],
        address=row["address"],
        target=row["target"],
        created_at=row["created_at"].timestamp(),
    )


async def renew(conn: Connection, held: Sequence[Outbound], lease: float) -> None:
    """Heartbeat of sends under way."""
    await conn.execute(
        "SELECT renew_outbound($1, $2, $3)", [o.outbound_id for o in held], [o.token for o in held], lease
    )


async def record_many(conn: Connection, sends: Sequence[tuple[Outbound, Disposition]]) -> list[bool | None]:
    """Writes outcomes. True: the conversation has more to send. None: the send was not this holder's any more."""
    rows = await conn.fetch(
        "SELECT * FROM record_outbound($1, $2, $3, $4, $5, $6, $7, $8)",
        [o.outbound_id for o, _ in sends],
        [o.token for o, _ in sends],
        [d.state for _, d in sends],
        [d.receipt for _, d in sends],
        [d.cause for _, d in sends],
        [d.delay for _, d in sends],
        [d.plain for _, d in sends],
        [int(d.ambiguous) for _, d in sends],
    )
    more = {row["outbound_id"]: row["more"] for row in rows}
    return [more.get(o.outbound_id) for o, _ in sends]


async def reap(
    conn: Connection, idempotent_kinds: Sequence[str], findable_kinds: Sequence[str]
) -> list[tuple[Lane, str]]:
    """Settles sends whose holder is gone. Returns each lane with the state that its unit got."""
    rows = await conn.fetch("SELECT * FROM reap_outbound($1, $2)", list(idempotent_kinds), list(findable_kinds))
    return [(Lane(row["workspace_id"], row["conversation_id"]), row["state"]) for row in rows]


async def due(conn: Connection, *, age: float, most: int) -> list[Lane]:
    """Lanes whose next unit has been due for `age` seconds."""
    rows = await conn.fetch("SELECT * FROM due_outbound($1, $2)", age, most)
    return [Lane(row["workspace_id"], row["conversation_id"]) for row in rows]


async def tell(
    conn: Connection, lane: Lane, text: str, units: Sequence[Unit], *, role: str = "assistant"
) -> str | None:
    """Owes a conversation words that no turn asked for. Returns the message's id, None without such a conversation.

    Role "system" is not remembered as part of the conversation.
    """
    message_id: str | None = await conn.fetchval(
        "SELECT tell($1, $2, $3, $4, $5)",
        lane.workspace_id,
        lane.conversation_id,
        role,
        text,
        [{"payload": unit.payload, "plain": unit.plain} for unit in units],
    )
    return message_id


async def resend(conn: Connection, outbound_id: str) -> Lane | None:
    """An operator's decision on an unknown or failed send: try it again. None when there is no such unit."""
    row = await conn.fetchrow(
        """
        UPDATE outbound_messages SET state = 'pending', due_at = now(), cause = ''
        WHERE outbound_id = $1 AND state IN ('unknown', 'failed') RETURNING workspace_id, conversation_id
        """,
        outbound_id,
    )
    return Lane(row["workspace_id"], row["conversation_id"]) if row else None
