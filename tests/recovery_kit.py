"""A past for endpoints: events and settled deliveries of any age, and operations that are worked off to their end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import orjson
from aiohttp import web

from kernel.db import Connection, Database
from kernel.events import publish
from kernel.secrets import KeyRing
from kernel.types import Json
from webhooks import deliveries, endpoints, operations
from webhooks.engine import DeliveryEngine
from webhooks.operations import Held, State
from webhooks.recovery import Pace, work_operations
from webhooks.selection import Selection

LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = Pace(batch=50, busy=0.01, idle=0.02, most_due=100_000)
Admin = Connection


class Sink:
    """Counts what arrives by path and event; while `held` it answers nobody."""

    def __init__(self) -> None:
        self.got = Counter[tuple[str, str]]()
        self.order: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.free = asyncio.Event()
        self.free.set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        event_id = orjson.loads(body)["id"]
        self.got[request.path, event_id] += 1
        self.order.append(event_id)
        self.bodies[event_id] = body
        await self.free.wait()
        return web.Response(status=self.statuses.get(request.path, 200))

    def of(self, path: str) -> Counter[str]:
        return Counter({event: n for (at, event), n in self.got.items() if at == path})


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    receiver = Sink()
    app = web.Application()
    app.router.add_post("/{name}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield receiver
    finally:
        receiver.free.set()
        await runner.cleanup()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Waits for a state to come, as long as a broken build would need to be noticed."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, "the expected state did not come"
        await asyncio.sleep(0.02)


async def endpoint(database: Database, workspace_id: str, keyring: KeyRing, url: str, *patterns: str) -> str:
    async with database.workspace(workspace_id) as conn:
        made = await endpoints.register(conn, workspace_id, url, patterns or ("*",), keyring=keyring, allow=LOOPBACK)
    return made[0]


async def past(
    admin: Admin,
    workspace_id: str,
    webhook_id: str = "",
    count: int = 1,
    *,
    age: timedelta = timedelta(hours=1),
    status: str = "exhausted",
    attempts: int = 1,
    event_type: str = "user.created",
    error_code: str = "http_status",
) -> list[str]:
    """Events of this age, a millisecond apart, and where an endpoint is named what it was owed of them, and its end.

    Returns the ids of the deliveries, or of the events where no endpoint is named.
    """
    rows = await admin.fetch(
        """
        WITH made AS MATERIALIZED (
            SELECT n, id_from('evt', at) || right(new_id('x'), 20) AS event,
                id_from('dlv', at) || right(new_id('x'), 20) AS delivery, at
            FROM generate_series(1, $3::int) AS n,
                LATERAL (SELECT now() - $4::interval + n * interval '1 ms' AS at) AS t
        ), stored AS (
            INSERT INTO events (workspace_id, event_id, type, body, created_at)
            SELECT $1, event, $5, event_body(event, $5, $1, at, jsonb_build_object('n', n)), at FROM made
        ), owed AS (
            INSERT INTO webhook_deliveries_done (workspace_id, delivery_id, event_id, event_type, webhook_id, status,
                attempts, created_at, settled_at)
            SELECT $1, delivery, event, $5, $2, $6, $7, at, at FROM made WHERE $2 <> ''
        ), tried AS (
            INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, started_at, duration_ms, error_code,
                webhook_id)
            SELECT $1, delivery, attempt, at, 1, CASE WHEN $6 = 'delivered' THEN '' ELSE $8 END, $2
            FROM made, generate_series(1, $7::int) AS attempt WHERE $2 <> ''
        )
        SELECT CASE $2 WHEN '' THEN event ELSE delivery END FROM made ORDER BY n
        """,
        workspace_id,
        webhook_id,
        count,
        age,
        event_type,
        status,
        attempts,
        error_code,
    )
    return [row[0] for row in rows]


async def emit(database: Database, workspace_id: str, event_type: str = "user.created", **data: Any) -> str:
    async with database.workspace(workspace_id) as conn:
        return await publish(conn, workspace_id, event_type, data)


async def start(database: Database, workspace_id: str, chosen: Selection) -> Json:
    async with database.workspace(workspace_id) as conn:
        counts = await operations.count(conn, workspace_id, chosen)
        return await operations.start(conn, workspace_id, chosen, counts)


async def count(database: Database, workspace_id: str, chosen: Selection) -> operations.Counts:
    async with database.workspace(workspace_id) as conn:
        return await operations.count(conn, workspace_id, chosen)


async def seen(database: Database, workspace_id: str, operation: Json) -> Json:
    async with database.workspace(workspace_id) as conn:
        return await operations.get(conn, workspace_id, operation["operation_id"])


async def done(database: Database, workspace_id: str, operation: Json) -> int:
    """How many deliveries an operation has made due."""
    found: int = (await seen(database, workspace_id, operation))["done"]
    return found


async def advance(conn: Connection, held: Held, batch: int = 50, most_due: int = 1_000) -> State:
    return await operations.advance(conn, held, batch=batch, most_due=most_due, scan=1_000, lease_seconds=60.0)


async def ended(database: Database, workspace_id: str, operation: Json) -> Json:
    """Waits for the end of an operation that somebody works on."""

    async def over() -> bool:
        return (await seen(database, workspace_id, operation))["status"] not in ("queued", "running")

    await until(over)
    return await seen(database, workspace_id, operation)


async def status_of(database: Database, workspace_id: str, delivery_id: str) -> tuple[str, int]:
    """The state of a delivery and how many tries it has had."""
    async with database.workspace(workspace_id) as conn:
        found = await deliveries.get(conn, workspace_id, delivery_id)
    return found["status"], found["attempts"]


@asynccontextmanager
async def operating(database: Database, pace: Pace = QUICK) -> AsyncIterator[None]:
    """The operations loop, for as long as the block lasts."""
    stop = asyncio.Event()
    task = asyncio.create_task(work_operations(database, stop, pace))
    try:
        yield
    finally:
        stop.set()
        await task


@asynccontextmanager
async def delivering(database: Database, keyring: KeyRing) -> AsyncIterator[DeliveryEngine]:
    engine = DeliveryEngine(database, keyring, LOOPBACK)
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    try:
        yield engine
    finally:
        stop.set()
        await task


async def run(database: Database, workspace_id: str, chosen: Selection) -> Json:
    """Starts an operation and works it off."""
    operation = await start(database, workspace_id, chosen)
    async with operating(database):
        return await ended(database, workspace_id, operation)


def now() -> datetime:
    return datetime.now(UTC)


def ago(**span: float) -> datetime:
    return now() - timedelta(**span)
