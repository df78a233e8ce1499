"""Workspaces with endpoints, and events for them, of the size that the bench sends."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from kernel.db import Database
from kernel.ids import new_id
from kernel.secrets import KeyRing
from webhooks import endpoints

EVENT = "chat.response.generated"
LOOPBACK = (ip_network("127.0.0.0/8"),)
_AT_ONCE = 250
DATA = {
    "conversation_id": "conv_1", "session_id": "ses_1", "user_id": "usr_1", "message_id": "msg_1", "citations": [],
    "fallback_used": False, "text": "x" * 700,
}  # fmt: skip


async def workspace(database: Database, keyring: KeyRing, urls: Sequence[str], event: str = EVENT) -> str:
    """A new workspace with an endpoint for each URL."""
    slug = new_id("w")
    async with database.anywhere() as conn:
        made: str = await conn.fetchval("SELECT workspace_id FROM create_workspace($1, $1, $1)", slug)
    await add_endpoints(database, keyring, made, urls, event)
    return made


async def add_endpoints(
    database: Database, keyring: KeyRing, workspace_id: str, urls: Sequence[str], event: str
) -> None:
    async with database.workspace(workspace_id) as conn:
        for url in urls:
            await endpoints.register(conn, workspace_id, url, [event], keyring=keyring, allow=LOOPBACK)


async def publish_many(database: Database, workspace_id: str, count: int, event: str = EVENT) -> None:
    """So many events, some hundreds in one transaction."""
    for start in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - start)
        async with database.workspace(workspace_id) as conn:
            await conn.execute(
                "SELECT publish_events($1, $2, $3)", [workspace_id] * size, [event] * size, [DATA] * size
            )
