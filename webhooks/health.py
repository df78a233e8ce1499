"""The door to how endpoints fare: what follows from failures, and probes of endpoints that disabled themselves.

`note_health` counts failures within the commit that records them; here is what is decided from the counts afterwards.
If a worker dies in between, the next failure leads to the same decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel.db import Connection
from webhooks.breaker import DISABLE_HOURS, NOTHING, WARN_HOURS, Health, Verdict, judge
from webhooks.claims import Result
from webhooks.decide import slow_until


async def follow_up(conn: Connection, failed: Sequence[Result], now: float, rand: float) -> list[Verdict]:
    """Pauses, warns of and disables the endpoints of these results, as it is due. Returns what was done."""
    slow: dict[str, float | None] = dict.fromkeys(result.claim.webhook_id for result in failed)
    for result in failed:
        until = slow_until(result.outcome, now, rand)
        if until is not None:
            slow[result.claim.webhook_id] = max(until, slow[result.claim.webhook_id] or 0.0)
    rows = await conn.fetch("SELECT * FROM troubled_webhooks($1)", list(slow))
    judged = [(row, judge(Health(*row[2:9]), now, rand)) for row in rows]
    todo = [(row, verdict) for row, verdict in judged if verdict != NOTHING or slow[row["webhook_id"]]]
    if todo:
        await conn.execute(
            "SELECT act_on_webhooks($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [row["workspace_id"] for row, _ in todo],
            [row["webhook_id"] for row, _ in todo],
            [row["opened"] for row, _ in todo],
            [verdict.open_until for _, verdict in todo],
            [slow[row["webhook_id"]] for row, _ in todo],
            [verdict.warned for _, verdict in todo],
            [WARN_HOURS[verdict.warned - 1] if verdict.warned else 0 for _, verdict in todo],
            [(row["failing_since"] or now) + DISABLE_HOURS * 3_600 for row, _ in todo],
            [verdict.disable for _, verdict in todo],
        )
    return [verdict for _, verdict in todo]


async def probe(conn: Connection) -> int:
    """Owes a ping to endpoints that disabled themselves and were not asked for an hour. Returns how many."""
    count: int = await conn.fetchval("SELECT probe_webhooks()")
    return count
