"""Sending again in bulk as a caller or an operator asks for it: REST, and the commands as programs of their own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import UsageError
from gateway.commands.recovery import moment
from gateway.services import Ground
from kernel.ids import new_id
from tests.http_face import Client, Server, client, served
from tests.recovery_kit import QUICK, Admin, ago, emit, operating, past, until
from webhooks.recovery import Pace

_ENDED = ("done", "failed", "cancelled")
_RESEND = "/api/v1/deliveries/resend"
_OPERATIONS = "/api/v1/webhook-operations"


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id, "read", "write")


@pytest.fixture(autouse=True)
async def clean(admin: Admin) -> None:
    await admin.execute("UPDATE webhook_operations SET status = 'cancelled' WHERE status IN ('queued', 'running')")


@pytest.fixture
async def hook(api: Client) -> str:
    made = await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["user.*"]})
    return str(made.body["webhook_id"])


async def ended(api: Client, operation_id: str) -> Any:
    async def over() -> bool:
        return (await api.get(f"{_OPERATIONS}/{operation_id}")).body["status"] in _ENDED

    await until(over)
    return (await api.get(f"{_OPERATIONS}/{operation_id}")).body


async def test_recover_counts_then_works_and_is_listed(
    server: Server, api: Client, hook: str, workspace_id: str, admin: Admin
) -> None:
    await past(admin, workspace_id, hook, 30, event_type="user.created")
    await past(admin, workspace_id, hook, 12, event_type="user.erased")
    await past(admin, workspace_id, hook, 5, status="delivered")
    asked = {"since": ago(hours=2).isoformat()}
    dry = await api.post(f"/api/v1/webhooks/{hook}/recover", {**asked, "dry_run": True})
    assert (dry.status, dry.body["total"], dry.body["operation"]) == (200, 42, None)
    assert dry.body["by_event_type"] == {"user.created": 30, "user.erased": 12}
    assert (await api.get(_OPERATIONS)).body["items"] == []
    started = await api.post(f"/api/v1/webhooks/{hook}/recover", asked)
    assert (started.status, started.body["dry_run"], started.body["total"]) == (202, False, 42)
    operation = started.body["operation"]
    assert (operation["kind"], operation["status"], operation["done"]) == ("recover", "queued", 0)
    async with operating(server.ground.database):
        found = await ended(api, operation["operation_id"])
    assert (found["status"], found["done"], found["total"], found["failure"]) == ("done", 42, 42, "")
    assert [row["operation_id"] for row in (await api.get(_OPERATIONS)).body["items"]] == [operation["operation_id"]]
    page = await api.get(f"/api/v1/deliveries?webhook_id={hook}&status=pending&limit=200")
    assert len(page.body["items"]) == 42


async def test_case_12_recover_from_more_than_14_days_ago_is_422(api: Client, hook: str) -> None:
    reply = await api.post(f"/api/v1/webhooks/{hook}/recover", {"since": ago(days=14, seconds=1).isoformat()})
    assert (reply.status, reply.body["code"]) == (422, "invalid_request")
    assert reply.body["details"] == [{"field": "since", "message": "at most 14 days back"}]
    assert (await api.post(f"/api/v1/webhooks/{hook}/recover", {"since": "2026-11-20T08:00"})).status == 422
    assert (await api.post(f"/api/v1/webhooks/{hook}/recover", {})).status == 422
    reply = await api.post(f"/api/v1/webhooks/{hook}/recover", {"since": ago(days=13, hours=23).isoformat()})
    assert reply.status == 202


async def test_replay_missing_owes_events_from_before_the_endpoint(
    server: Server, api: Client, workspace_id: str
) -> None:
    events = [await emit(server.ground.database, workspace_id, user_id="usr_1") for _ in range(4)]
    await emit(server.ground.database, workspace_id, "session.started", user_id="usr_1")
    made = await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["user.*"]})
    path, asked = f"/api/v1/webhooks/{made.body['webhook_id']}/replay-missing", {"since": ago(hours=1).isoformat()}
    dry = await api.post(path, {**asked, "dry_run": True})
    assert (dry.status, dry.body["total"], dry.body["by_event_type"]) == (200, 4, {"user.created": 4})
    started = await api.post(path, asked)
    assert started.status == 202
    async with operating(server.ground.database):
        assert (await ended(api, started.body["operation"]["operation_id"]))["done"] == 4
    page = await api.get(f"/api/v1/deliveries?webhook_id={made.body['webhook_id']}")
    assert sorted(row["event_id"] for row in page.body["items"]) == sorted(events)
    assert (await api.post(path, {**asked, "dry_run": True})).body["total"] == 0


async def test_resend_by_filter_and_by_ids(
    server: Server, api: Client, hook: str, workspace_id: str, admin: Admin
) -> None:
    await past(admin, workspace_id, hook, 6, error_code="timeout")
    await past(admin, workspace_id, hook, 7, error_code="tls_error")
    delivered = await past(admin, workspace_id, hook, 3, status="delivered")
    whole = {"filter": {"webhook_id": hook, "error_code": "timeout", "since": ago(hours=2).isoformat()}}
    assert (await api.post(_RESEND, {**whole, "dry_run": True})).body["total"] == 6
    started = await api.post(_RESEND, whole)
    picked = await api.post(_RESEND, {"filter": {"delivery_ids": delivered[:2]}})
    assert (picked.status, picked.body["total"], picked.body["by_webhook"]) == (202, 2, {hook: 2})
    async with operating(server.ground.database):
        assert (await ended(api, started.body["operation"]["operation_id"]))["done"] == 6
        assert (await ended(api, picked.body["operation"]["operation_id"]))["done"] == 2
    pending = await api.get(f"/api/v1/deliveries?webhook_id={hook}&status=pending")
    assert len(pending.body["items"]) == 8
    assert set(delivered[:2]) < {row["delivery_id"] for row in pending.body["items"]}


async def test_case_53_refusals_say_what_is_wrong(api: Client, hook: str, workspace_id: str, admin: Admin) -> None:
    (delivery_id,) = await past(admin, workspace_id, hook)
    unknown = new_id("dlv")
    refused: list[tuple[str, Any, int, str]] = [
        ("/api/v1/webhooks/wh_none/recover", {"since": ago(hours=1).isoformat()}, 404, "there is no such webhook"),
        ("/api/v1/webhooks/wh_none/recover", {"since": ago(days=99).isoformat()}, 404, "there is no such webhook"),
        (_RESEND, {"filter": {"webhook_id": "wh_none"}}, 404, "there is no such webhook"),
        (_RESEND, {"filter": {"delivery_ids": [delivery_id, unknown]}}, 404, f"no such deliveries: {unknown}"),
        (_RESEND, {"filter": {}}, 422, "name deliveries, an endpoint or a time to start from"),
        (_RESEND, {"filter": {"webhook_id": hook, "status": "lost"}}, 422, "filter.status"),
        (_RESEND, {"filter": {"webhook_id": hook, "event_type": "nope"}}, 422, "'nope' matches no event type"),
        (_RESEND, {}, 422, "filter"),
    ]
    for path, body, status, message in refused:
        reply = await api.post(path, body)
        told = reply.body["message"] + str(reply.body["details"])
        assert (reply.status, message in told) == (status, True), (path, body, told)
    await api("PATCH", f"/api/v1/webhooks/{hook}", {"status": "disabled"})
    conflicts: list[tuple[str, Any]] = [
        (f"/api/v1/webhooks/{hook}/recover", {"since": ago(hours=1).isoformat()}),
        (f"/api/v1/webhooks/{hook}/replay-missing", {"since": ago(hours=1).isoformat(), "dry_run": True}),
        (_RESEND, {"filter": {"webhook_id": hook}}),
        (_RESEND, {"filter": {"delivery_ids": [delivery_id]}}),
    ]
    for path, body in conflicts:
        reply = await api.post(path, body)
        assert reply.status == 409
        assert "the webhook is disabled" in reply.body["message"]
        assert "enable it first" in reply.body["message"]
    left_out = await api.post(_RESEND, {"filter": {"since": ago(hours=2).isoformat()}, "dry_run": True})
    assert (left_out.body["total"], left_out.body["disabled"]) == (0, 1)


async def test_case_28_a_resend_of_what_was_expunged_says_so(
    api: Client, hook: str, workspace_id: str, admin: Admin
) -> None:
    (delivery_id,) = await past(admin, workspace_id, hook)
    await admin.execute("UPDATE events SET expunged_at = now() WHERE workspace_id = $1", workspace_id)
    reply = await api.post(_RESEND, {"filter": {"delivery_ids": [delivery_id]}})
    assert (reply.status, reply.body["code"]) == (409, "conflict")
    assert "the payload was expunged" in reply.body["message"]
    whole = await api.post(_RESEND, {"filter": {"webhook_id": hook}, "dry_run": True})
    assert (whole.body["total"], whole.body["expunged"]) == (0, 1)


async def test_cancelling(api: Client, hook: str) -> None:
    started = await api.post(f"/api/v1/webhooks/{hook}/recover", {"since": ago(hours=1).isoformat()})
    path = f"{_OPERATIONS}/{started.body['operation']['operation_id']}"
    cancelled = await api("DELETE", path)
    assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
    assert (await api("DELETE", path)).body == cancelled.body == (await api.get(path)).body
    assert (await api("DELETE", f"{_OPERATIONS}/wop_none")).status == 404


async def test_one_idempotency_key_starts_one_operation(api: Client, hook: str) -> None:
    asked, key = {"since": ago(hours=1).isoformat()}, {"Idempotency-Key": new_id("k")}
    first = await api.post(f"/api/v1/webhooks/{hook}/recover", asked, headers=key)
    again = await api.post(f"/api/v1/webhooks/{hook}/recover", asked, headers=key)
    assert again.body == first.body
    assert len((await api.get(_OPERATIONS)).body["items"]) == 1


# Commands


async def parley(api: Client, folder: Path, *arguments: str, terminal: bool = False) -> tuple[int, str, str]:
    """Runs a command as a program of its own, standard error on a terminal if wanted."""
    env = {**os.environ, "PARLEY_URL": api.server.url, "PARLEY_API_KEY": api.api_key, "PARLEY_DATA_DIR": str(folder)}
    watched, shown = pty.openpty() if terminal else (-1, asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=shown
    )
    out, err = await process.communicate()
    if terminal:
        os.close(shown)
        err = os.read(watched, 1 << 16)
        os.close(watched)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_recover_on_a_terminal_shows_how_far_it_is(
    server: Server, api: Client, hook: str, workspace_id: str, admin: Admin, tmp_path: Path
) -> None:
    await past(admin, workspace_id, hook, 60)
    asked = ("webhooks", "recover", hook, "--since", "2h")
    status, out, err = await parley(api, tmp_path, *asked, "--dry-run")
    assert (status, err) == (0, "")
    assert out.split() == ["60", "deliveries", "would", "be", "made", "due", "60", hook, "60", "user.created"]
    async with operating(server.ground.database, Pace(batch=10, busy=0.3, idle=0.05)):
        status, out, err = await parley(api, tmp_path, *asked, terminal=True)
    assert status == 0, err
    assert out.endswith("done: 60 of 60 deliveries made due\n")
    assert "recover [" in err
    assert "0/60" in err
    assert err.endswith("\r\x1b[K")


async def test_resend_replay_and_what_is_under_way(
    server: Server, api: Client, workspace_id: str, admin: Admin, tmp_path: Path
) -> None:
    await emit(server.ground.database, workspace_id, user_id="usr_1")
    made = await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["user.*"]})
    hook = made.body["webhook_id"]
    failed = await past(admin, workspace_id, hook, 5, error_code="timeout")
    async with operating(server.ground.database, QUICK):
        status, out, err = await parley(api, tmp_path, "webhooks", "replay", hook, "--since", "1h", "--json")
        assert (status, err) == (0, "")
        assert (json.loads(out)["kind"], json.loads(out)["done"]) == ("replay_missing", 1)
        status, out, _ = await parley(api, tmp_path, "webhooks", "resend", "--webhook", hook, "--error-code", "timeout")
        assert (status, out.split(" ", 1)[1]) == (0, "done: 5 of 5 deliveries made due\n")
    status, out, _ = await parley(api, tmp_path, "webhooks", "resend", failed[0])
    assert (status, out) == (0, f"{failed[0]} is pending, and due now\n")
    status, out, _ = await parley(api, tmp_path, "webhooks", "resend", *failed[:2], "--no-wait")
    operation_id, told = out.split(" ", 1)
    assert (status, told) == (0, "queued: 0 of 0 deliveries made due\n")
    status, out, _ = await parley(api, tmp_path, "webhooks", "operations")
    assert (status, out.count("wop_"), out.split("\n")[1].split()[0]) == (0, 3, operation_id)
    status, out, _ = await parley(api, tmp_path, "webhooks", "cancel", operation_id)
    assert (status, out) == (0, f"{operation_id} cancelled: 0 of 0 deliveries made due\n")
    status, _, err = await parley(api, tmp_path, "webhooks", "cancel", "wop_none")
    assert (status, err) == (1, "parley: there is no such operation\n")


async def test_commands_say_what_is_wrong(api: Client, hook: str, tmp_path: Path) -> None:
    for arguments, status, told in (
        (("resend",), 2, "name deliveries, or say which: --webhook, --since, …"),
        (("recover", hook, "--since", "yesterday"), 2, "--since: 'yesterday' is no time: 90m, 2h, 3d or"),
        (("recover", hook, "--since", "15d"), 1, "since: at most 14 days back"),
        (("replay", "wh_none", "--since", "1h"), 1, "there is no such webhook"),
        (("resend", "--status", "delivered"), 1, "name deliveries, an endpoint or a time to start from"),
    ):
        code, out, err = await parley(api, tmp_path, "webhooks", *arguments)
        assert (code, out) == (status, "")
        assert err.startswith("parley: ")
        assert told in err


def test_times_on_the_command_line() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert moment("90m", now, "--since") == now - timedelta(minutes=90)
    assert moment("3d", now, "--since") == now - timedelta(days=3)
    assert moment("45s", now, "--since") == now - timedelta(seconds=45)
    assert moment("2026-11-20T08:00:00Z", now, "--since") == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert moment("2026-11-20T08:00:00+02:00", now, "--since") == datetime(2026, 11, 20, 6, tzinfo=UTC)
    assert moment("2026-11-20", now, "--since") == datetime(2026, 11, 20, tzinfo=UTC)
    assert moment("99999d", now, "--since").year < 1800
    for text in ("", "2", "h", "2w", "-2h", "٢h", "2026-13-01"):
        with pytest.raises(UsageError, match="--until: "):
            moment(text, now, "--until")
