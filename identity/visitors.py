"""A visitor of a page who was a guest and is known now: what they said as a guest becomes theirs."""

from __future__ import annotations

from kernel.db import Connection


async def adopt(conn: Connection, workspace_id: str, account_id: str, guest: str, known: str) -> bool:
    """Gives the guest's identity and conversation to `known`, both external ids of one account and keys of their
    conversations. False, and nothing is done, when either has nothing to give or already somebody to be.

    Someone who is known already keeps what is theirs: two conversations are never merged here.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"visitor:{workspace_id}:{account_id}:{known}"
    )
    moved = await conn.fetchval(
        """
        UPDATE conversations c SET conversation_key = $3, address = c.address || jsonb_build_object('visitor', $3::text)
        WHERE c.workspace_id = current_workspace() AND c.account_id = $1 AND c.conversation_key = $2
            AND NOT EXISTS (SELECT FROM conversations o
                            WHERE o.workspace_id = c.workspace_id AND o.account_id = $1 AND o.conversation_key = $3)
            AND NOT EXISTS (SELECT FROM identities i
                            WHERE i.workspace_id = c.workspace_id AND i.account_id = $1 AND i.external_id = $3)
        RETURNING c.conversation_id
        """,
        account_id,
        guest,
        known,
    )
    if moved is None:
        return False
    await conn.execute(
        "UPDATE identities SET external_id = $3 "
        "WHERE workspace_id = current_workspace() AND account_id = $1 AND external_id = $2",
        account_id,
        guest,
        known,
    )
    await conn.execute(
        """
        UPDATE inbound_updates SET conversation_key = $3,
            message = jsonb_set(message, '{sender,external_id}', to_jsonb($3::text))
                || jsonb_build_object('conversation_key', $3::text)
        WHERE workspace_id = current_workspace() AND account_id = $1 AND conversation_key = $2 AND status = 'pending'
        """,
        account_id,
        guest,
        known,
    )
    return True
