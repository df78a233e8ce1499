"""What tests of the delivery log need: a receiver, an endpoint, events that are owed, an engine that delivers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from aiohttp import web

from kernel.db import Database
from kernel.events import publish
from kernel.secrets import KeyRing
from kernel.types import Json
from webhooks import claims, deliveries, endpoints
from webhooks.claims import Claim, Limits, Result
from webhooks.decide import Decision, Delivered, Exhausted, RetryAt
from webhooks.engine import DeliveryEngine
from webhooks.transport import Outcome

LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = Outcome(1_700_000_000.0, 3, 200)
DOWN = Outcome(1_700_000_000.0, 3, 500, "http_status", "", {"server": "x"}, b"oops")


class Receiver:
    """Keeps what arrives and answers by a script of (status, body), then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.script: Iterator[tuple[int, bytes]] = iter(())

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        status, body = next(self.script, (200, b"thanks"))
        return web.Response(status=status, body=body)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def delivering(database: Database, keyring: KeyRing) -> AsyncIterator[DeliveryEngine]:
    engine = DeliveryEngine(database, keyring, LOOPBACK, rand=lambda: 0.0, drain=2.0)
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    try:
        yield engine
    finally:
        stop.set()
        await task


async def until(holds: Callable[[], Awaitable[bool] | bool], seconds: float = 20.0) -> None:
    """Waits for a state to come, as long as a broken build would need to be noticed."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value if isinstance(value, bool) else await value:
            return
        assert time.monotonic() < deadline, "the expected state did not come"
        await asyncio.sleep(0.02)


async def add(database: Database, workspace_id: str, keyring: KeyRing, url: str, *types: str) -> str:
    async with database.workspace(workspace_id) as conn:
        made = await endpoints.register(
            conn, workspace_id, url, types or ("user.*", "session.*"), keyring=keyring, allow=LOOPBACK
        )
    return made[0]


async def emit(database: Database, workspace_id: str, count: int = 1, kind: str = "user.created") -> list[str]:
    async with database.workspace(workspace_id) as conn:
        return [await publish(conn, workspace_id, kind, {"user_id": f"usr_{n}"}) for n in range(count)]


async def claim(database: Database, most: int = 100) -> list[Claim]:
    async with database.anywhere() as conn:
        return await claims.claim(conn, Limits(most, most, most), 100, 30.0)


async def record(database: Database, *results: tuple[Claim, Outcome, Decision]) -> list[bool]:
    async with database.anywhere() as conn:
        return await claims.record(conn, [Result(*result) for result in results]) if results else []


async def settle(database: Database, *claimed: Claim) -> None:
    """Delivers the first, gives up the second, retries the third in an hour, and so on."""
    ends: list[tuple[Outcome, Decision]] = [
        (OK, Delivered()),
        (DOWN, Exhausted()),
        (DOWN, RetryAt(time.time() + 3_600)),
    ]
    if claimed:
        assert all(await record(database, *((one, *ends[n % 3]) for n, one in enumerate(claimed))))


async def log(database: Database, workspace_id: str, **wanted: Any) -> list[Json]:
    """Deliveries with their attempts, newest first."""
    async with database.workspace(workspace_id) as conn:
        page, _ = await deliveries.list_deliveries(conn, workspace_id, limit=10_000, **wanted)
        return [await deliveries.get(conn, workspace_id, row["delivery_id"]) for row in page]
