"""The door to turns and inbound updates. Every function is one statement over a batch; the database fences by token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kernel.db import Connection
from kernel.ids import new_id
from kernel.types import InboundMessage, Json, Unit
from pipeline.outbox import Lane, Outbound


class Place(NamedTuple):
    """A conversation as the platform names it: the unit of ordering."""

    account_id: str
    conversation_key: str


class Accepted(NamedTuple):
    """`update_id` is None when this update had been accepted before."""

    update_id: str | None


class Arrival(NamedTuple):
    """An update on its way into the inbox."""

    account_id: str
    payload: bytes
    message: InboundMessage


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as its holder works on it. `history` is earlier messages of the session, oldest first.

    `preview` is the receipt of the message on which the answer is shown while it is made; `begun_at` epoch seconds;
    `files`: people have sent files in this session that hold text.
    """

    workspace_id: str
    turn_id: str
    token: str
    attempt: int
    account_id: str
    conversation_id: str
    conversation_key: str
    session_id: str
    user_id: str
    address: Json
    private: bool
    exhausted: bool
    preview: Json | None
    begun_at: float
    files: bool
    updates: Sequence[InboundMessage]
    message_ids: Sequence[str]
    history: Sequence[Json]

    @property
    def place(self) -> Place:
        return Place(self.account_id, self.conversation_key)

    @property
    def record_key(self) -> str:
        """Under which steps are recorded: what was done before more was said does not count any more."""
        return f"{self.turn_id}:{len(self.updates)}"


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody holds the conversation and will look again before letting go."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a turn came to. `answer` None means that nothing is said. `units` are rendered platform messages.

    `preview` is the receipt of the message that the first unit replaces.
    """

    status: str = "done"
    failure: str = ""
    answer: Json | None = None
    units: Sequence[Unit] = ()
    snapshot: Json | None = None
    metrics: Json = field(default_factory=dict)
    end_session: bool = False
    blocked: bool = False
    edits: Sequence[Json] = ()
    preview: Json | None = None

    def to_json(self) -> Json:
        body: Json = {
            "status": self.status,
            "failure": self.failure,
            "answer": self.answer,
            "units": [{"payload": unit.payload, "plain": unit.plain} for unit in self.units],
            "metrics": self.metrics,
            "end_session": self.end_session,
            "blocked": self.blocked,
            "edits": list(self.edits),
        }
        if self.preview is not None:
            body["preview"] = self.preview
        return body if self.snapshot is None else {**body, "snapshot": self.snapshot}


@dataclass(frozen=True, slots=True)
class Finished:
    """`message_id` is the reply's, None when nothing was said; `more` tells that further updates wait.

    `first` is the reply's first unit, claimed for sending by this process; None when others must go before.
    """

    message_id: str | None
    more: bool
    first: Outbound | None


async def accept_many(conn: Connection, arrivals: Sequence[Arrival]) -> list[Accepted]:
    """Stores updates once each, all or nothing, in the order given."""
    ids = _ids(len(arrivals))
    # One JSON array for the batch: encoding each message by itself costs asyncpg 1 µs more.
    new: Collection[str] = await conn.fetchval(
        """
        SELECT array(SELECT accept_updates($1, $2, array(
            SELECT message FROM jsonb_array_elements($3) WITH ORDINALITY AS u (message, n) ORDER BY n), $4))
        """,
        ids,
        [a.account_id for a in arrivals],
        [a.message for a in arrivals],
        [a.payload for a in arrivals],
    )
    if len(new) == len(ids):
        return [Accepted(update_id) for update_id in ids]
    new = frozenset(new)
    return [Accepted(update_id if update_id in new else None) for update_id in ids]


def _ids(count: int) -> list[str]:
    """Ids for one batch, in order: its last four digits count."""
    stem = new_id("upd")[:-4]
    return [f"{stem}{n:04x}" for n in range(count)]


async def set_aside(conn: Connection, account_id: str, external_id: str, payload: bytes, cause: str) -> Accepted:
    """Keeps an update that nobody can work on, for a person to look at."""
    update_id = await conn.fetchval("SELECT set_aside($1, $2, $3, $4)", account_id, external_id, payload, cause)
    return Accepted(update_id)


async def open_many(
    conn: Connection, places: Sequence[Place], *, lease: float, tries: int, memory: int
) -> list[Turn | Busy | None]:
    """Opens, or takes over, the running turn of each conversation. None: nothing waits there.

    `lease` in seconds; after `tries` attempts a turn comes back `exhausted`, to be finished with an apology.
    """
    order = sorted(range(len(places)), key=lambda n: (places[n].account_id, places[n].conversation_key))
    rows = await conn.fetch(
        "SELECT * FROM open_turns($1, $2, $3, $4, $5, $6) AS turn",
        [places[n].account_id for n in order],
        [places[n].conversation_key for n in order],
        [new_id("tok") for _ in order],
        lease,
        tries,
        memory,
    )
    opened: list[Turn | Busy | None] = [None] * len(places)
    for n, row in zip(order, rows, strict=True):
        opened[n] = _turn(row["turn"])
    return opened


def _turn(data: Any) -> Turn | Busy | None:
    if data is None:
        return None
    if "busy" in data:
        return Busy()
    return Turn(**{**data, "updates": [InboundMessage.from_json(update) for update in data["updates"]]})


async def finish_many(
    conn: Connection, finishing: Sequence[tuple[Turn, Result]], lease: float
) -> list[Finished | None]:
    """Writes results and replies, fenced: None where the turn was not this holder's any more.

    First units are claimed for `lease` seconds.
    """
    order = sorted(range(len(finishing)), key=lambda n: finishing[n][0].turn_id)
    token = new_id("tok")
    rows = await conn.fetch(
        "SELECT * FROM finish_turns($1, $2, $3, $4, $5) AS finished",
        [finishing[n][0].turn_id for n in order],
        [finishing[n][0].token for n in order],
        [finishing[n][1].to_json() for n in order],
        token,
        lease,
    )
    done: list[Finished | None] = [None] * len(finishing)
    for n, row in zip(order, rows, strict=True):
        done[n] = _finished(*finishing[n], row["finished"], token)
    return done


def _finished(turn: Turn, result: Result, data: Any, token: str) -> Finished | None:
    if data is None:
        return None
    first = data["claimed"] and Outbound(
        lane=Lane(turn.workspace_id, turn.conversation_id),
        outbound_id=data["claimed"],
        token=token,
        account_id=turn.account_id,
        message_id=data["message_id"],
        unit=result.units[0],
        use_plain=False,
        attempts=1,
        ambiguous=0,
        address=turn.address,
        target=result.preview,
        created_at=turn.begun_at,
    )
    return Finished(data["message_id"], data["more"], first)


async def absorb(conn: Connection, turn: Turn, memory: int) -> Turn | None:
    """The same turn with what its person has written since; None when there is nothing, or the turn is not ours."""
    absorbed = _turn(await conn.fetchval("SELECT absorb_updates($1, $2, $3)", turn.turn_id, turn.token, memory))
    return absorbed if isinstance(absorbed, Turn) else None


async def note_preview(conn: Connection, turn: Turn, receipt: Json) -> bool:
    """Stores the preview's receipt; False when the turn is somebody else's by now."""
    held: bool = await conn.fetchval("SELECT note_preview($1, $2, $3)", turn.turn_id, turn.token, receipt)
    return held


async def waiting_address(conn: Connection, place: Place) -> Json | None:
    """Where the oldest message that waits in a conversation would be answered; None when none waits."""
    address: Json | None = await conn.fetchval(
        "SELECT waiting_address($1, $2)", place.account_id, place.conversation_key
    )
    return address


async def place_of_sent(conn: Connection, account_id: str, chat: str, message_ref: str) -> str | None:
    """The key of the conversation, in this chat, in which we sent this message of the platform's."""
    key: str | None = await conn.fetchval("SELECT place_of_sent($1, $2, $3)", account_id, chat, message_ref)
    return key


