"""How fast a worker process drains what is owed, beside other ways to send the same (drain rate).

Everything is owed before a sender starts. The clock runs from the first request that the receiver sees until the last
one is in, and recorded where the sender records. Rounds alternate; medians count.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from arq.connections import ArqRedis

from bench import process
from bench.goals import Outcome, above
from bench.stores import Stores
from bench.webhooks import baselines
from bench.webhooks.publishing import publish_many, workspace
from bench.webhooks.sink import Sink
from kernel.db import Database
from kernel.secrets import KeyRing
from webhooks.signing import new_secret, secret_key

WORKSPACES, ENDPOINTS = 16, 2  # a single workspace is held to 500 a second
_PATIENCE = 300.0
_OWED = "SELECT EXISTS (SELECT FROM webhook_deliveries WHERE status IN ('pending', 'leased'))"
_OWED_BENCH = "SELECT EXISTS (SELECT FROM bench_deliveries WHERE status = 'pending')"


@asynccontextmanager
async def sender(*arguments: str, environment: dict[str, str]) -> AsyncIterator[None]:
    """A process that sends, for as long as the block lasts; on whichever core is free."""
    child = await process.spawn(*arguments, core=process.ALL, environment=environment)
    try:
        yield
    finally:
        await process.stop(child)


def working(on: Stores) -> dict[str, str]:
    return on.environment(DATABASE_ADMIN_URL="", OPENAI_API_KEY="")


async def ours(on: Stores, sink: Sink, count: int, workers: int = 1) -> float:
    database, keyring = await Database.connect(on.app_url, size=2), KeyRing.parse(on.ring)
    try:
        for _ in range(WORKSPACES):
            urls = [f"{sink.url}/timed/{n}" for n in range(ENDPOINTS)]
            made = await workspace(database, keyring, urls)
            await publish_many(database, made, count // WORKSPACES // ENDPOINTS)
    finally:
        await database.close()
    rounded = count // WORKSPACES // ENDPOINTS * WORKSPACES * ENDPOINTS
    return await _clock(on, sink, rounded, _OWED, "gateway", "work", times=workers)


async def bare(on: Stores, sink: Sink, count: int) -> float:
    return await _clock(
        on, sink, count, "SELECT false", "bench.webhooks.baselines", "bare", f"{sink.url}/timed", str(count)
    )


async def held(on: Stores, sink: Sink, count: int) -> float:
    await _owe(on, sink, count)
    return await _clock(on, sink, count, _OWED_BENCH, "bench.webhooks.baselines", "held", "-", "0")


async def arq(on: Stores, sink: Sink, count: int) -> float:
    redis = ArqRedis.from_url(on.redis_url)
    for delivery_id in await _owe(on, sink, count):
        await redis.enqueue_job("deliver", delivery_id, _queue_name=baselines.QUEUE)
    await redis.aclose()
    return await _clock(on, sink, count, _OWED_BENCH, "bench.webhooks.baselines", "arq", "-", "0")


async def _owe(on: Stores, sink: Sink, count: int) -> list[int]:
    secret, body = secret_key(new_secret()), b'{"text":"' + b"x" * 900 + b'"}'
    async with on.admin() as conn:
        await conn.execute(baselines.TABLES)
        return [
            await conn.fetchval(baselines.OWE, f"evt_{number}", f"{sink.url}/timed", secret, body)
            for number in range(count)
        ]


async def _clock(on: Stores, sink: Sink, count: int, owed: str, *arguments: str, times: int = 1) -> float:
    """Deliveries a second by so many processes started with these arguments."""
    await sink.arrivals()
    already = await sink.count()
    loop = asyncio.get_running_loop()
    environment = working(on) | ({} if arguments[0] == "gateway" else {"DATABASE_ADMIN_URL": on.admin_url})
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(on.admin())
        for _ in range(times):
            await stack.enter_async_context(sender(*arguments, environment=environment))

        async def over() -> bool:
            return await sink.count() >= already + count and not await conn.fetchval(owed)

        async with asyncio.timeout(_PATIENCE):
            while await sink.count() == already:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            begun = loop.time()
            while not await over():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return count / (loop.time() - begun)


Way = Callable[[Stores, Sink, int], Awaitable[float]]


async def measure(on: Stores, sink: Sink, *, count: int, rounds: int) -> list[Outcome]:
    """W1: ours beside each baseline of the same run; those that are slow get fewer deliveries to do."""
    ways: list[tuple[str, Way, int]] = [
        ("bare aiohttp posts, nothing stored", bare, count),
        ("a transaction held for each delivery", held, count // 2),
        ("an arq job for each delivery", arq, count // 4),
    ]
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for _ in range(rounds):
        mine.append(await ours(on, sink, count))
        for name, way, some in ways:
            theirs[name].append(await way(on, sink, some))
    rate = statistics.median(mine)
    bars = [(0.45, 0.7), (1.5, 2.5), (4.0, 6.0)]
    found = [
        Outcome(
            "W1", "drain, one worker process", "", f"{rate:,.0f}/s", "≥ 2,000/s", "≥ 4,000/s",
            above(rate, 2_000, 4_000),
        )
    ]  # fmt: skip
    for (name, _, _), (floor, ambition) in zip(ways, bars, strict=True):
        base = statistics.median(theirs[name])
        ratio = statistics.median(a / b for a, b in zip(mine, theirs[name], strict=True))
        found.append(
            Outcome(
                "W1", f"… vs {name}", f"{base:,.0f}/s", f"{rate:,.0f}/s", f"≥ {floor}", f"≥ {ambition}",
                above(ratio, floor, ambition), by_rate=ratio,
            )
        )  # fmt: skip
    return found
