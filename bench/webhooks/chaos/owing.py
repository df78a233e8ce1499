"""The workspace of a fault run: its endpoints, what is published to them, and what the store says is still owed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

import asyncpg

from bench.webhooks.chaos.ledger import Ledger, Owed
from bench.webhooks.chaos.names import ALLOWED
from bench.webhooks.chaos.receivers import Receiver
from bench.webhooks.chaos.stand import Run, admin
from kernel.db import AWAY, Database
from kernel.events import publish
from kernel.secrets import KeyRing
from webhooks import deliveries, endpoints

EVENT = "chat.message.received"
CONVERSATIONS = 8
_TROUBLE = (*AWAY, asyncpg.PostgresError, TimeoutError)


@dataclass
class House:
    """`by_id` are the endpoints' names; `resent` counts deliveries that had been given up, by endpoint."""

    run: Run
    database: Database
    workspace: str
    by_id: dict[str, str] = field(default_factory=dict)
    resent: Counter[str] = field(default_factory=Counter)

    @property
    def names(self) -> list[str]:
        return list(self.by_id.values())

    async def publish(self, ledger: Ledger, rate: float, enough: Callable[[float], bool]) -> None:
        """So many events a second, over several conversations, each of them in order; until `enough(seconds)`."""
        begun = time.monotonic()

        async def converse(conversation: int) -> None:
            number = 0
            while not enough(elapsed := time.monotonic() - begun):
                due = (number + conversation / CONVERSATIONS) * CONVERSATIONS / rate
                await asyncio.sleep(max(0.0, due - elapsed))
                number += 1
                await self._publish(ledger, f"conv_{conversation}", number)

        await asyncio.gather(*(converse(n) for n in range(CONVERSATIONS)))

    async def _publish(self, ledger: Ledger, conversation: str, number: int) -> None:
        data = {
            "conversation_id": conversation, "session_id": "ses_1", "user_id": "usr_1", "message_id": f"msg_{number}",
            "text": f"{number} of {conversation}: " + "x" * 200,
        }  # fmt: skip
        while True:
            try:
                async with self.database.workspace(self.workspace) as conn:
                    event_id = await publish(conn, self.workspace, EVENT, data)
                ledger.acknowledged.add(event_id)
                return
            except _TROUBLE:
                await asyncio.sleep(0.1)  # it may be stored all the same, and is owed then

    async def settle(self, patience: float) -> dict[str, int]:
        """Waits until nothing is owed, sending again what was given up; no endpoint is left to its pause. What is left
        after so many seconds, by status."""
        deadline = time.monotonic() + patience
        while True:
            with suppress(*_TROUBLE):
                async with admin(self.run.admin_url) as conn:
                    await conn.execute("UPDATE webhook_health SET open_until = now() WHERE open_until > now()")
                    await conn.execute("SELECT pg_notify('parley_deliveries', '')")
                    rows = await conn.fetch("SELECT status, count(*) AS n FROM all_deliveries GROUP BY 1")
                    gone = await conn.fetch(
                        "SELECT delivery_id, webhook_id FROM all_deliveries WHERE status = 'exhausted'"
                    )
                left = {row["status"]: row["n"] for row in rows if row["status"] != "delivered"}
                if not left or time.monotonic() > deadline:
                    return left
                await self._resend([(row["delivery_id"], row["webhook_id"]) for row in gone])
            await asyncio.sleep(1.0)

    async def _resend(self, gone: Sequence[tuple[str, str]]) -> None:
        for delivery_id, webhook_id in gone:
            async with self.database.workspace(self.workspace) as conn:
                await deliveries.resend(conn, self.workspace, delivery_id)
            self.resent[self.by_id[webhook_id]] += 1

    async def stored(self) -> dict[str, bytes]:
        async with admin(self.run.admin_url) as conn:
            rows = await conn.fetch("SELECT event_id, body FROM events WHERE type = $1", EVENT)
        return {row["event_id"]: row["body"] for row in rows}

    async def delivered(self) -> list[Owed]:
        async with admin(self.run.admin_url) as conn:
            rows = await conn.fetch("SELECT webhook_id, event_id FROM all_deliveries WHERE status = 'delivered'")
        return [(self.by_id[row["webhook_id"]], row["event_id"]) for row in rows]


@asynccontextmanager
async def moving_in(run: Run, ring: str, receivers: Sequence[Receiver], urls: Sequence[str]) -> AsyncIterator[House]:
    """A workspace with an endpoint for each receiver, that are tried again after a second each time."""
    database, keyring = await Database.connect(run.app_url, size=CONVERSATIONS), KeyRing.parse(ring)
    try:
        async with database.anywhere() as conn:
            workspace = await conn.fetchval("SELECT workspace_id FROM create_workspace('chaos', 'chaos', 'Chaos')")
        house = House(run, database, workspace)
        for receiver, url in zip(receivers, urls, strict=True):
            async with database.workspace(workspace) as conn:
                webhook_id, receiver.secret = await endpoints.register(
                    conn, workspace, url, [EVENT], keyring=keyring, allow=[ip_network(ALLOWED)]
                )
            house.by_id[webhook_id] = receiver.name
        ordered = [name for name, receiver in zip(house.by_id, receivers, strict=True) if receiver.ordered]
        async with admin(run.admin_url) as conn:
            await conn.execute(
                "UPDATE webhooks SET schedule = array_fill(1, ARRAY[60]), timeout_seconds = $1, "
                "ordering = CASE WHEN webhook_id = ANY ($2) THEN 'conversation' ELSE 'none' END",
                run.lease.timeout,
                ordered,
            )
        yield house
    finally:
        await database.close()
