"""The door to attachments: files that people sent in a conversation, and files that they were sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kernel.db import Connection
from kernel.types import Json, OutgoingFile
from pipeline.files.reading import Read
from pipeline.turns import Place, Turn

_PUBLIC = """attachment_id, conversation_id, message_id, turn_id, direction, name, caption, mime, size, status, cause,
    created_at"""


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
                                 size, digest, content, text, status, cause, message_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING
        """,
        turn.workspace_id,
        attachment_id,
        turn.conversation_id,
        turn.session_id,
        turn.turn_id,
        name,
        read.mime,
        len(data),
        _digest(data),
        kept,
        read.text,
        read.status,
        read.cause,
        "msg" + attachment_id[3:].rpartition("_")[0],  # after which it is named
    )


async def store_outgoing(
    conn: Connection, conversation_id: str, message_id: str, files: Mapping[str, OutgoingFile]
) -> None:
    """Keeps the files of a message of ours, by their ids."""
    await conn.executemany(
        """
        INSERT INTO attachments (workspace_id, attachment_id, conversation_id, message_id, direction, name, caption,
                                 mime, size, digest, content, status)
        VALUES (current_workspace(), $1, $2, $3, 'out', $4, $5, $6, $7, $8, $9, 'kept')
        """,
        [
            (
                *(attachment_id, conversation_id, message_id, file.name, file.caption, file.mime),
                *(len(file.data), _digest(file.data), file.data),
            )
            for attachment_id, file in files.items()
        ],
    )


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


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


async def content(conn: Connection, attachment_id: str, at: Place | None = None) -> tuple[str, str, bytes] | None:
    """Name, mime type and bytes; None when there is no such file (`at` this place), or it was not kept."""
    row = await conn.fetchrow(
        """
        SELECT name, mime, content FROM attachments
        WHERE workspace_id = current_workspace() AND attachment_id = $1
            AND ($2::text IS NULL OR conversation_id = (
                SELECT c.conversation_id FROM conversations c
                WHERE c.workspace_id = current_workspace() AND c.account_id = $2 AND c.conversation_key = $3))
        """,
        attachment_id,
        *(at or (None, None)),
    )
    return (row["name"], row["mime"], row["content"]) if row and row["content"] is not None else None
