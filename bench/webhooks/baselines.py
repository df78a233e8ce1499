"""Other ways to send, as lean as hand-written ones are: `python -m bench.webhooks.baselines NAME URL COUNT`.

    bare   signed posts of one body, nothing stored; COUNT of them
    held   a transaction for each delivery, kept open while it is sent (as Hook0 does): SELECT … FOR UPDATE SKIP LOCKED,
           post, UPDATE and INSERT, COMMIT, on eighty connections; until it is stopped
    arq    an arq job for each delivery: SELECT, post, UPDATE and INSERT; a hundred at once; until it is stopped

The two that store sign with a secret that stands in the row, guard nothing and never try again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any, cast

import aiohttp
import asyncpg
import uvloop
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Worker, func

from webhooks.signing import new_secret, secret_key, signed_headers

QUEUE = "bench:deliveries"
TABLES = """
CREATE TABLE IF NOT EXISTS bench_deliveries (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL, url text NOT NULL,
    secret bytea NOT NULL, body bytea NOT NULL, status text NOT NULL DEFAULT 'pending',
    due_at timestamptz NOT NULL DEFAULT now(), settled_at timestamptz);
CREATE INDEX IF NOT EXISTS bench_deliveries_due ON bench_deliveries (due_at) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS bench_attempts (
    delivery_id bigint NOT NULL, attempt integer NOT NULL, started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL, status_code integer NOT NULL, response bytea NOT NULL,
    PRIMARY KEY (delivery_id, attempt));
TRUNCATE bench_deliveries, bench_attempts;
"""
OWE = "INSERT INTO bench_deliveries (event_id, url, secret, body) VALUES ($1, $2, $3, $4) RETURNING delivery_id"
_NEXT = """
SELECT delivery_id, event_id, url, secret, body FROM bench_deliveries WHERE status = 'pending' AND due_at <= now()
ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_ONE = "SELECT delivery_id, event_id, url, secret, body FROM bench_deliveries WHERE delivery_id = $1"
_DONE = """
WITH settled AS (UPDATE bench_deliveries SET status = 'delivered', settled_at = now() WHERE delivery_id = $1)
INSERT INTO bench_attempts VALUES ($1, 1, to_timestamp($2), $3, $4, $5)
"""
CONCURRENCY, CONNECTIONS, JOBS = 200, 80, 100
Execute = Any  # a connection or a pool


async def send(http: aiohttp.ClientSession, row: Any, to: Execute) -> None:
    """Posts one row, and notes it by `to`."""
    started, begun = time.time(), time.perf_counter()
    headers = signed_headers([row["secret"]], row["event_id"], int(started), row["body"])
    headers["content-type"] = "application/json"
    async with http.post(row["url"], data=row["body"], headers=headers) as response:
        answer = await response.read()
    spent = round((time.perf_counter() - begun) * 1_000)
    await to.execute(_DONE, row["delivery_id"], started, spent, response.status, answer)


async def bare(http: aiohttp.ClientSession, url: str, count: int) -> None:
    body, key, left = b'{"text":"' + b"x" * 900 + b'"}', secret_key(new_secret()), iter(range(count))

    async def lane() -> None:
        for number in left:
            headers = signed_headers([key], f"evt_{number}", int(time.time()), body)
            headers["content-type"] = "application/json"
            async with http.post(url, data=body, headers=headers) as response:
                await response.read()

    await asyncio.gather(*(lane() for _ in range(CONCURRENCY)))


async def held(http: aiohttp.ClientSession, dsn: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:

        async def lane() -> None:
            while True:
                async with pool.acquire() as conn, conn.transaction():
                    row = await conn.fetchrow(_NEXT)
                    if row:
                        await send(http, row, conn)
                if not row:
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))


async def arq(http: aiohttp.ClientSession, dsn: str, redis_url: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=10, max_size=10) as pool:

        async def deliver(_: dict[Any, Any], delivery_id: int) -> None:
            await send(http, await pool.fetchrow(_ONE, delivery_id), pool)

        worker = Worker(
            functions=[func(cast("WorkerCoroutine", deliver), name="deliver", keep_result=0)],
            queue_name=QUEUE,
            redis_pool=ArqRedis.from_url(redis_url),
            max_jobs=JOBS,
            keep_result=0,
            handle_signals=False,
        )
        await worker.async_run()


async def main(name: str, url: str, count: int) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: os._exit(0))
    dsn, redis_url = os.environ["DATABASE_ADMIN_URL"], os.environ["REDIS_URL"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as http:
        if name == "bare":
            await bare(http, url, count)
        elif name == "held":
            await held(http, dsn)
        else:
            await arq(http, dsn, redis_url)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
