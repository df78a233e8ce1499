"""What an endpoint asked for at its registration is what its receiver gets from the delivery loop."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from kernel.db import Database
from kernel.events import publish
from kernel.secrets import KeyRing
from kernel.types import Json
from tests.certificates import authority, server_context
from tests.engine_kit import until
from tests.test_webhook_proxy import forwarding
from webhooks import deliveries, endpoints
from webhooks.engine import DeliveryEngine
from webhooks.proxy import Proxy
from webhooks.urls import Rules

LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass
class Rig:
    """A workspace with one endpoint, its receiver, and a token server on the same port."""

    database: Database
    keyring: KeyRing
    workspace_id: str
    url: str = ""
    webhook_id: str = ""
    heard: list[dict[str, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    patience: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self, request: web.Request) -> web.Response:
        peer: dict[str, Any] = (request.transport and request.transport.get_extra_info("peercert")) or {}
        names = dict(pair for part in peer.get("subject", ()) for pair in part)
        self.heard.append({**request.headers, "client": names.get("commonName", "")})
        self.arrived.set()
        if request.path == "/slow":
            await self.patience.wait()
        return web.Response()

    async def give(self, _: web.Request) -> web.Response:
        return web.json_response({"access_token": f"t{len(self.heard)}", "token_type": "bearer"})

    async def register(self, path: str = "/hook", **asked: Any) -> None:
        body = {"url": self.url + path, "events": ["ping"], **asked}
        async with self.database.workspace(self.workspace_id) as conn:
            made = await endpoints.create(conn, self.workspace_id, body, keyring=self.keyring, rules=Rules(LOOPBACK))
        self.webhook_id = made["webhook_id"]

    async def deliver(self, **options: Any) -> Json:
        """One ping through the loop: its first attempt, as the log has it."""
        engine, stop = DeliveryEngine(self.database, self.keyring, LOOPBACK, **options), asyncio.Event()
        task = asyncio.create_task(engine.run(stop))
        try:
            async with self.database.workspace(self.workspace_id) as conn:
                await publish(conn, self.workspace_id, "ping", {"webhook_id": self.webhook_id})
            await until(lambda: engine.counts.recorded > 0)
        finally:
            stop.set()
            await task
        async with self.database.workspace(self.workspace_id) as conn:
            (row, *_), _ = await deliveries.list_deliveries(conn, self.workspace_id, webhook_id=self.webhook_id)
            attempt: Json = (await deliveries.get(conn, self.workspace_id, row["delivery_id"]))["attempt_log"][0]
        return attempt


@asynccontextmanager
async def serving(rig: Rig, context: Any = None) -> AsyncIterator[Rig]:
    app = web.Application()
    app.router.add_post("/token", rig.give)
    app.router.add_post("/{path}", rig.hear)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        rig.url = f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}"
        yield rig
    finally:
        rig.patience.set()
        await runner.cleanup()


@pytest.fixture
async def bare(database: Database, keyring: KeyRing, workspace_id: str, admin: asyncpg.Connection[Any]) -> Rig:
    await admin.execute("UPDATE webhooks SET status = 'disabled'")
    return Rig(database, keyring, workspace_id)


@pytest.fixture
async def rig(bare: Rig) -> AsyncIterator[Rig]:
    async with serving(bare):
        yield bare


async def test_case_65_own_headers_arrive_beside_ours(rig: Rig) -> None:
    await rig.register(headers={"X-tEaM": "a", "X-Secret": "hush"}, auth={"kind": "bearer", "token": "hush-token"})
    attempt = await rig.deliver()
    assert (attempt["status_code"], attempt["error_code"]) == (200, "")
    (got,) = rig.heard
    assert (got["X-tEaM"], got["X-Secret"], got["Authorization"]) == ("a", "hush", "Bearer hush-token")
    assert got["webhook-id"].startswith("evt_")
    assert (got["Content-Type"], got["User-Agent"]) == ("application/json", "Parley-Webhooks/1")
    assert "hush" not in repr(attempt)


async def test_case_34_a_login_in_the_url_arrives_as_basic_auth(rig: Rig) -> None:
    host = rig.url.removeprefix("http://")
    rig.url = f"http://ann:p%40ss@{host}"
    await rig.register()
    await rig.deliver()
    assert rig.heard[0]["Authorization"] == "Basic " + base64.b64encode(b"ann:p@ss").decode()


async def test_a_token_is_fetched_for_the_delivery(rig: Rig) -> None:
    auth = {"kind": "oauth2", "token_url": rig.url + "/token", "client_id": "a", "client_secret": "b"}
    await rig.register(auth=auth)
    await rig.deliver()
    assert rig.heard[0]["Authorization"] == "Bearer t0"


async def test_a_token_that_does_not_come_is_a_failure_that_is_tried_again(rig: Rig) -> None:
    auth = {"kind": "oauth2", "token_url": rig.url + "/missing/token", "client_id": "a", "client_secret": "b"}
    await rig.register(auth=auth)
    attempt = await rig.deliver()
    assert (attempt["status_code"], attempt["error_code"]) == (None, "auth_error")
    assert attempt["next_attempt_at"]
    assert not rig.heard


async def test_a_client_certificate_is_shown(bare: Rig, tmp_path: Path) -> None:
    servers, clients = authority("Servers"), authority("Clients")
    own = clients.issue("parley")
    async with serving(bare, server_context(tmp_path, servers.issue("r"), clients)):
        await bare.register(tls={"certificate": own.certificate, "key": own.key, "ca": servers.certificate})
        assert (await bare.deliver())["status_code"] == 200
    assert [got["client"] for got in bare.heard] == ["parley"]


async def test_each_endpoint_has_a_timeout_of_its_own(rig: Rig) -> None:
    await rig.register("/slow", timeout_seconds=1)
    attempt = await rig.deliver()
    assert (attempt["status_code"], attempt["error_code"]) == (None, "timeout")
    assert len(rig.heard) == 1


async def test_an_empty_schedule_is_one_try(rig: Rig) -> None:
    rig.url = "http://127.0.0.1:1025"
    await rig.register(schedule=[])
    attempt = await rig.deliver()
    assert (attempt["error_code"], attempt["next_attempt_at"]) == ("connection_refused", None)


async def test_case_45_the_loop_goes_through_the_proxy(rig: Rig) -> None:
    port = int(rig.url.rpartition(":")[2])
    rig.url = "http://hooks.example.com"
    await rig.register()
    async with forwarding(port) as proxy:
        attempt = await rig.deliver(proxy=Proxy("http", "127.0.0.1", proxy.port))
    assert attempt["status_code"] == 200
    assert proxy.asked == ["hooks.example.com:80"]
    assert rig.heard[0]["Host"] == "hooks.example.com"


async def test_case_64_a_proxy_that_is_away_does_not_count_against_the_endpoint(
    rig: Rig, admin: asyncpg.Connection[Any]
) -> None:
    rig.url = "http://hooks.example.com"
    await rig.register()
    async with forwarding() as proxy:
        pass
    attempt = await rig.deliver(proxy=Proxy("http", "127.0.0.1", proxy.port))
    assert (attempt["error_code"], str(proxy.port) in repr(attempt)) == ("proxy_error", False)
    assert attempt["next_attempt_at"]
    streak = await admin.fetchval("SELECT streak FROM webhook_health WHERE webhook_id = $1", rig.webhook_id)
    assert not streak
