"""The door to conversations, messages and sessions for those who read them, and to a conversation that REST begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kernel.db import Connection
from kernel.errors import InvalidRequest, NotFound
from kernel.ids import new_id
from kernel.types import Json
from pipeline.turns import Place

_CONVERSATION = """
    c.conversation_id, c.account_id, a.kind AS channel, c.user_id, c.private, c.blocked_at, c.created_at,
    c.last_message_at
"""
_MESSAGE = """seq, message_id, session_id, turn_id, user_id, role, text, citations,
    message_files(workspace_id, message_id) AS files, edited_at, created_at"""
_SESSION = "session_id, conversation_id, user_id, outcome, started_at, last_turn_at, closed_at"


@dataclass(frozen=True, slots=True)
class Spot:
    """A conversation and where it takes place."""

    conversation_id: str
    place: Place
    channel: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an update has come. `turn_status` is '' before a turn has it; the answer is None until there is one."""

    turn_id: str | None
    update_status: str
    turn_status: str
    answer: Json | None

    @property
    def finished(self) -> bool:
        return self.turn_status in ("done", "dead") or self.update_status in ("dead", "ignored")


async def ensure(conn: Connection, workspace_id: str, place: Place, address: Json) -> str:
    """The id of the conversation at this place, made if it is new."""
    where = (workspace_id, place.account_id, place.conversation_key)
    find = """
        SELECT conversation_id FROM conversations
        WHERE workspace_id = $1 AND account_id = $2 AND conversation_key = $3
        """
    found: str | None = await conn.fetchval(find, *where)
    if found is None:
        await conn.execute(
            """
            INSERT INTO conversations (workspace_id, account_id, conversation_key, conversation_id, address)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workspace_id, account_id, conversation_key) DO NOTHING
            """,
            *where,
            new_id("conv"),
            address,
        )
        found = await conn.fetchval(find, *where)
    assert found is not None
    return found


async def spot(conn: Connection, conversation_id: str) -> Spot:
    """Raises NotFound."""
    row = await conn.fetchrow(
        """
        SELECT c.account_id, c.conversation_key, a.kind
        FROM conversations c JOIN channel_accounts a USING (workspace_id, account_id) WHERE c.conversation_id = $1
        """,
        conversation_id,
    )
    if row is None:
        raise NotFound("there is no such conversation")
    return Spot(conversation_id, Place(row["account_id"], row["conversation_key"]), row["kind"])


async def list_conversations(
    conn: Connection, *, user_id: str, account_id: str, cursor: str, limit: int
) -> tuple[list[Json], str | None]:
    """Conversations, the one spoken in last first, and the cursor of the next page. Raises InvalidRequest."""
    before, last = _position(cursor)
    rows = await conn.fetch(
        f"""
        SELECT {_CONVERSATION} FROM conversations c JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE c.workspace_id = current_workspace() AND ($1 = '' OR c.user_id = $1) AND ($2 = '' OR c.account_id = $2)
            AND ($3::timestamptz IS NULL OR (c.last_message_at, c.conversation_id) < ($3, $4))
        ORDER BY c.last_message_at DESC, c.conversation_id DESC LIMIT $5 + 1
        """,  # noqa: S608
        user_id,
        account_id,
        before,
        last,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, _cursor(found[-1]) if len(rows) > limit else None


def _cursor(row: Json) -> str:
    at: datetime = row["last_message_at"]
    return base64.urlsafe_b64encode(f"{at.isoformat()} {row['conversation_id']}".encode()).decode()


def _position(cursor: str) -> tuple[datetime | None, str]:
    if not cursor:
        return None, ""
    try:
        at, last = base64.urlsafe_b64decode(cursor).decode().split(" ")
        before = datetime.fromisoformat(at)
        if before.tzinfo is None or "\0" in last:
            raise ValueError
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    return before, last


def _bad_cursor() -> InvalidRequest:
    message = "this is no cursor of this list"
    return InvalidRequest(message, details=[{"field": "cursor", "message": message}])


def seq_of(cursor: str) -> int | None:
    """A cursor that is a sequence number; None when it is empty. Raises InvalidRequest."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) >= 1 << 63:
        raise _bad_cursor()
    return int(cursor)


async def get_conversation(conn: Connection, conversation_id: str) -> Json:
    """Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_CONVERSATION} FROM conversations c JOIN channel_accounts a USING (workspace_id, account_id) "  # noqa: S608
        "WHERE c.conversation_id = $1",
        conversation_id,
    )
    if row is None:
        raise NotFound("there is no such conversation")
    return dict(row)


