"""Sending again in bulk: deliveries by filter, what failed at an endpoint, what an endpoint missed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel.db import Connection
from kernel.errors import Conflict, NotFound
from kernel.types import Json
from webhooks import operations, selection
from webhooks.selection import Selection

_SINCE = "2026-11-20T08:00:00Z"
_MOST_SHOWN = 100
_DRY = Field(False, description="Only count what would be sent")


class ResendFilter(Shape):
    delivery_ids: list[str] = Field([], description=f"Exactly these, at most {selection.MAX_IDS}")
    webhook_id: str = Field("", max_length=128)
    status: Literal["", "pending", "delivered", "exhausted", "cancelled"] = Field(
        "", description="Without it what was given up; `pending` is what waits for a retry"
    )
    event_type: str = Field("", max_length=128, description="A type or a pattern like `chat.*`")
    error_code: str = Field("", max_length=64, description="What came of the last try")
    since: AwareDatetime | None = Field(None, description="Of events published at this time or later")
    until: AwareDatetime | None = Field(None, description="Of events published before this time")


class Resend(Shape):
    filter: ResendFilter = Field(description="Names deliveries, an endpoint or `since` at least")
    dry_run: bool = _DRY


class Recover(Shape):
    since: AwareDatetime = Field(
        examples=[_SINCE], description=f"At most {selection.RECOVERABLE.days} days back: what failed of later events"
    )
    dry_run: bool = _DRY


class Replay(Shape):
    since: AwareDatetime = Field(examples=[_SINCE], description="As far back as events are kept")
    until: AwareDatetime | None = Field(None, description="Events published before this time; by default now")
    dry_run: bool = _DRY


class Operation(View):
    operation_id: str
    kind: Literal["resend", "recover", "replay_missing"]
    webhook_id: str = Field(description="The endpoint it is about; empty for several")
    filter: dict[str, Any]
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    total: int | None = Field(description="Deliveries counted when it was started; null if they were too many to count")
    done: int = Field(description="Deliveries that it has made due")
    left_out: int = Field(description="Deliveries whose payload was expunged meanwhile")
    paused: list[str] = Field(description="Endpoints that keep failing: it goes on when they take deliveries again")
    failure: str
    created_at: datetime
    settled_at: datetime | None


class Plan(View):
    dry_run: bool
    total: int | None = Field(description="Deliveries to make; null if they are too many to count")
    by_webhook: dict[str, int] = Field(description=f"Of the {_MOST_SHOWN} endpoints that get the most")
    by_event_type: dict[str, int]
    expunged: int = Field(description="Left out because their payload was expunged")
    disabled: int = Field(description="Left out because their endpoint is disabled")
    operation: Operation | None = Field(description="Null for a dry run")


async def resend(call: Call) -> Answer:
    """What was given up, delivered or waits for a retry is due again at once; the next try takes the next number."""
    asked: Resend = call.body
    chosen = selection.resend(_now(), **asked.filter.model_dump())
    async with call.database() as conn:
        if chosen.webhook_id:
            await operations.check_endpoint(conn, call.workspace_id, chosen.webhook_id)
        if chosen.delivery_ids:
            chosen = await operations.found_deliveries(conn, call.workspace_id, chosen)
        return await _plan(call, conn, chosen, asked.dry_run)


async def recover(call: Call) -> Answer:
    """After an outage of the receiver: what failed since then is due again at once."""
    asked: Recover = call.body
    webhook_id = call.path["webhook_id"]
    async with call.database() as conn:
        await operations.check_endpoint(conn, call.workspace_id, webhook_id)
        return await _plan(call, conn, selection.recover(_now(), webhook_id, asked.since), asked.dry_run)


async def replay_missing(call: Call) -> Answer:
    """Events that the endpoint's filters of today would have let through and that it was never owed, as from before it
    existed, or while it was disabled or asked for other types."""
    asked: Replay = call.body
    webhook_id = call.path["webhook_id"]
    async with call.database() as conn:
        await operations.check_endpoint(conn, call.workspace_id, webhook_id)
        keep_days = call.services.ground.settings.webhook_retention_days
        chosen = selection.replay_missing(_now(), webhook_id, asked.since, asked.until, keep_days=keep_days)
        return await _plan(call, conn, chosen, asked.dry_run)


async def _plan(call: Call, conn: Connection, chosen: Selection, dry_run: bool) -> Answer:
    counts = await operations.count(conn, call.workspace_id, chosen)
    started = None if dry_run else await operations.start(conn, call.workspace_id, chosen, counts)
    body: Json = {
        "dry_run": dry_run,
        "total": counts.total,
        "by_webhook": dict(counts.by_webhook.most_common(_MOST_SHOWN)),
        "by_event_type": dict(counts.by_event_type.most_common(_MOST_SHOWN)),
        "expunged": counts.expunged,
        "disabled": counts.disabled,
        "operation": started,
    }
    return Answer(body, status=200 if dry_run else 202)


def _now() -> datetime:
    return datetime.now(UTC)


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await operations.list_operations(conn, call.workspace_id, cursor=asked.cursor, limit=asked.limit))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await operations.get(conn, call.workspace_id, call.path["operation_id"])


async def cancel(call: Call) -> Json:
    """Nothing more is made due from then on; what was made due stays so."""
    async with call.database() as conn:
        return await operations.cancel(conn, call.workspace_id, call.path["operation_id"])


_ENDPOINT, _OPERATIONS = "/api/v1/webhooks/{webhook_id}", "/api/v1/webhook-operations"
_DRY_RUN = {200: "What a dry run counted"}
_REFUSALS = (NotFound, Conflict)

ROUTES = [
    Route(
        "POST",
        "/api/v1/deliveries/resend",
        resend,
        "write",
        "Deliver again by filter",
        "webhooks",
        request=Resend,
        response=Plan,
        status=202,
        also=_DRY_RUN,
        errors=_REFUSALS,
    ),
    Route(
        "POST",
        _ENDPOINT + "/recover",
        recover,
        "write",
        "Deliver again what failed at this endpoint",
        "webhooks",
        request=Recover,
        response=Plan,
        status=202,
        also=_DRY_RUN,
        errors=_REFUSALS,
    ),
    Route(
        "POST",
        _ENDPOINT + "/replay-missing",
        replay_missing,
        "write",
        "Deliver events that this endpoint missed",
        "webhooks",
        request=Replay,
        response=Plan,
        status=202,
        also=_DRY_RUN,
        errors=_REFUSALS,
    ),
    Route(
        "GET",
        _OPERATIONS,
        listed,
        "read",
        "Bulk work on deliveries, newest first",
        "webhooks",
        query=Paging,
        response=Listed[Operation],
    ),
    Route(
        "GET",
        _OPERATIONS + "/{operation_id}",
        one,
        "read",
        "How far an operation has come",
        "webhooks",
        response=Operation,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _OPERATIONS + "/{operation_id}",
        cancel,
        "write",
        "Cancel an operation",
        "webhooks",
        response=Operation,
        errors=(NotFound, Conflict),
    ),
]
