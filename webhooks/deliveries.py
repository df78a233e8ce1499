"""The delivery log as people see it, and what they may ask of it: a resend, a test."""

from __future__ import annotations

from typing import Any

from kernel.db import Connection
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.types import Json

STATUSES = ("pending", "delivered", "exhausted", "cancelled")
# A lease is how the work is shared out, not something to show: a delivery under way is pending.
_SEES = """
    d.delivery_id, d.event_id, d.event_type, d.webhook_id,
    CASE d.status WHEN 'leased' THEN 'pending' ELSE d.status END AS status, d.attempts,
    CASE d.status WHEN 'pending' THEN d.due_at END AS next_attempt_at, d.created_at, d.settled_at
"""


async def list_deliveries(
    conn: Connection,
    workspace_id: str,
    *,
    webhook_id: str = "",
    event_id: str = "",
    event_type: str = "",
    status: str = "",
    cursor: str = "",
    limit: int = 50,
) -> tuple[list[Json], str | None]:
    """Deliveries, newest first, and the cursor of the next page. Raises InvalidRequest for an unknown status."""
    if status and status not in STATUSES:
        message = f"one of {', '.join(STATUSES)}"
        raise InvalidRequest(f"status: {message}", details=[{"field": "status", "message": message}])
    wanted: list[tuple[str, Any]] = [
        ("d.webhook_id = {}", webhook_id),
        ("d.event_id = {}", event_id),
        ("d.event_type = {}", event_type),
        ("d.status = ANY ({}::text[])", ["pending", "leased"] if status == "pending" else [status] if status else None),
        ("d.delivery_id < {}", cursor),
    ]
    given = [(clause, value) for clause, value in wanted if value]
    clauses = "".join(f" AND {clause.format(f'${n}')}" for n, (clause, _) in enumerate(given, start=3))
    rows = await conn.fetch(
        f"SELECT {_SEES} FROM all_deliveries d WHERE d.workspace_id = $1{clauses} "  # noqa: S608
        "ORDER BY d.delivery_id DESC LIMIT $2 + 1",
        workspace_id,
        limit,
        *(value for _, value in given),
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["delivery_id"] if len(rows) > limit else None


async def get(conn: Connection, workspace_id: str, delivery_id: str) -> Json:
    """A delivery with `attempt_log`, oldest first; `response` is at most 16 KiB as text. Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_SEES} FROM all_deliveries d WHERE d.workspace_id = $1 AND d.delivery_id = $2",  # noqa: S608
        workspace_id,
        delivery_id,
    )
    if row is None:
        raise NotFound("there is no such delivery")
    attempts = await conn.fetch(
        """
        SELECT attempt, started_at, duration_ms, status_code, error_code, detail, response_headers, response,
            truncated, next_attempt_at
        FROM webhook_attempts WHERE workspace_id = $1 AND delivery_id = $2 ORDER BY attempt
        """,
        workspace_id,
        delivery_id,
    )
    log = [{**attempt, "response": attempt["response"].decode("utf-8", "replace")} for attempt in attempts]
    return {**row, "attempt_log": log}


async def resend(conn: Connection, workspace_id: str, delivery_id: str) -> Json:
    """Makes a delivery due now, whatever came of it; the next try takes the next number.

    Raises NotFound, and Conflict while a try is under way or the endpoint takes nothing.
    """
    found = await conn.fetchrow(
        """
        SELECT w.status AS endpoint, e.expunged_at IS NOT NULL AS expunged
        FROM all_deliveries d
        LEFT JOIN webhooks w ON w.workspace_id = d.workspace_id AND w.webhook_id = d.webhook_id
        LEFT JOIN events e ON e.workspace_id = d.workspace_id AND e.event_id = d.event_id
        WHERE d.workspace_id = $1 AND d.delivery_id = $2
        """,
        workspace_id,
        delivery_id,
    )
    if found is None:
        raise NotFound("there is no such delivery")
    if found["endpoint"] != "enabled":
        raise Conflict("the webhook is disabled" if found["endpoint"] else "the webhook was deleted")
    if found["expunged"]:
        raise Conflict("the event's payload was expunged")
    if not await conn.fetchval("SELECT revive_deliveries($1, $2)", workspace_id, [delivery_id]):
        raise Conflict("a try is under way")
    return await get(conn, workspace_id, delivery_id)


async def send_test(conn: Connection, workspace_id: str, webhook_id: str) -> Json:
    """Owes a `ping` to this endpoint alone, whatever it subscribes to. Returns the delivery.

    Raises NotFound, and Conflict when the endpoint is disabled.
    """
    status = await conn.fetchval(
        "SELECT status FROM webhooks WHERE workspace_id = $1 AND webhook_id = $2", workspace_id, webhook_id
    )
    if status is None:
        raise NotFound("there is no such webhook")
    if status != "enabled":
        raise Conflict("the webhook is disabled")
    delivery_id = await conn.fetchval(
        """
        WITH stored AS (
            INSERT INTO events (workspace_id, event_id, type, body)
            SELECT $1, id, 'ping', event_body(id, 'ping', $1, clock_timestamp(), $3) FROM new_id('evt') AS id
            RETURNING event_id
        )
        INSERT INTO webhook_deliveries (workspace_id, delivery_id, event_id, event_type, webhook_id)
        SELECT $1, new_id('dlv'), event_id, 'ping', $2 FROM stored RETURNING delivery_id
        """,
        workspace_id,
        webhook_id,
        {"webhook_id": webhook_id},
    )
    await conn.execute("SELECT pg_notify('parley_deliveries', '')")
    return await get(conn, workspace_id, str(delivery_id))
