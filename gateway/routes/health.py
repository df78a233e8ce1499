"""Is the process alive, may it be sent traffic, and what does it measure."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar, Literal

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from redis.exceptions import RedisError

from channels import accounts
from gateway.metrics import TURNS_RUNNING
from gateway.web import Answer, Call, Face, Route, View
from kernel.db import AWAY
from kernel.errors import Unavailable
from kernel.migrate import pending
from kernel.types import Json
from pipeline import turns

_PATIENCE = 2.0
_COUNT_UP_TO = 10_000
_FRESH = 1.0

QUEUE_DEPTH = Gauge("parley_queue_depth", f"Rows that wait, counted up to {_COUNT_UP_TO}", ["queue"])
BOT_UP = Gauge("parley_bot_up", "Whether a bot is connected and hears, as last probed", ["account", "channel"])
QUEUE_OLDEST = Gauge("parley_queue_oldest_seconds", "Age of the oldest row that waits", ["queue"])

State = Literal["ok", "degraded"]


class Live(View):
    status: Literal["alive"]


class Bots(View):
    """`unwell`: their platform says that it cannot deliver, or refuses them. GET /api/v1/channels names them."""

    ok: int
    unwell: int


class Ready(View):
    """`degraded`: works, but slower than usual, because something that it can do without is away."""

    status: Literal["ready", "degraded"]
    checks: dict[str, State]
    bots: Bots


async def live(call: Call) -> dict[str, str]:
    return {"status": "alive"}


async def ready(call: Call) -> dict[str, object]:
    """Redis may be away: then turns go on unrecorded, so the gateway stays in service."""
    database, redis = await asyncio.gather(_database_fault(call.face), _redis_fault(call.face))
    if database:
        name, message = database
        raise Unavailable(f"{name}: {message}", details=[{"field": name, "message": message}], retry_after=2.0)
    await _Bots.look(call.face)
    checks = {"database": "ok", "migrations": "ok", "redis": "degraded" if redis else "ok"}
    return {"status": "degraded" if redis else "ready", "checks": checks, "bots": _Bots.counts()}


async def _database_fault(face: Face) -> tuple[str, str] | None:
    try:
        async with asyncio.timeout(_PATIENCE), face.services.ground.database.anywhere() as conn:
            missing = await pending(conn)
    except (*AWAY, asyncpg.PostgresError) as error:
        return "database", f"does not answer ({type(error).__name__})"
    return ("migrations", f"{missing} not applied; run `parley migrate`") if missing > 0 else None


async def _redis_fault(face: Face) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await face.services.ground.redis.ping()
    except (RedisError, OSError) as error:
        return type(error).__name__
    return None


class _Bots:
    """How every bot fares, looked up at most every few seconds."""

    until = 0.0
    rows: ClassVar[list[Json]] = []

    @classmethod
    async def look(cls, face: Face) -> None:
        if time.monotonic() < cls.until:
            return
        cls.until = time.monotonic() + _FRESH
        try:
            async with asyncio.timeout(_PATIENCE), face.services.ground.database.anywhere() as conn:
                cls.rows = await accounts.bots_health(conn)
        except (*AWAY, asyncpg.PostgresError):
            return
        BOT_UP.clear()
        for row in cls.rows:
            BOT_UP.labels(row["account_id"], row["kind"]).set(is_well(row))

    @classmethod
    def counts(cls) -> Json:
        well = sum(map(is_well, cls.rows))
        return {"ok": well, "unwell": len(cls.rows) - well}


def is_well(bot: Json) -> bool:
    """Whether a bot (a row of `channels.accounts.bots_health`) is connected and hears."""
    return bool(bot["status"] == "connected" and bot["health"].get("ok", True))


class _Depths:
    """Counted at most once a second, however often the page is read."""

    until = 0.0


async def metrics(call: Call) -> Answer:
    TURNS_RUNNING.set(call.services.runner.running)
    if time.monotonic() >= _Depths.until:
        _Depths.until = time.monotonic() + _FRESH
        await _count(call.face)
    await _Bots.look(call.face)
    return Answer(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _count(face: Face) -> None:
    try:
        async with asyncio.timeout(_PATIENCE), face.services.ground.database.anywhere() as conn:
            rows = await turns.queue_depths(conn, _COUNT_UP_TO)
    except (*AWAY, asyncpg.PostgresError):
        return  # the page stays readable; readiness is where the database's absence shows
    for row in rows:
        QUEUE_DEPTH.labels(row["queue"]).set(row["depth"])
        QUEUE_OLDEST.labels(row["queue"]).set(row["oldest"])


ROUTES = [
    Route("GET", "/health/live", live, "public", "The process runs", "health", response=Live),
    Route(
        "GET",
        "/health/ready",
        ready,
        "public",
        "The gateway can work; names the failing check otherwise",
        "health",
        response=Ready,
        errors=(Unavailable,),
    ),
    Route("GET", "/metrics", metrics, "public", "Metrics for Prometheus", "health", media="text/plain"),
]
