"""How late retries are, and what a dead neighbour with a long queue does to the others."""

from __future__ import annotations

import asyncio
import time

from bench.goals import Outcome, below, percentile
from bench.stores import Stores
from bench.webhooks.latency import Times, first, paced
from bench.webhooks.publishing import DATA, EVENT, add_endpoints, publish_many, workspace
from bench.webhooks.rates import sender, working
from bench.webhooks.sink import Sink
from kernel.db import Database
from kernel.events import publish
from kernel.secrets import KeyRing

_DEAD_EVENT = "document.indexed"
_DUE = """
SELECT d.event_id, extract(epoch FROM a.next_attempt_at)::float8 AS due
FROM webhook_attempts a JOIN all_deliveries d USING (workspace_id, delivery_id)
WHERE a.attempt = 1 AND a.next_attempt_at IS NOT NULL AND d.workspace_id = $1
"""
_FIRST_RETRY = 8.0  # seconds within which it comes: 5 and a fifth of that, and some for the way


async def lateness(on: Stores, sink: Sink, *, rate: float, seconds: float) -> Outcome:
    """W4: a third of the first tries fail; from the time that their next one is due to its receipt."""
    database, keyring = await Database.connect(on.app_url, size=10), KeyRing.parse(on.ring)
    try:
        made = await workspace(database, keyring, [f"{sink.url}/flaky"])

        async def create(_: int) -> str:
            async with database.workspace(made) as conn:
                return await publish(conn, made, EVENT, DATA)

        await sink.arrivals()
        async with sender("gateway", "work", environment=working(on)):
            begun = time.time()
            for number in range(round(rate * seconds)):
                await asyncio.sleep(max(0.0, begun + number / rate - time.time()))
                await create(number)
            await asyncio.sleep(_FIRST_RETRY)
        second = {arrival.event_id: arrival.at for arrival in await sink.arrivals() if arrival.try_ == 2}
        async with on.admin() as conn:
            due = {row["event_id"]: row["due"] for row in await conn.fetch(_DUE, made)}
    finally:
        await database.close()
    late = [second[event_id] - at for event_id, at in due.items() if event_id in second]
    if len(late) < len(due) * 0.99 or min(late, default=-1) < -0.001:
        raise RuntimeError(
            f"{len(due)} retries were due and {len(late)} came, the first after {min(late, default=0)} s"
        )
    p99 = percentile(late, 0.99)
    return Outcome(
        "W4", f"retries at {rate / 3:.0f}/s, lateness p99", "", f"{p99 * 1_000:.0f} ms", "≤ 1,000 ms", "≤ 300 ms",
        below(p99, 1.0, 0.3), note=f"of {len(late)}; none came early",
    )  # fmt: skip


async def neighbour(on: Stores, sink: Sink, *, rows: int, rate: float, seconds: float, rounds: int) -> Outcome:
    """W5: an endpoint's times beside one that never answers and is owed so many, and with that one disabled; windows
    alternate. A window before there are any such rows is told beside."""
    database, keyring = await Database.connect(on.app_url, size=10), KeyRing.parse(on.ring)
    try:
        made = await workspace(database, keyring, [f"{sink.url}/timed"])

        async def create(_: int) -> str:
            async with database.workspace(made) as conn:
                return await publish(conn, made, EVENT, DATA)

        async def window(dead: str = "") -> Times:
            if dead:
                async with on.admin() as conn:
                    await conn.execute("UPDATE webhooks SET status = $1 WHERE url = $2", dead, f"{sink.url}/dead")
            async with sender("gateway", "work", environment=working(on)):
                await first(sink, create)
                return await paced(sink, create, rate, seconds)

        before = await window()
        await add_endpoints(database, keyring, made, [f"{sink.url}/dead"], _DEAD_EVENT)
        await publish_many(database, made, rows, _DEAD_EVENT)
        windows = [(await window("disabled"), await window("enabled")) for _ in range(rounds)]
    finally:
        await database.close()
        async with on.admin() as conn:
            await conn.execute("UPDATE webhooks SET status = 'disabled'")
    alone, beside = _together([one for one, _ in windows]), _together([one for _, one in windows])
    ratio = percentile(beside.received, 0.95) / percentile(alone.received, 0.95)
    return Outcome(
        "W5", f"endpoint at {rate:g}/s beside a dead one with {rows:,} due, p50 / p95 / p99; vs that one disabled",
        alone.told(), beside.told(), "p95 × ≤ 1.2", "p95 × ≤ 1.05",
        "BELOW" if beside.missing else below(ratio, 1.2, 1.05), by_rate=1 / ratio,
        note=f"ratio of p95, disabled over dead; before there were any such rows: {before.told()}",
    )  # fmt: skip


def _together(several: list[Times]) -> Times:
    return Times(
        [one for times in several for one in times.received],
        [one for times in several for one in times.created],
        sum(times.missing for times in several),
    )
