"""The delivery log, statistics and expunging over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from gateway.services import Ground
from kernel.events import publish
from tests.delivery_kit import DOWN, OK, claim, record
from tests.http_face import Client, Server, client, served
from webhooks.decide import Delivered, Exhausted


@pytest.fixture
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


async def hook(api: Client, count: int) -> tuple[str, list[str]]:
    """An endpoint and so many deliveries that it is owed, newest first."""
    made = await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["user.*"]})
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        for n in range(count):
            await publish(conn, api.workspace_id, "user.created", {"user_id": f"usr_{n}"})
    listed = await api.get("/api/v1/deliveries?limit=200")
    return made.body["webhook_id"], [item["delivery_id"] for item in listed.body["items"]]


async def end(api: Client, *well: bool) -> None:
    """Delivers or gives up what this workspace is owed, in the order in which it was claimed."""
    held = [one for one in await claim(api.server.ground.database) if one.workspace_id == api.workspace_id]
    ends = [(OK, Delivered()) if good else (DOWN, Exhausted()) for good in well]
    assert all(await record(api.server.ground.database, *((one, *e) for one, e in zip(held, ends, strict=True))))


async def test_pages_lead_to_older_and_to_newer_deliveries(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    _, ids = await hook(api, 7)
    path = "/api/v1/deliveries?limit=3"
    first = (await api.get(path)).body
    assert ([item["delivery_id"] for item in first["items"]], first["previous_cursor"]) == (ids[:3], None)
    second = (await api.get(f"{path}&cursor={first['next_cursor']}")).body
    assert [item["delivery_id"] for item in second["items"]] == ids[3:6]
    third = (await api.get(f"{path}&cursor={second['next_cursor']}")).body
    assert ([item["delivery_id"] for item in third["items"]], third["next_cursor"]) == (ids[6:], None)
    back = (await api.get(f"{path}&cursor={third['previous_cursor']}")).body
    assert back == second
    top = (await api.get(f"{path}&cursor={back['previous_cursor']}")).body
    assert top == first


async def test_filters_of_the_log(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    webhook_id, ids = await hook(api, 3)
    await end(api, True, False, True)

    async def found(query: str) -> int:
        return len((await api.get(f"/api/v1/deliveries?{query}")).body["items"])

    soon = quote((datetime.now(UTC) + timedelta(minutes=1)).isoformat())
    assert await found("status=delivered") == 2
    assert await found(f"status=exhausted&webhook_id={webhook_id}") == 1
    assert await found("status=pending") == 0
    assert await found("event_type=user.created") == 3
    assert await found(f"until={soon}") == 3
    assert await found(f"since={soon}") == 0
    for query in ("status=leased", "since=yesterday", "since=2026-11-20T08:00:00", "cursor=--%20", "before=1"):
        assert (await api.get(f"/api/v1/deliveries?{query}")).status == 422, query
    assert len(ids) == 3


async def test_how_an_endpoint_fares(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    webhook_id, _ = await hook(api, 4)
    await end(api, True, True, True, False)
    fares = (await api.get(f"/api/v1/webhooks/{webhook_id}/stats?hours=1")).body
    assert (fares["succeeded"], fares["failed"], fares["success_share"]) == (3, 1, 0.75)
    assert 2 < fares["p99_ms"] <= 5
    assert (fares["pending"], fares["under_way"], fares["oldest_due_seconds"]) == (0, 0, None)
    assert fares["breaker"]["state"] == "closed"
    assert (await api.get("/api/v1/webhooks/wh_none/stats")).status == 404
    assert (await api.get(f"/api/v1/webhooks/{webhook_id}/stats?hours=0")).status == 422


async def test_an_expunged_event_is_shown_without_its_data_and_cannot_be_sent_again(
    server: Server, workspace_id: str
) -> None:
    api = await client(server, workspace_id)
    _, (delivery_id,) = await hook(api, 1)
    await end(api, True)
    shown = (await api.get(f"/api/v1/deliveries/{delivery_id}")).body
    event = f"/api/v1/events/{shown['event_id']}"
    assert "usr_0" in shown["body"]
    assert (await api.get(event)).body["data"] == {"user_id": "usr_0"}
    reader = await client(server, workspace_id, "write", "read")
    assert (await reader.post(f"{event}/expunge")).status == 403
    assert (await api.post(f"{event}/expunge")).status == 204
    assert (await api.post(f"{event}/expunge")).status == 204
    gone = (await api.get(event)).body
    assert (gone["data"], gone["type"]) == ({}, "user.created")
    assert gone["expunged_at"]
    assert (await api.get("/api/v1/events")).body["items"][0]["expunged_at"]
    assert (await api.get(f"/api/v1/deliveries/{delivery_id}")).body["body"] is None
    again = await api.post(f"/api/v1/deliveries/{delivery_id}/resend")
    assert (again.status, "expunged" in again.body["message"]) == (409, True)
    assert (await api.post("/api/v1/events/evt_none/expunge")).status == 404


async def test_the_answer_to_an_attempt_is_taken_away(server: Server, workspace_id: str) -> None:
    api = await client(server, workspace_id)
    _, (delivery_id,) = await hook(api, 1)
    await end(api, False)
    path = f"/api/v1/deliveries/{delivery_id}"
    assert (await api.get(path)).body["attempt_log"][0]["response"] == "oops"
    for wrong, status in ((2, 404), (0, 422), ("x", 422), (1 << 40, 422), (None, 422)):
        assert (await api.post(f"{path}/expunge-response", {"attempt": wrong})).status == status, wrong
    assert (await api.post(f"{path}/expunge-response", {"attempt": 1})).status == 204
    (attempt,) = (await api.get(path)).body["attempt_log"]
    assert (attempt["response"], attempt["status_code"]) == ("", 500)
    assert attempt["expunged_at"]
