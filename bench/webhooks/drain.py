"""Outbound delivery with every attempt recorded, against a bare aiohttp POST of the same signed body (goal G10).

Both send from this process to one receiver in a process of its own; the figure is CPU time (user and system) of this
process for each request. Publishing is done before the clock starts. Rounds alternate; the median ratio counts.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.webhooks.publishing import LOOPBACK, publish_many, workspace
from bench.webhooks.sink import sink
from kernel.db import Database
from kernel.secrets import KeyRing, generate_ring
from webhooks.engine import DeliveryEngine
from webhooks.signing import new_secret, secret_key, signed_headers

_FLOOR, _GOAL = 0.55, 0.75
_WORKSPACES, _ENDPOINTS = 16, 4


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: requests, seconds on the clock, seconds of CPU."""

    requests: int
    wall: float
    cpu: float

    @property
    def micros(self) -> float:
        return self.cpu / self.requests * 1e6

    @property
    def rate(self) -> float:
        return self.requests / self.wall


async def bare(url: str, requests: int, concurrency: int) -> Cost:
    """Signs and posts a 1 KB body in `concurrency` loops; reads and drops the answers."""
    body = json.dumps({"id": "evt_x", "data": {"text": "x" * 900}}).encode()
    key = secret_key(new_secret())
    left = iter(range(requests))

    async def lane(session: aiohttp.ClientSession) -> None:
        for _ in left:
            headers = signed_headers([key], "evt_x", int(time.time()), body)
            headers["content-type"] = "application/json"
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(lane(session) for _ in range(concurrency)))
        return Cost(requests, time.perf_counter() - begun, time.process_time() - cpu)


async def outbox(database: Database, keyring: KeyRing, url: str, requests: int, concurrency: int) -> Cost:
    """Drains `requests` published deliveries to four endpoints of each workspace: claim, send, record."""
    await _publish(database, keyring, url, requests)
    engine = DeliveryEngine(database, keyring, LOOPBACK, slots=concurrency, per_endpoint=concurrency)
    stop = asyncio.Event()
    begun, cpu = time.perf_counter(), time.process_time()
    task = asyncio.create_task(engine.run(stop))
    while engine.counts.recorded < requests and not task.done():
        await asyncio.wait([task], timeout=0.005)
    cost = Cost(requests, time.perf_counter() - begun, time.process_time() - cpu)
    stop.set()
    await task
    if engine.counts.outcomes["ok"] != requests:
        raise RuntimeError(f"not every delivery was accepted: {engine.counts}")
    return cost


async def _publish(database: Database, keyring: KeyRing, url: str, requests: int) -> None:
    """Over several workspaces, because each is held to a rate of its own."""
    events, extra = divmod(requests // _ENDPOINTS, _WORKSPACES)
    for n in range(_WORKSPACES):
        made = await workspace(database, keyring, [url] * _ENDPOINTS)
        await publish_many(database, made, events + (n < extra))


async def measure(
    database: Database, *, requests: int = 8_000, concurrency: int = 200, rounds: int = 3
) -> dict[str, Any]:
    """Interleaved rounds; returns medians and the ratio of CPU costs, bare over outbox."""
    keyring = KeyRing.parse(generate_ring())
    async with sink() as at:
        url = f"{at.url}/hook"
        await bare(url, concurrency * 2, concurrency)
        await outbox(database, keyring, url, concurrency * 2, concurrency)
        pairs = [
            (await bare(url, requests, concurrency), await outbox(database, keyring, url, requests, concurrency))
            for _ in range(rounds)
        ]
    ratios = [plain.micros / ours.micros for plain, ours in pairs]
    return {
        "goal": "G10",
        "bare_cpu_us": round(statistics.median(plain.micros for plain, _ in pairs), 1),
        "outbox_cpu_us": round(statistics.median(ours.micros for _, ours in pairs), 1),
        "bare_per_second": round(statistics.median(plain.rate for plain, _ in pairs)),
        "outbox_per_second": round(statistics.median(ours.rate for _, ours in pairs)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "floor": _FLOOR,
        "ambition": _GOAL,
    }