async def list_messages(
    conn: Connection, conversation_id: str, *, cursor: str, limit: int
) -> tuple[list[Json], str | None]:
    """What was said, oldest first, and the cursor of the next page. Raises NotFound and InvalidRequest."""
    await spot(conn, conversation_id)
    rows = await conn.fetch(
        f"""
        SELECT {_MESSAGE} FROM messages
        WHERE workspace_id = current_workspace() AND conversation_id = $1 AND seq > $2 ORDER BY seq LIMIT $3 + 1
        """,  # noqa: S608
        conversation_id,
        seq_of(cursor) or 0,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, str(found[-1]["seq"]) if len(rows) > limit else None


async def last_seq(conn: Connection, conversation_id: str) -> int:
    """The sequence number of the conversation's newest message, 0 before the first."""
    seq: int = await conn.fetchval(
        """
        SELECT coalesce(max(seq), 0) FROM messages
        WHERE workspace_id = current_workspace() AND conversation_id = $1
        """,
        conversation_id,
    )
    return seq


async def list_sessions(
    conn: Connection, *, conversation_id: str, is_open: bool | None, cursor: str, limit: int
) -> tuple[list[Json], str | None]:
    """Sessions, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SESSION} FROM sessions
        WHERE workspace_id = current_workspace() AND ($1 = '' OR conversation_id = $1)
            AND ($2::boolean IS NULL OR (closed_at IS NULL) = $2) AND ($3 = '' OR session_id < $3)
        ORDER BY session_id DESC LIMIT $4 + 1
        """,  # noqa: S608
        conversation_id,
        is_open,
        cursor,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, found[-1]["session_id"] if len(rows) > limit else None


async def get_session(conn: Connection, session_id: str) -> Json:
    """A session with its snapshot. Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_SESSION}, snapshot FROM sessions WHERE session_id = $1",  # noqa: S608
        session_id,
    )
    if row is None:
        raise NotFound("there is no such session")
    return dict(row)


async def update_named(conn: Connection, account_id: str, external_id: str) -> str | None:
    """The id under which an update was accepted earlier."""
    update_id: str | None = await conn.fetchval(
        """
        SELECT update_id FROM inbound_updates
        WHERE workspace_id = current_workspace() AND account_id = $1 AND external_id = $2
        """,
        account_id,
        external_id,
    )
    return update_id


async def progress(conn: Connection, update_id: str) -> Progress:
    """How far an accepted update has come."""
    row = await conn.fetchrow(
        """
        SELECT u.status, u.turn_id, coalesce(t.status, '') AS turn_status,
            m.message_id, m.text, m.citations, m.retrieval
        FROM inbound_updates u
        LEFT JOIN turns t ON t.workspace_id = u.workspace_id AND t.turn_id = u.turn_id
        LEFT JOIN messages m ON m.workspace_id = u.workspace_id AND m.turn_id = u.turn_id AND m.role = 'assistant'
        WHERE u.workspace_id = current_workspace() AND u.update_id = $1
        """,
        update_id,
    )
    assert row is not None
    answer = {name: row[name] for name in ("message_id", "text", "citations", "retrieval")}
    return Progress(row["turn_id"], row["status"], row["turn_status"], answer if row["message_id"] else None)


async def list_outbound(conn: Connection, state: str, *, cursor: str, limit: int) -> tuple[list[Json], str | None]:
    """Sends in one state, newest first, and the cursor of the next page. Raises InvalidRequest."""
    rows = await conn.fetch(
        """
        SELECT outbound_id, account_id, conversation_id, message_id, seq, state, attempts, ambiguous, cause,
            plain AS text, created_at, due_at, sent_at
        FROM outbound_messages
        WHERE workspace_id = current_workspace() AND state = $1 AND ($2::bigint IS NULL OR seq < $2)
        ORDER BY seq DESC LIMIT $3 + 1
        """,
        state,
        seq_of(cursor),
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, str(found[-1]["seq"]) if len(rows) > limit else None


@dataclass(slots=True)
class Reading:
    """A reader of one conversation's messages, who has seen all up to `seen`."""

    workspace_id: str
    conversation_id: str
    seen: int


async def with_news(conn: Connection, readings: Sequence[Reading]) -> list[int]:
    """Which of the readers, over all workspaces, have something new to read: their indexes."""
    rows = await conn.fetch("SELECT * FROM streams_with_news($1, $2, $3) AS n", *_arrays(readings))
    return [row["n"] - 1 for row in rows]


async def unseen(conn: Connection, readings: Sequence[Reading], most: int) -> list[list[Json]]:
    """For each reader the messages after `seen`, at most `most`, in order."""
    found: list[list[Json]] = [[] for _ in readings]
    for row in await conn.fetch("SELECT * FROM stream_messages($1, $2, $3, $4)", *_arrays(readings), most):
        found[row["n"] - 1].append(dict(row))
    return found


def _arrays(readings: Sequence[Reading]) -> tuple[list[str], list[str], list[int]]:
    return (
        [reading.workspace_id for reading in readings],
        [reading.conversation_id for reading in readings],
        [reading.seen for reading in readings],
    )
