"""How an endpoint fares: how many of its tries succeed, how long they take, what waits, what its breaker does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.types import Json

# Milliseconds up to which the buckets of `webhook_minutes` count; the last bucket has no bound.
BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
MOST_COUNTED = 100_000


def percentile(buckets: Sequence[int], share: float) -> int | None:
    """Milliseconds within which this share of the tries ended, interpolated within a bucket; None without tries.

    What took longer than the last bound counts as having taken that long.
    """
    wanted = share * sum(buckets)
    below = 0
    for count, low, high in zip(buckets, (0, *BOUNDS), (*BOUNDS, BOUNDS[-1]), strict=True):
        if count and below + count >= wanted:
            return round(low + (high - low) * (wanted - below) / count)
        below += count
    return None


async def of_endpoint(conn: Connection, workspace_id: str, webhook_id: str, since: datetime) -> Json:
    """Tries from `since` to now, and what waits at this moment. Raises NotFound.

    `pending` is counted up to 100,000. `oldest_due_seconds` is how long the one that waits the longest has been due,
    None when none is. Tries that failed for a fault of ours count for nothing.
    """
    health = await conn.fetchrow(
        """
        SELECT h.failing_since, h.streak, h.open_until, h.slow_until, h.open_until > now() AS open
        FROM webhooks w LEFT JOIN webhook_health h USING (workspace_id, webhook_id)
        WHERE w.workspace_id = $1 AND w.webhook_id = $2
        """,
        workspace_id,
        webhook_id,
    )
    if health is None:
        raise NotFound("there is no such webhook")
    tries = await _tries(conn, workspace_id, webhook_id, since)
    return {"webhook_id": webhook_id, **tries, **await _backlog(conn, webhook_id), "breaker": _breaker(health)}


def _breaker(health: Json) -> Json:
    state = "closed" if health["open_until"] is None else "open" if health["open"] else "probing"
    told = ("failing_since", "open_until", "slow_until")
    return {"state": state, "failures_in_a_row": health["streak"] or 0, **{name: health[name] for name in told}}


async def _tries(conn: Connection, workspace_id: str, webhook_id: str, since: datetime) -> Json:
    row = await conn.fetchrow(
        """
        WITH tried AS MATERIALIZED (
            SELECT * FROM webhook_minutes
            WHERE workspace_id = $1 AND webhook_id = $2 AND minute >= date_trunc('minute', $3::timestamptz)
        )
        SELECT coalesce(sum(succeeded), 0)::bigint AS succeeded, coalesce(sum(failed), 0)::bigint AS failed,
            ARRAY(SELECT sum(t.buckets[n])::bigint FROM tried t CROSS JOIN generate_series(1, 15) AS n
                  GROUP BY n ORDER BY n) AS buckets
        FROM tried
        """,
        workspace_id,
        webhook_id,
        since,
    )
    assert row is not None
    succeeded, failed, buckets = row
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {
        "since": since,
        "succeeded": succeeded,
        "failed": failed,
        "success_share": round(succeeded / (succeeded + failed), 4) if succeeded + failed else None,
        **{name: percentile(buckets, share) if buckets else None for name, share in shares.items()},
    }


async def _backlog(conn: Connection, webhook_id: str) -> Json:
    """Reads the index of what waits, which begins with the stage. What is parked waits for another one of its lane."""
    row = await conn.fetchrow(
        """
        SELECT (SELECT count(*) FROM (
                (SELECT FROM webhook_deliveries
                 WHERE status = 'pending' AND NOT parked AND stage IN (0, 1, 2, 3) AND webhook_id = $1 LIMIT $2)
                UNION ALL
                (SELECT FROM webhook_deliveries
                 WHERE webhook_id = $1 AND ordering_key <> '' AND parked LIMIT $2)
                LIMIT $2) AS found) AS pending,
            (SELECT count(*) FROM webhook_deliveries WHERE status = 'leased' AND webhook_id = $1) AS under_way,
            extract(epoch FROM now() - (
                SELECT min(first.due_at) FROM generate_series(0, 3) AS s CROSS JOIN LATERAL (
                    SELECT d.due_at FROM webhook_deliveries d
                    WHERE d.status = 'pending' AND NOT d.parked AND d.stage = s AND d.webhook_id = $1
                    ORDER BY d.due_at LIMIT 1) AS first
            ))::double precision AS overdue
        """,
        webhook_id,
        MOST_COUNTED,
    )
    assert row is not None
    overdue = row["overdue"]
    return {
        "pending": row["pending"],
        "under_way": row["under_way"],
        "oldest_due_seconds": None if overdue is None or overdue < 0 else round(overdue, 3),
    }
