"""The worker process: webhook deliveries and bulk work on them, ingestion, and the sweep that finds lost wake-ups.

arq rings the bell for jobs. It ends when Redis goes away, so it is started again and again; the deliveries and the
sweep need Postgres only and go on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import orjson
from arq.worker import Worker, func
from redis.exceptions import RedisError

from gateway.services import Ground, open_ground
from kernel import keys, log
from kernel.db import AWAY
from kernel.queue import open_redis
from kernel.settings import Settings
from pipeline.knowledge.ingest import Ingester
from webhooks.engine import DeliveryEngine
from webhooks.limits import spread
from webhooks.proxy import read_proxy
from webhooks.recovery import work_operations
from webhooks.retention import keep_days

_log = log.get("worker")

_SWEEP = 2.0
_WORKSPACE_RATE = 500  # webhook deliveries that one workspace may send in a second
_AWAY = (*AWAY, TimeoutError, asyncpg.PostgresError)


async def work(settings: Settings, *, ready: Callable[[], None] = lambda: None) -> None:
    """Runs until SIGTERM or SIGINT; then finishes or hands back what is under way. Raises ConfigError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_ground(settings, name="parley-worker") as ground:
        ready()
        await run(ground, stop)


async def run(ground: Ground, stop: asyncio.Event) -> None:
    """The worker's parts side by side, until `stop`."""
    ingester = Ingester(ground.database, ground.embedder)
    settings = ground.settings
    engine = DeliveryEngine(
        ground.database,
        ground.ring,
        settings.egress_allow or (),
        proxy=read_proxy(settings.egress_proxy, settings.egress_direct) if settings.egress_proxy else None,
        redis=ground.redis,
        per_workspace=spread(_WORKSPACE_RATE, 1),
    )
    async with asyncio.TaskGroup() as parts:
        parts.create_task(engine.run(stop))
        parts.create_task(work_operations(ground.database, stop))
        parts.create_task(keep_days(ground.database, settings.webhook_retention_days, stop))
        parts.create_task(_listen(ground, ingester, stop))
        parts.create_task(_sweep(ingester, stop))
    await ingester.close()


async def _sweep(ingester: Ingester, stop: asyncio.Event) -> None:
    """Ingestion whose wake-up or whose worker was lost."""
    while not stop.is_set():
        try:
            await ingester.work_due()
        except _AWAY as error:
            _log.warning("worker.sweep_failed", error=str(error))
        except Exception:
            _log.exception("worker.sweep_broken")
        await _rest(stop, _SWEEP * (0.75 + random.random() / 2))


async def _listen(ground: Ground, ingester: Ingester, stop: asyncio.Event) -> None:
    """Hears arq's bell; when Redis is away, waits for it."""
    while not stop.is_set():
        try:
            await _arq(ground, ingester, stop)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("worker.redis_away", error=str(error))
        except Exception:
            _log.exception("worker.arq_failed")
        await _rest(stop, 0.5 + random.random())


async def _arq(ground: Ground, ingester: Ingester, stop: asyncio.Event) -> None:
    worker = Worker(
        functions=[func(_guarded(ingester.work), name="ingest", keep_result=0)],
        queue_name=keys.QUEUE,
        redis_pool=open_redis(ground.settings.redis_url),
        handle_signals=False,
        poll_delay=0.1,
        max_jobs=4,
        job_timeout=3600,
        keep_result=0,
        job_serializer=orjson.dumps,
        job_deserializer=orjson.loads,
        log_results=False,
    )
    listening, stopping = asyncio.create_task(worker.async_run()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()
    finally:
        stopping.cancel()
        listening.cancel()
        with contextlib.suppress(RedisError, OSError, TimeoutError, asyncio.CancelledError):
            await worker.close()
        await asyncio.gather(listening, stopping, return_exceptions=True)


def _guarded(job: Callable[[str], Awaitable[None]]) -> Any:
    """A job as arq wants it. Whatever goes wrong, the row is still there for the sweep."""

    async def run_job(_: dict[str, Any], row_id: str) -> None:
        try:
            await job(row_id)
        except Exception:
            _log.exception("worker.job_failed", row=row_id)

    return run_job


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
