"""parley webhooks resend, recover, replay, operations, cancel: sending again, one delivery or many."""

from __future__ import annotations

import asyncio
import re
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.cli import UsageError
from gateway.client import Client, connect, find_target
from gateway.commands.terminal import Progress, as_json, note, out, table

_OPERATIONS = "/api/v1/webhook-operations"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LOOK = 0.25
_FILTER = ("status", "event_type", "error_code")


def moment(text: str, now: datetime, option: str) -> datetime:
    """`2h` or `3d` before now, or a time in ISO 8601, in UTC unless it says otherwise. Raises UsageError."""
    if ago := re.fullmatch(r"(\d{1,5})([smhd])", text, re.ASCII):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no time: 90m, 2h, 3d or 2026-11-20T08:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def resend(options: Namespace) -> int:
    """One delivery by its id, or many by a filter."""
    body = _filter(options)
    if len(options.delivery_ids) == 1 and not body and not options.dry_run:
        return await _resend_one(options, options.delivery_ids[0])
    if options.delivery_ids:
        body["delivery_ids"] = options.delivery_ids
    if not body:
        raise UsageError("name deliveries, or say which: --webhook, --since, …")
    return await _work(options, "/api/v1/deliveries/resend", {"filter": body})


async def recover(options: Namespace) -> int:
    return await _work(options, f"/api/v1/webhooks/{options.webhook_id}/recover", _range(options))


async def replay(options: Namespace) -> int:
    return await _work(options, f"/api/v1/webhooks/{options.webhook_id}/replay-missing", _range(options))


async def show(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        page = await client.get(_OPERATIONS, limit=options.limit)
    columns = ("operation_id", "kind", "webhook_id", "status", "done", "total", "failure")
    if options.json:
        as_json({"items": page["items"]})
    else:
        table(page["items"], columns, "there are no operations")
    return 0


async def cancel(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        ended = await client.delete(f"{_OPERATIONS}/{options.operation_id}")
    if options.json:
        as_json(ended)
    else:
        out(_told(ended))
    return 0


async def _resend_one(options: Namespace, delivery_id: str) -> int:
    async with connect(find_target(options)) as client:
        delivery = await client.post(f"/api/v1/deliveries/{delivery_id}/resend")
    if options.json:
        as_json(delivery)
    else:
        out(f"{delivery_id} is {delivery['status']}, and due now")
    return 0


def _filter(options: Namespace) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in _FILTER if getattr(options, name)}
    if options.webhook:
        given["webhook_id"] = options.webhook
    return given | _range(options)


def _range(options: Namespace) -> dict[str, str]:
    now = datetime.now(UTC)
    given = {name: getattr(options, name, None) for name in ("since", "until")}
    return {name: moment(text, now, f"--{name}").isoformat() for name, text in given.items() if text}


async def _work(options: Namespace, path: str, body: dict[str, Any]) -> int:
    """Starts an operation, or counts what it would do, and follows it to its end unless told not to."""
    async with connect(find_target(options)) as client:
        plan = await client.post(path, {**body, "dry_run": options.dry_run})
        if options.dry_run:
            return _tell_plan(plan, options)
        operation = plan["operation"]
        if not options.no_wait:
            operation = await _followed(client, operation, options)
    if options.json:
        as_json(operation)
    else:
        out(_told(operation))
    return 0 if operation["status"] in ("queued", "running", "done") else 1


async def _followed(client: Client, operation: dict[str, Any], options: Namespace) -> dict[str, Any]:
    operation_id = operation["operation_id"]
    bar = Progress(operation["kind"].replace("_", " "), quiet=options.json)
    paused: set[str] = set()
    try:
        while operation["status"] in ("queued", "running"):
            for webhook_id in set(operation["paused"]) - paused:
                bar.clear()
                note(f"{webhook_id} keeps failing: its deliveries go out when it takes them again")
            paused.update(operation["paused"])
            bar.show(operation["done"], operation["total"] or operation["done"])
            await asyncio.sleep(_LOOK)
            operation = await client.get(f"{_OPERATIONS}/{operation_id}")
    except asyncio.CancelledError:
        bar.clear()
        note(f"{operation_id} goes on; `parley webhooks cancel {operation_id}` ends it")
        raise
    bar.clear()
    return operation


def _tell_plan(plan: dict[str, Any], options: Namespace) -> int:
    if options.json:
        as_json(plan)
        return 0
    out("too many deliveries to count" if plan["total"] is None else f"{plan['total']} deliveries would be made due")
    for what in ("by_webhook", "by_event_type"):
        for name, number in sorted(plan[what].items(), key=lambda entry: -entry[1]):
            out(f"  {number:>8}  {name}")
    for what, why in (("expunged", "their payload was expunged"), ("disabled", "their endpoint is disabled")):
        if plan[what]:
            out(f"{plan[what]} would be left out: {why}")
    return 0


def _told(operation: dict[str, Any]) -> str:
    of = "" if operation["total"] is None else f" of {operation['total']}"
    left = f", {operation['left_out']} left out: their payload was expunged" if operation["left_out"] else ""
    why = f": {operation['failure']}" if operation["failure"] else ""
    return f"{operation['operation_id']} {operation['status']}{why}: {operation['done']}{of} deliveries made due{left}"
