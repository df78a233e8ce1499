"""From the call that creates an event to its receipt, at a fixed rate; beside bare posts and an arq job for each.

Each event is created in a task of its own, when it is due, so that a slow one cannot hide behind its own slowness.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import asyncpg
from arq.connections import ArqRedis

from bench.goals import Outcome, below, judge, percentile
from bench.stores import Stores
from bench.webhooks import baselines
from bench.webhooks.publishing import DATA, EVENT, workspace
from bench.webhooks.rates import sender, working
from bench.webhooks.sink import Sink
from kernel.db import Database
from kernel.events import publish
from kernel.secrets import KeyRing
from webhooks.signing import new_secret, secret_key, signed_headers

_SETTLE = 20.0  # seconds that the last ones get
_WARM = 1.0


@dataclass
class Times:
    """Milliseconds: from the time a create was due to the receipt, and for the create itself."""

    received: list[float] = field(default_factory=list)
    created: list[float] = field(default_factory=list)
    missing: int = 0

    def told(self) -> str:
        return "{:.0f} / {:.0f} / {:.0f} ms".format(*(percentile(self.received, share) for share in (0.5, 0.95, 0.99)))


Create = Callable[[int], Awaitable[str]]
"""Makes the event of this number and returns its id."""


async def paced(sink: Sink, create: Create, rate: float, seconds: float) -> Times:
    """What comes in the first second warms up and is not counted."""
    await sink.arrivals()
    due: dict[str, float] = {}
    times, tasks = Times(), set[asyncio.Task[None]]()
    begun = time.time()

    async def one(number: int, at: float) -> None:
        called = time.perf_counter()
        event_id = await create(number)
        if at - begun >= _WARM:
            due[event_id] = at
            times.created.append((time.perf_counter() - called) * 1_000)

    for number in range(round(rate * (seconds + _WARM))):
        at = begun + number / rate
        await asyncio.sleep(max(0.0, at - time.time()))
        tasks.add(asyncio.create_task(one(number, at)))
    await asyncio.gather(*tasks)
    seen: dict[str, float] = {}
    deadline = time.time() + _SETTLE
    while due.keys() - seen.keys() and time.time() < deadline:
        await asyncio.sleep(0.1)
        for arrival in await sink.arrivals():
            seen.setdefault(arrival.event_id, arrival.at)
    times.received = [(seen[event_id] - at) * 1_000 for event_id, at in due.items() if event_id in seen]
    times.missing = len(due.keys() - seen.keys())
    if not times.received:
        raise RuntimeError("nothing arrived")
    return times


async def ours(on: Stores, sink: Sink, rate: float, seconds: float) -> Times:
    database, keyring = await Database.connect(on.app_url, size=10), KeyRing.parse(on.ring)
    try:
        made = await workspace(database, keyring, [f"{sink.url}/timed"])

        async def create(_: int) -> str:
            async with database.workspace(made) as conn:
                return await publish(conn, made, EVENT, DATA)

        async with sender("gateway", "work", environment=working(on)):
            await first(sink, create)
            return await paced(sink, create, rate, seconds)
    finally:
        await database.close()


async def bare(on: Stores, sink: Sink, rate: float, seconds: float) -> Times:
    """The floor: whoever makes the event posts it."""
    body, key = b'{"text":"' + b"x" * 900 + b'"}', secret_key(new_secret())
    async with aiohttp.ClientSession() as http:

        async def create(number: int) -> str:
            headers = signed_headers([key], f"evt_{number}", int(time.time()), body)
            async with http.post(f"{sink.url}/timed", data=body, headers=headers) as response:
                await response.read()
            return f"evt_{number}"

        return await paced(sink, create, rate, seconds)


async def arq(on: Stores, sink: Sink, rate: float, seconds: float) -> Times:
    secret, body = secret_key(new_secret()), b'{"text":"' + b"x" * 900 + b'"}'
    redis = ArqRedis.from_url(on.redis_url)
    async with asyncpg.create_pool(on.admin_url, min_size=10, max_size=10) as pool:
        await pool.execute(baselines.TABLES)

        async def create(number: int) -> str:
            delivery_id = await pool.fetchval(baselines.OWE, f"evt_{number}", f"{sink.url}/timed", secret, body)
            await redis.enqueue_job("deliver", delivery_id, _queue_name=baselines.QUEUE)
            return f"evt_{number}"

        environment = working(on) | {"DATABASE_ADMIN_URL": on.admin_url}
        try:
            async with sender("bench.webhooks.baselines", "arq", "-", "0", environment=environment):
                await first(sink, create)
                return await paced(sink, create, rate, seconds)
        finally:
            await redis.aclose()


async def first(sink: Sink, create: Create) -> None:
    """Returns when a first event has arrived: the sender is there."""
    before = await sink.count()
    await create(0)
    async with asyncio.timeout(60):
        while await sink.count() == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def measure(on: Stores, sink: Sink, *, rates: tuple[float, ...], seconds: float) -> list[Outcome]:
    """W2 at each rate, and W3: what a create costs, its rows for endpoints included."""
    found, created = [], list[float]()
    for rate in rates:
        posts = await bare(on, sink, rate, seconds)
        jobs = await arq(on, sink, rate, seconds)
        mine = await ours(on, sink, rate, seconds)
        created += mine.created
        found.append(_outcome(rate, posts, jobs, mine))
    p95 = percentile(created, 0.95)
    found.append(Outcome("W3", "create with its rows, p95", "", f"{p95:.1f} ms", "≤ 8 ms", "≤ 4 ms", below(p95, 8, 4)))
    return found


def _outcome(rate: float, posts: Times, jobs: Times, mine: Times) -> Outcome:
    bars = ((0.5, 15, 10), (0.95, 40, 20), (0.99, 120, 60))
    verdicts = [below(percentile(mine.received, share), floor, ambition) for share, floor, ambition in bars]
    return Outcome(
        "W2",
        f"create to received at {rate:g}/s, p50 / p95 / p99; vs an arq job for each",
        jobs.told(),
        mine.told(),
        "≤ 15 / 40 / 120 ms",
        "≤ 10 / 20 / 60 ms",
        judge(*verdicts, "BELOW" if mine.missing else "ambition"),
        by_rate=percentile(jobs.received, 0.95) / percentile(mine.received, 0.95),
        note=f"ratio of p95; at {rate:g}/s a bare post by whoever creates the event takes {posts.told()}",
    )
