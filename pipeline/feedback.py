"""The door to feedback: what people think of answers, one opinion of each person on each answer."""

from __future__ import annotations

from typing import Literal

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.events import publish
from kernel.ids import new_id
from kernel.types import InboundMessage, Json
from pipeline.turns import Turn

Rating = Literal["up", "down", "none"]
SAID = {"up": "Thanks!", "down": "Noted, thank you.", "none": "Taken back."}

_SCORES = {"up": 1, "down": -1, "none": 0}
_REACH = 500  # a reaction to an older answer of the conversation is not looked for
_SEES = """
    f.feedback_id, f.message_id, m.conversation_id, m.session_id, m.turn_id, f.user_id, c.account_id, f.rating,
    f.comment, f.source, f.created_at, f.updated_at
"""
_FROM = """
    feedback f JOIN messages m USING (workspace_id, message_id)
    JOIN conversations c USING (workspace_id, conversation_id)
"""


async def record(conn: Connection, turn: Turn, update: InboundMessage) -> str:
    """Stores what an update of kind "feedback" says, in a transaction of the turn's workspace. May be repeated.

    A button names the turn that it praises or blames, a reaction the platform's message; both count for answers in
    the turn's own conversation only. The update's text is a comment, where a form asked for one. Returns what to say
    in return, '' when it is about no answer of ours.
    """
    if update.detail not in SAID:
        return ""
    message = (
        await _answer_of_turn(conn, turn, update.about) if update.about else await _answer_shown(conn, turn, update)
    )
    if message is None:
        return ""
    user_id = await conn.fetchval(
        "SELECT user_id FROM identities WHERE account_id = $1 AND external_id = $2",
        turn.account_id,
        update.sender.external_id,
    )
    source = "button" if update.about else "reaction"
    await _rate(conn, message, user_id or turn.user_id, update.detail, update.text or None, source)
    return SAID[update.detail]


async def _answer_of_turn(conn: Connection, turn: Turn, about: str) -> Json | None:
    row = await conn.fetchrow(
        """
        SELECT m.message_id, m.conversation_id, m.session_id, m.turn_id FROM messages m
        WHERE m.workspace_id = current_workspace() AND m.turn_id = $1 AND m.conversation_id = $2
            AND m.role = 'assistant' AND $1 <> '' LIMIT 1
        """,
        about,
        turn.conversation_id,
    )
    return dict(row) if row else None


async def _answer_shown(conn: Connection, turn: Turn, update: InboundMessage) -> Json | None:
    """The answer of which this platform message is a part. Receipts have no index: they are written with every send,
    and reactions are rare."""
    row = await conn.fetchrow(
        """
        SELECT m.message_id, m.conversation_id, m.session_id, m.turn_id
        FROM (SELECT * FROM messages
              WHERE workspace_id = current_workspace() AND conversation_id = $1 AND role = 'assistant' AND turn_id <> ''
              ORDER BY seq DESC LIMIT $3) m
        CROSS JOIN LATERAL (
            SELECT FROM outbound_messages o
            WHERE o.workspace_id = m.workspace_id AND o.message_id = m.message_id
                AND $2 IN (o.receipt ->> 'message_id', o.receipt ->> 'ts') LIMIT 1) o
        LIMIT 1
        """,
        turn.conversation_id,
        update.message_ref,
        _REACH,
    )
    return dict(row) if row and update.message_ref else None


async def rate(
    conn: Connection, message_id: str, *, user_id: str | None, rating: Rating, comment: str | None
) -> Json | None:
    """A caller's word on an answer, by default in the name of the person whom it was given to.

    `comment` None leaves an earlier one. Returns the feedback, None when it is taken back. Raises NotFound.
    """
    row = await conn.fetchrow(
        """
        SELECT m.message_id, m.conversation_id, m.session_id, m.turn_id, m.user_id FROM messages m
        WHERE m.workspace_id = current_workspace() AND m.message_id = $1 AND m.role = 'assistant'
        """,
        message_id,
    )
    if row is None:
        raise NotFound("there is no such answer")
    message = dict(row)
    wanted = user_id or message.pop("user_id")
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM users WHERE user_id = $1)", wanted):
        raise NotFound("there is no such user")
    await _rate(conn, message, wanted, rating, comment, "api")
    found = await conn.fetchrow(
        f"SELECT {_SEES} FROM {_FROM} WHERE f.message_id = $1 AND f.user_id = $2",  # noqa: S608
        message_id,
        wanted,
    )
    return dict(found) if found else None


async def _rate(conn: Connection, message: Json, user_id: str, rating: str, comment: str | None, source: str) -> None:
    """Stores an opinion, and tells of it when it is not what was known."""
    message_id = message["message_id"]
    if rating == "none":
        changed = await conn.fetchrow(
            "DELETE FROM feedback WHERE message_id = $1 AND user_id = $2 RETURNING feedback_id, '' AS comment",
            message_id,
            user_id,
        )
    else:
        changed = await conn.fetchrow(
            """
            INSERT INTO feedback AS f (workspace_id, feedback_id, message_id, user_id, rating, comment, source)
            VALUES (current_workspace(), $1, $2, $3, $4, coalesce($5, ''), $6)
            ON CONFLICT (workspace_id, message_id, user_id) DO UPDATE
            SET rating = excluded.rating, comment = coalesce($5, f.comment), source = excluded.source,
                updated_at = now()
            WHERE (f.rating, f.comment) IS DISTINCT FROM (excluded.rating, coalesce($5, f.comment))
            RETURNING f.feedback_id, f.comment
            """,
            new_id("fbk"),
            message_id,
            user_id,
            rating,
            comment,
            source,
        )
    if changed is None:
        return
    workspace_id = await conn.fetchval("SELECT current_workspace()")
    about = {name: message[name] or None for name in ("message_id", "conversation_id", "session_id", "turn_id")}
    await publish(
        conn,
        workspace_id,
        "chat.feedback.received",
        {**about, "user_id": user_id, "rating": _SCORES[rating], "comment": changed["comment"], "source": source},
    )


async def listed(
    conn: Connection,
    *,
    rating: str,
    user_id: str,
    message_id: str,
    conversation_id: str,
    account_id: str,
    cursor: str,
    limit: int,
) -> tuple[list[Json], str | None]:
    """Feedback that agrees with every filter that is not '', newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SEES} FROM {_FROM}
        WHERE ($1 = '' OR f.rating = $1) AND ($2 = '' OR f.user_id = $2) AND ($3 = '' OR f.message_id = $3)
            AND ($4 = '' OR m.conversation_id = $4) AND ($5 = '' OR c.account_id = $5)
            AND ($6 = '' OR f.feedback_id < $6)
        ORDER BY f.feedback_id DESC LIMIT $7 + 1
        """,  # noqa: S608
        rating,
        user_id,
        message_id,
        conversation_id,
        account_id,
        cursor,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, found[-1]["feedback_id"] if len(rows) > limit else None
