"""Where a person can be told something, and where an account talks one to one."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.ids import new_id
from kernel.types import Json


@dataclass(frozen=True, slots=True)
class Reach:
    """A place where a user may be told something. `closed` says why not, '' when nothing stands in the way."""

    conversation_id: str
    account_id: str
    channel: str
    address: Json
    closed: str


async def reach(
    conn: Connection, *, user_id: str | None, conversation_id: str | None, channel: str | None, account_id: str | None
) -> list[Reach]:
    """A user's private places, the one spoken in last first, or one conversation. Raises NotFound for no such user.

    A user goes by their id, or by the name under which a REST caller or a web page knows them.
    """
    people = [user_id]
    if user_id is not None:
        rows = await conn.fetch(
            """
            SELECT user_id FROM users WHERE user_id = $1
            UNION SELECT i.user_id FROM identities i JOIN channel_accounts a USING (workspace_id, account_id)
            WHERE i.external_id = $1 AND a.kind = 'rest'
            """,
            user_id,
        )
        people = [row["user_id"] for row in rows]
        if not people:
            raise NotFound("there is no such user")
    rows = await conn.fetch(
        """
        SELECT c.conversation_id, c.account_id, a.kind, c.address, c.blocked_at, a.status
        FROM conversations c JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE c.workspace_id = current_workspace()
            AND CASE WHEN $2::text IS NULL THEN c.private AND c.user_id = ANY ($1::text[])
                     ELSE c.conversation_id = $2 END
            AND ($3::text IS NULL OR a.kind = $3) AND ($4::text IS NULL OR c.account_id = $4)
        ORDER BY c.last_message_at DESC LIMIT 20
        """,
        people,
        conversation_id,
        channel,
        account_id,
    )
    return [Reach(row["conversation_id"], row["account_id"], row["kind"], row["address"], _closed(row)) for row in rows]


async def reach_room(conn: Connection, account_id: str, key: str, address: Json, *, private: bool) -> list[Reach]:
    """A place that an account was told of, whose conversation is made when there is none yet.

    Nothing when the workspace has no such account.
    """
    await conn.execute(
        """
        INSERT INTO conversations (workspace_id, conversation_id, account_id, conversation_key, address, private)
        SELECT workspace_id, $1, account_id, $3, $4, $5 FROM channel_accounts WHERE account_id = $2
        ON CONFLICT DO NOTHING
        """,
        new_id("conv"),
        account_id,
        key,
        address,
        private,
    )
    rows = await conn.fetch(
        """
        SELECT c.conversation_id, c.account_id, a.kind, c.address, c.blocked_at, a.status
        FROM conversations c JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE c.workspace_id = current_workspace() AND c.account_id = $1 AND c.conversation_key = $2
        """,
        account_id,
        key,
    )
    return [Reach(row["conversation_id"], row["account_id"], row["kind"], row["address"], _closed(row)) for row in rows]


def _closed(row: asyncpg.Record) -> str:
    if row["status"] == "disconnected":
        return "the bot through which this user was reached is disconnected"
    if row["blocked_at"] is not None:
        return f"the user, or the group, has put the bot out of this {row['kind']} chat"
    return ""


async def private_places(conn: Connection, account_id: str, most: int) -> list[Json]:
    """Addresses of an account's one-to-one conversations, in whatever workspace, the ones spoken in last first."""
    rows = await conn.fetch("SELECT * FROM private_places($1, $2) AS address", account_id, most)
    return [row["address"] for row in rows]
