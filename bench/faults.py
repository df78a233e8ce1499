"""What goes wrong in a fault run, and the run that it happens to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.fleet import Keeper
from kernel.queue import open_redis

LEASE = 3.0  # seconds that a silent gateway keeps its turns


@dataclass
class Run:
    """A run's processes and what it knows about them."""

    seed: random.Random
    admin_url: str
    app_url: str
    redis_url: str
    simulator_url: str
    gateway_url: str
    keepers: dict[str, Keeper] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    bad_signatures: int = 0

    def note(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1


async def kill_gateway(run: Run) -> None:
    run.keepers[run.seed.choice(["gateway-1", "gateway-2"])].kill(signal.SIGKILL)


async def freeze_gateway(run: Run) -> None:
    """Longer than its lease: others take over; when it wakes, the database refuses what it still wants to write."""
    keeper = run.keepers[run.seed.choice(["gateway-1", "gateway-2"])]
    keeper.kill(signal.SIGSTOP)
    await asyncio.sleep(LEASE + 1.5)
    keeper.kill(signal.SIGCONT)


async def kill_worker(run: Run) -> None:
    run.keepers[run.seed.choice(["worker-1", "worker-2"])].kill(signal.SIGKILL)


async def restart_postgres(run: Run) -> None:
    run.keepers["postgres"].kill(signal.SIGINT)


async def crash_postgres(run: Run) -> None:
    run.keepers["postgres"].kill(signal.SIGQUIT)


async def empty_redis(run: Run) -> None:
    redis = open_redis(run.redis_url)
    with contextlib.suppress(Exception):
        await redis.flushall()
    await redis.aclose()


async def kill_redis(run: Run) -> None:
    run.keepers["redis"].kill(signal.SIGKILL)


FAULTS: dict[str, tuple[int, Callable[[Run], Awaitable[None]]]] = {
    "gateway kill -9": (5, kill_gateway),
    "gateway frozen past its lease": (1, freeze_gateway),
    "worker kill -9": (3, kill_worker),
    "postgres restart": (2, restart_postgres),
    "postgres crash": (1, crash_postgres),
    "redis emptied": (3, empty_redis),
    "redis kill -9": (1, kill_redis),
}


async def trouble(run: Run, done: asyncio.Event, pause: float) -> None:
    """One fault after the other until everything is written. Each kind comes at least once if there is time."""
    names, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
    order = run.seed.sample(names, len(names))
    while not done.is_set():
        await asyncio.sleep(run.seed.uniform(0.5, 1.5) * pause)
        name = order.pop() if order else run.seed.choices(names, weights)[0]
        run.note(name)
        await FAULTS[name][1](run)
