"""The delivery log as people see it, and what they may ask of it: a resend, a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel.db import Connection
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.types import Json
from webhooks.selection import floor_id

STATUSES = ("pending", "delivered", "exhausted", "cancelled")
MAX_ATTEMPTS_SHOWN = 100
# A lease is how the work is shared out, not something to show: a delivery under way is pending.
_SEES = """
    d.delivery_id, d.event_id, d.event_type, d.webhook_id,
    CASE d.status WHEN 'leased' THEN 'pending' ELSE d.status END AS status, d.attempts,
    CASE d.status WHEN 'pending' THEN d.due_at END AS next_attempt_at, d.created_at, d.settled_at
"""
_ATTEMPT = """
    attempt, started_at, duration_ms, url, request_headers, status_code, error_code, detail, response_headers, response,
    truncated, expunged_at, next_attempt_at
"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries are listed; what is empty does not narrow it.

    `since` and `until` bound when a delivery was first owed: from the first, up to but not with the second.
    """

    webhook_id: str = ""
    event_id: str = ""
    event_type: str = ""
    status: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[tuple[str, str]]:
        """Conditions on `d`, each with its value. Raises InvalidRequest for an unknown status."""
        if self.status and self.status not in STATUSES:
            message = f"one of {', '.join(STATUSES)}"
            raise InvalidRequest(f"status: {message}", details=[{"field": "status", "message": message}])
        # The second half names the index that holds such rows alone.
        status = "d.status = {}" if self.status == "delivered" else "d.status = {} AND d.status <> 'delivered'"
        given = [
            ("d.webhook_id = {}", self.webhook_id),
            ("d.event_id = {}", self.event_id),
            ("d.event_type = {}", self.event_type),
            (status, "" if self.status == "pending" else self.status),
            ("d.delivery_id >= {}", floor_id("dlv", self.since) if self.since else ""),
            ("d.delivery_id < {}", floor_id("dlv", self.until) if self.until else ""),
        ]
        return [(condition, value) for condition, value in given if value]

    def table(self) -> str:
        """Where such deliveries lie: all that are owed in one table, all that are settled in the other."""
        settled = "(SELECT *, NULL::timestamptz AS due_at FROM webhook_deliveries_done)"
        return {"": "all_deliveries", "pending": "webhook_deliveries"}.get(self.status, settled)


async def list_deliveries(
    conn: Connection, workspace_id: str, *, cursor: str = "", limit: int = 50, **wanted: Any
) -> tuple[list[Json], str | None]:
    """Deliveries, newest first, and the cursor of the next page, which holds older ones.

    Takes the members of `Filter`. A cursor is a delivery's id; with a `-` before it the page is the one above: the
    deliveries that are newer than it. Pages stay where they are while deliveries are added and settled.
    Raises InvalidRequest for an unknown status.
    """
    rows = await conn.fetch(*page_query(workspace_id, Filter(**wanted), cursor, limit + 1))
    if cursor.startswith("-"):
        items = [dict(row) for row in reversed(rows[:limit])]
        older = bool(items) and await _exists(conn, workspace_id, Filter(**wanted), items[-1]["delivery_id"])
    else:
        items, older = [dict(row) for row in rows[:limit]], len(rows) > limit
    return items, items[-1]["delivery_id"] if older else None


async def previous_cursor(conn: Connection, workspace_id: str, items: list[Json], **wanted: Any) -> str | None:
    """The cursor of the page above one that `list_deliveries` returned for the same filters; None at the newest."""
    if not items:
        return None
    above = f"-{items[0]['delivery_id']}"
    return above if await _exists(conn, workspace_id, Filter(**wanted), above) else None


def page_query(workspace_id: str, wanted: Filter, cursor: str, limit: int) -> tuple[Any, ...]:
    """The statement of one page and its arguments; rows in the direction in which the cursor leads."""
    above = cursor.startswith("-")
    conditions = wanted.conditions()
    if cursor:
        conditions.append(("d.delivery_id > {}" if above else "d.delivery_id < {}", cursor.removeprefix("-")))
    clauses = "".join(f" AND {condition.format(f'${n}')}" for n, (condition, _) in enumerate(conditions, start=3))
    statement = (
        f"SELECT {_SEES} FROM {wanted.table()} d WHERE d.workspace_id = $1{clauses} "  # noqa: S608
        f"ORDER BY d.delivery_id {'ASC' if above else 'DESC'} LIMIT $2"
    )
    return statement, workspace_id, limit, *(value for _, value in conditions)


async def _exists(conn: Connection, workspace_id: str, wanted: Filter, cursor: str) -> bool:
    return bool(await conn.fetch(*page_query(workspace_id, wanted, cursor, 1)))


async def get(conn: Connection, workspace_id: str, delivery_id: str) -> Json:
    """A delivery with the `body` that every try sends, None once it is expunged, and with `attempt_log`: its latest 100
    attempts, oldest first, each with what was sent and at most 16 KiB of what came back. Raises NotFound.
    """
    row = await conn.fetchrow(
        f"""
        SELECT {_SEES}, d.seq,
            (SELECT CASE WHEN e.expunged_at IS NULL THEN coalesce(d.body, e.body) END FROM events e
             WHERE e.workspace_id = d.workspace_id AND e.event_id = d.event_id) AS body
        FROM all_deliveries d WHERE d.workspace_id = $1 AND d.delivery_id = $2
        """,  # noqa: S608
        workspace_id,
        delivery_id,
    )
    if row is None:
        raise NotFound("there is no such delivery")
    attempts = await conn.fetch(
        f"""
        SELECT {_ATTEMPT} FROM webhook_attempts WHERE workspace_id = $1 AND delivery_id = $2
        ORDER BY attempt DESC LIMIT $3
        """,  # noqa: S608
        workspace_id,
        delivery_id,
        MAX_ATTEMPTS_SHOWN,
    )
    log = [{**attempt, "response": attempt["response"].decode("utf-8", "replace")} for attempt in reversed(attempts)]
    return {**row, "body": row["body"] and with_seq(row["body"], row["seq"]).decode(), "attempt_log": log}


def with_seq(body: bytes, seq: int | None) -> bytes:
    """The bytes as they are sent: an endpoint that asked for order finds `seq` as their first member."""
    return body if seq is None else b'{"seq":%d,' % seq + body[1:]


async def resend(conn: Connection, workspace_id: str, delivery_id: str) -> Json:
    """Makes a delivery due now, whatever came of it; the next try takes the next number.

    Raises NotFound, and Conflict while a try is under way, when the endpoint takes nothing, and without a payload.
    """
    found = await conn.fetchrow(
        """
        SELECT
            (SELECT w.status FROM webhooks w
             WHERE w.workspace_id = d.workspace_id AND w.webhook_id = d.webhook_id) AS endpoint,
            (SELECT e.expunged_at IS NULL FROM events e
             WHERE e.workspace_id = d.workspace_id AND e.event_id = d.event_id) AS sendable
        FROM all_deliveries d WHERE d.workspace_id = $1 AND d.delivery_id = $2
        """,
        workspace_id,
        delivery_id,
    )
    if found is None:
        raise NotFound("there is no such delivery")
    if found["endpoint"] != "enabled":
        raise Conflict("the webhook is disabled" if found["endpoint"] else "the webhook was deleted")
    if not found["sendable"]:
        raise Conflict("the payload was expunged, so nothing is left to send")
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
