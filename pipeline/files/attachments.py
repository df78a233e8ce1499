"""The door to attachments: what people sent in a conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.db import Connection
from kernel.types import Json
from pipeline.files.reading import Read
from pipeline.turns import Turn

_PUBLIC = "attachment_id, conversation_id, turn_id, name, mime, size, status, cause, created_at"


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one file of a session."""

    attachment_id: str
    name: str
    text: str


async def known(conn: Connection, ids: Sequence[str]) -> dict[str, Json]:
    """Those that are here already (a turn may be begun anew), by id: name, status, cause."""
    rows = await conn.fetch(
        "SELECT attachment_id, name, status, cause FROM attachments WHERE attachment_id = ANY ($1::text[])", list(ids)
    )
    return {row["attachment_id"]: dict(row) for row in rows}


async def store(conn: Connection, turn: Turn, attachment_id: str, name: str, data: bytes, read: Read) -> None:
    """Keeps a file once. The bytes of one that is refused are not kept."""
    kept = None if read.status == "refused" else data
    await conn.execute(
        """
        INSERT INTO attachments (workspace_id, attachment_id, conversation_id, session_id, turn_id, name, mime,
                                 size, digest, content, text, status, cause)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING
        """,
        turn.workspace_id,
        attachment_id,
        turn.conversation_id,
        turn.session_id,
        turn.turn_id,
        name,
        read.mime,
        len(data),
        hashlib.blake2b(data, digest_size=32).digest(),
        kept,
        read.text,
        read.status,
        read.cause,
    )


async def texts(conn: Connection, session_id: str, most: int) -> list[Text]:
    """The texts of a session's files, the newest first."""
    rows = await conn.fetch(
        """
        SELECT attachment_id, name, text FROM attachments
        WHERE workspace_id = current_workspace() AND session_id = $1 AND status = 'read'
        ORDER BY created_at DESC, attachment_id DESC LIMIT $2
        """,
        session_id,
        most,
    )
    return [Text(**row) for row in rows]


async def list_attachments(
    conn: Connection, conversation_id: str, *, cursor: str, limit: int
) -> tuple[list[Json], str | None]:
    """A conversation's files, oldest first, without their bytes, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_PUBLIC} FROM attachments
        WHERE workspace_id = current_workspace() AND conversation_id = $1 AND attachment_id > $2
        ORDER BY attachment_id LIMIT $3 + 1
        """,  # noqa: S608
        conversation_id,
        cursor,
        limit,
    )
    found = [dict(row) for row in rows[:limit]]
    return found, found[-1]["attachment_id"] if len(rows) > limit else None


async def content(conn: Connection, attachment_id: str) -> tuple[str, str, bytes] | None:
    """Name, mime type and bytes; None when there is no such file, or it was not kept."""
    row = await conn.fetchrow("SELECT name, mime, content FROM attachments WHERE attachment_id = $1", attachment_id)
    return (row["name"], row["mime"], row["content"]) if row and row["content"] is not None else None