async def has_joined(conn: Connection, place: Place) -> bool:
    """Whether the bot takes part in this conversation already."""
    joined: bool = await conn.fetchval("SELECT has_joined($1, $2)", place.account_id, place.conversation_key)
    return joined


async def renew(conn: Connection, held: Sequence[Turn], lease: float) -> set[str]:
    """Heartbeat. Returns the ids of those turns that are still held."""
    rows = await conn.fetch(
        "SELECT * FROM renew_turns($1, $2, $3) AS turn_id", [t.turn_id for t in held], [t.token for t in held], lease
    )
    return {row["turn_id"] for row in rows}


async def let_go(conn: Connection, held: Sequence[Turn], *, after: float, refund: bool) -> None:
    """Ends the lease in `after` seconds. With `refund` the attempt does not count."""
    await conn.execute(
        "SELECT yield_turns($1, $2, $3, $4)",
        [t.turn_id for t in held],
        [t.token for t in held],
        [after for _ in held],
        refund,
    )


async def forgotten(conn: Connection, *, age: float, most: int) -> list[Place]:
    """Conversations with updates older than `age` seconds, or with a turn whose lease has ended."""
    rows = await conn.fetch("SELECT * FROM forgotten_conversations($1, $2)", age, most)
    return [Place(row["account_id"], row["conversation_key"]) for row in rows]


async def queue_depths(conn: Connection, most: int) -> list[Json]:
    """What waits over all workspaces: queue, depth (counted up to `most`) and age of the oldest in seconds."""
    return [dict(row) for row in await conn.fetch("SELECT * FROM queue_depths($1)", most)]


async def rekey(conn: Connection, account_id: str, old_chat: str, new_chat: str) -> int:
    """Moves a chat's conversations to its new id. Returns how many moved."""
    moved: int = await conn.fetchval("SELECT rekey_conversations($1, $2, $3)", account_id, old_chat, new_chat)
    return moved


async def list_updates(conn: Connection, status: str, limit: int, before: int | None) -> list[Json]:
    """Updates of this workspace in one status, newest first. `before` is a seq."""
    rows = await conn.fetch(
        """
        SELECT update_id, seq, account_id, external_id, conversation_key, kind, status, cause, received_at
        FROM inbound_updates WHERE status = $1 AND ($3::bigint IS NULL OR seq < $3) ORDER BY seq DESC LIMIT $2
        """,
        status,
        limit,
        before,
    )
    return [dict(row) for row in rows]


async def dead_update(conn: Connection, update_id: str) -> Json | None:
    """The raw payload of an update that was set aside, to be parsed again."""
    row = await conn.fetchrow(
        "SELECT update_id, account_id, payload, message FROM inbound_updates "
        "WHERE update_id = $1 AND status = 'dead' FOR UPDATE",
        update_id,
    )
    return dict(row) if row else None


async def revive(conn: Connection, update_id: str, message: InboundMessage) -> None:
    """Puts an update that was set aside back into the inbox."""
    await conn.execute(
        """
        UPDATE inbound_updates
        SET status = 'pending', turn_id = NULL, cause = '', message = $2, kind = $3, conversation_key = $4
        WHERE update_id = $1 AND status = 'dead'
        """,
        update_id,
        message.to_json(),
        message.kind,
        message.conversation_key,
    )
