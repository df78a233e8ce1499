"""The door to `webhook_operations`: bulk work on deliveries, counted, started, worked off in batches, cancelled.

A batch and the operation's cursor are written in one transaction, under the operation's token: whoever dies in between
has done the batch or has not, and whoever comes late changes nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg
import orjson

from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.ids import new_id
from kernel.types import Json
from webhooks.selection import Selection

MOST_OPEN = 10  # unfinished operations of one workspace
KEPT_DAYS = 90  # those that have ended
_COUNTING = "20s"
_SHOWN_IDS = 5
_SEES = """
    o.operation_id, o.kind, o.webhook_id, o.filter, o.status, o.total, o.done, o.left_out, o.failure, o.created_at,
    o.settled_at, CASE WHEN o.status IN ('queued', 'running') THEN ARRAY(
        SELECT h.webhook_id FROM webhook_health h
        WHERE h.workspace_id = o.workspace_id AND h.open_until IS NOT NULL AND o.cursor::jsonb ? h.webhook_id
        ORDER BY h.webhook_id LIMIT 20) ELSE '{}' END AS paused
"""

State = Literal["working", "waiting", "settled", "lost"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many deliveries an operation is about, by endpoint and by type of event, and how many it leaves out because
    their payload was expunged or their endpoint is disabled. `total` is None when they are too many to count.
    """

    total: int | None
    by_webhook: Counter[str] = field(default_factory=Counter)
    by_event_type: Counter[str] = field(default_factory=Counter)
    expunged: int = 0
    disabled: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An operation that this worker may work on while the token holds."""

    workspace_id: str
    operation_id: str
    token: str


# Asking for one


async def check_endpoint(conn: Connection, workspace_id: str, webhook_id: str) -> None:
    """Raises NotFound, and Conflict for an endpoint that takes nothing."""
    found = await conn.fetchrow(
        "SELECT status, disabled_reason FROM webhooks WHERE workspace_id = $1 AND webhook_id = $2",
        workspace_id,
        webhook_id,
    )
    if found is None:
        raise NotFound("there is no such webhook")
    if found["status"] != "enabled":
        why = f" ({found['disabled_reason']})" if found["disabled_reason"] else ""
        raise Conflict(f"the webhook is disabled{why}: enable it first")


async def found_deliveries(conn: Connection, workspace_id: str, chosen: Selection) -> Selection:
    """The selection, narrowed to when the events of the deliveries that it names were published.

    Raises NotFound for ids that are unknown here, and Conflict for deliveries that cannot be sent again.
    """
    rows = await conn.fetch("SELECT * FROM resendable($1, $2)", workspace_id, list(chosen.delivery_ids))
    missing = set(chosen.delivery_ids) - {row["delivery_id"] for row in rows}
    if missing:
        raise NotFound(f"there are no such deliveries: {_some(missing)}")
    for fault, message in (
        ("expunged", "the payload was expunged, so nothing is left to send"),
        ("deleted", "the webhook was deleted"),
        ("disabled", "the webhook is disabled: enable it first"),
    ):
        wrong = [row["delivery_id"] for row in rows if row["fault"] == fault]
        if wrong:
            raise Conflict(f"{_some(wrong)}: {message}")
    published = [row["published"] for row in rows]
    return chosen.within(min(published), max(published))


def _some(ids: Sequence[str] | set[str]) -> str:
    shown = sorted(ids)[:_SHOWN_IDS]
    return ", ".join(shown) + (f" and {len(ids) - len(shown)} more" if len(ids) > len(shown) else "")


async def count(conn: Connection, workspace_id: str, selection: Selection) -> Counts:
    """What an operation would do, were it started now. Gives up after some seconds: then `total` is None."""
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL statement_timeout = '{_COUNTING}'")
            rows = await conn.fetch(
                "SELECT * FROM count_operation($1, $2, $3, $4)",
                workspace_id,
                selection.kind,
                selection.webhook_id,
                selection.filter(),
            )
            await conn.execute("SET LOCAL statement_timeout = DEFAULT")
    except asyncpg.QueryCanceledError:
        return Counts(None)
    return _counts(rows)


def _counts(rows: Sequence[Any]) -> Counts:
    by_webhook, by_event_type, left_out = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        if row["fault"]:
            left_out[row["fault"]] += row["n"]
        else:
            by_webhook[row["webhook_id"]] += row["n"]
            by_event_type[row["event_type"]] += row["n"]
    return Counts(by_webhook.total(), by_webhook, by_event_type, left_out["expunged"], left_out["disabled"])


async def start(conn: Connection, workspace_id: str, selection: Selection, counts: Counts) -> Json:
    """Owes the work to whichever worker takes it, and forgets old ones. Returns the operation.

    Raises Conflict when too many are open.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('webhook_operations ' || $1, 0))", workspace_id)
    await conn.execute(
        "DELETE FROM webhook_operations WHERE workspace_id = $1 AND settled_at < now() - make_interval(days => $2)",
        workspace_id,
        KEPT_DAYS,
    )
    open_ = await conn.fetchval(
        "SELECT count(*) FROM webhook_operations WHERE workspace_id = $1 AND status IN ('queued', 'running')",
        workspace_id,
    )
    if open_ >= MOST_OPEN:
        raise Conflict(f"{open_} operations are under way: wait for one to end, or cancel one")
    operation_id = new_id("wop")
    await conn.execute(
        """
        INSERT INTO webhook_operations (workspace_id, operation_id, kind, webhook_id, filter, total, cursor)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        workspace_id,
        operation_id,
        selection.kind,
        selection.webhook_id,
        selection.filter(),
        counts.total,
        orjson.dumps(dict.fromkeys(await _targets(conn, workspace_id, selection, counts), "")).decode(),
    )
    return await get(conn, workspace_id, operation_id)


async def _targets(conn: Connection, workspace_id: str, selection: Selection, counts: Counts) -> list[str]:
    """The endpoints that an operation is to visit."""
    if selection.webhook_id:
        return [selection.webhook_id]
    if counts.total is not None:
        return list(counts.by_webhook)
    rows = await conn.fetch(
        "SELECT webhook_id FROM webhooks WHERE workspace_id = $1 AND status = 'enabled'", workspace_id
    )
    return [row["webhook_id"] for row in rows]


# Watching and ending one


async def get(conn: Connection, workspace_id: str, operation_id: str) -> Json:
    """An operation as the API shows it. `paused` are endpoints for which it waits, since they keep failing.

    Raises NotFound.
    """
    row = await conn.fetchrow(
        f"SELECT {_SEES} FROM webhook_operations o WHERE o.workspace_id = $1 AND o.operation_id = $2",  # noqa: S608
        workspace_id,
        operation_id,
    )
    if row is None:
        raise NotFound("there is no such operation")
    return dict(row)


async def list_operations(
    conn: Connection, workspace_id: str, *, cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """Operations, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SEES} FROM webhook_operations o WHERE o.workspace_id = $1 AND ($2 = '' OR o.operation_id < $2)
        ORDER BY o.operation_id DESC LIMIT $3 + 1
        """,  # noqa: S608
        workspace_id,
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["operation_id"] if len(rows) > limit else None


async def cancel(conn: Connection, workspace_id: str, operation_id: str) -> Json:
    """Ends an operation: once this is committed it touches nothing more. What it has made due stays due.

    Raises NotFound, and Conflict for one that had ended by itself.
    """
    await conn.execute(
        """
        UPDATE webhook_operations
        SET status = 'cancelled', settled_at = now(), lease_token = NULL, lease_until = NULL
        WHERE workspace_id = $1 AND operation_id = $2 AND status IN ('queued', 'running')
        """,
        workspace_id,
        operation_id,
    )
    found = await get(conn, workspace_id, operation_id)
    if found["status"] != "cancelled":
        raise Conflict(f"the operation is {found['status']} already")
    return found


# Working it off, in the worker: over all workspaces


async def claim(conn: Connection, most: int, lease_seconds: float) -> list[Held]:
    """Takes up to so many operations that nobody holds, those that wait the longest first."""
    token = os.urandom(12).hex()
    rows = await conn.fetch("SELECT * FROM claim_operations($1, $2, $3)", most, token, lease_seconds)
    return [Held(row["workspace_id"], row["operation_id"], token) for row in rows]


async def advance(conn: Connection, held: Held, *, batch: int, most_due: int, scan: int, lease_seconds: float) -> State:
    """One batch, in one transaction, and the lease anew.

    It makes at most `batch` deliveries due, looks at no more than `scan`, and gives no endpoint more than `most_due` at
    a time: what an endpoint does not drain is not added to. Returns "waiting" when there was nothing to do for now, and
    "lost" when the operation is somebody else's or was cancelled.
    """
    state: State = await conn.fetchval(
        "SELECT advance_operation($1, $2, $3, $4, $5, $6, $7)",
        held.workspace_id,
        held.operation_id,
        held.token,
        batch,
        most_due,
        scan,
        lease_seconds,
    )
    return state


async def fail(conn: Connection, held: Held, failure: str) -> None:
    """Ends an operation that cannot go on."""
    await conn.execute(
        "SELECT fail_operation($1, $2, $3, $4)", held.workspace_id, held.operation_id, held.token, failure
    )


async def release(conn: Connection, held: Sequence[Held]) -> None:
    """Hands operations back, to be gone on with by anybody at once."""
    for one in held:
        await conn.execute("SELECT release_operation($1, $2, $3)", one.workspace_id, one.operation_id, one.token)
