"""arq behind one door. A job is a wake-up: it carries one row's id or nothing, and may be lost or run twice.

What the row says decides; a sweep in every worker finds rows whose wake-up was lost. So a failed `wake` is logged
and forgotten: it costs latency, never work.
"""

from __future__ import annotations

from typing import Any

import orjson
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from kernel import keys, log

_log = log.get("queue")


def open_redis(url: str, *, decode: bool = False) -> ArqRedis:
    """A Redis client that connects at first use, for the queue and everything else."""
    pool: ArqRedis = ArqRedis.from_url(
        url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=30, decode_responses=decode
    )
    pool.default_queue_name = keys.QUEUE
    pool.job_serializer, pool.job_deserializer = orjson.dumps, orjson.loads  # arq's own choice would be pickle
    pool.expires_extra_ms = 86_400_000
    return pool


async def wake(redis: ArqRedis, job: str, row_id: str | None = None) -> None:
    """Asks a worker to look at a row soon. Doubled wake-ups for one row are folded by the job id."""
    args: tuple[Any, ...] = () if row_id is None else (row_id,)
    try:
        await redis.enqueue_job(job, *args, _job_id=f"{job}:{row_id or ''}", _expires=3600)
    except (RedisError, OSError, TimeoutError) as error:
        _log.warning("queue.wake_lost", job=job, row=row_id, error=str(error))
