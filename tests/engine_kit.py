"""Deliveries in tests: a receiver that answers by a script, an engine that runs, and short ways to claim and record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import asyncpg
from aiohttp import web

from kernel.db import Database
from kernel.events import publish
from kernel.secrets import KeyRing
from kernel.types import Json
from webhooks import claims, deliveries, endpoints
from webhooks.claims import Claim, Limits, Result
from webhooks.decide import MAX_ATTEMPTS, Decision, Exhausted, RetryAt
from webhooks.engine import DeliveryEngine
from webhooks.transport import Outcome

LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = Outcome(1_700_000_000.0, 3, 200)
DOWN = Outcome(1_700_000_000.0, 3, 500, "http_status", "", {"server": "x"}, b"oops")


class Receiver:
    """Keeps what arrives and answers by a script of statuses per path, 200 at the end of it; 0 never answers."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.scripts: dict[str, Iterator[int]] = {}
        self.headers: dict[str, str] = {}
        self.peers: set[tuple[str, int]] = set()
        self.at_once = self.most_at_once = 0
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport
        self.peers.add(request.transport.get_extra_info("peername")[:2])
        self.got.append((request.path, dict(request.headers), await request.read()))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.arrived.set()
        try:
            status = next(self.scripts.get(request.path, iter(())), 200)
            if not status:
                await self.released.wait()
            return web.Response(status=status or 200, headers=self.headers, text="thanks")
        finally:
            self.at_once -= 1

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{name}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()


async def owe_nothing(admin: asyncpg.Connection[Any]) -> None:
    """Claims span workspaces, so what other tests left owing must not be in the way."""
    await admin.execute("UPDATE webhooks SET status = 'disabled', disabled_reason = 'by a test'")
    await admin.execute(
        "UPDATE webhook_deliveries "
        "SET status = 'cancelled', lease_token = NULL, lease_until = NULL, settled_at = now() WHERE settled_at IS NULL"
    )


@asynccontextmanager
async def running(database: Database, keyring: KeyRing, **options: Any) -> AsyncIterator[DeliveryEngine]:
    engine = DeliveryEngine(database, keyring, LOOPBACK, rand=lambda: 0.0, **{"drain": 2.0, **options})
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    try:
        yield engine
    finally:
        stop.set()
        await task


async def until(holds: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a state to come, as long as a broken build would need to be noticed."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value if isinstance(value, bool) else await value:
            return
        assert time.monotonic() < deadline, "the expected state did not come"
        await asyncio.sleep(0.02)


async def add(
    database: Database, workspace_id: str, keyring: KeyRing, url: str, *events: str, **more: Any
) -> tuple[str, str]:
    """An endpoint. `more` is what may be asked for besides."""
    async with database.workspace(workspace_id) as conn:
        return await endpoints.register(
            conn, workspace_id, url, events or ("*",), keyring=keyring, allow=LOOPBACK, **more
        )


async def emit(database: Database, workspace_id: str, count: int = 1) -> None:
    async with database.workspace(workspace_id) as conn:
        for n in range(count):
            await publish(conn, workspace_id, "user.created", {"n": n})


async def log(database: Database, workspace_id: str, event_type: str = "") -> list[Json]:
    """Deliveries with their tries, newest first."""
    async with database.workspace(workspace_id) as conn:
        page, _ = await deliveries.list_deliveries(conn, workspace_id, limit=10_000, event_type=event_type)
        return [await deliveries.get(conn, workspace_id, row["delivery_id"]) for row in page]


async def claim(
    database: Database,
    first: int = 100,
    retry: int = 100,
    late: int = 100,
    cap: int = 100,
    rooms: Mapping[str, int] = {},
) -> list[Claim]:
    async with database.anywhere() as conn:
        return await claims.claim(conn, Limits(first, retry, late), cap, 30.0, rooms)


async def record(database: Database, *results: tuple[Claim, Outcome, Decision]) -> list[bool]:
    async with database.anywhere() as conn:
        return await claims.record(conn, [Result(*result) for result in results])


async def fail(database: Database, *held: Claim, at: float | None = 1.0) -> None:
    """Notes that these tries failed; the next one is due at an epoch second, or there is none."""
    decision = Exhausted() if at is None else RetryAt(at)
    assert await record(database, *((item, DOWN, decision) for item in held)) == [True] * len(held)


async def sweep(database: Database) -> int:
    async with database.anywhere() as conn:
        return await claims.sweep(conn, MAX_ATTEMPTS)


async def end_leases(admin: asyncpg.Connection[Any], workspace_id: str) -> None:
    await admin.execute(
        "UPDATE webhook_deliveries SET lease_until = now() - interval '1 second' "
        "WHERE workspace_id = $1 AND status = 'leased'",
        workspace_id,
    )


async def make_due(admin: asyncpg.Connection[Any], workspace_id: str) -> None:
    await admin.execute("UPDATE webhook_deliveries SET due_at = now() WHERE workspace_id = $1", workspace_id)
    await admin.execute("SELECT pg_notify('parley_deliveries', '')")
