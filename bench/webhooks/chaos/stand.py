"""What a fault run of the sender runs on: Postgres and workers, each behind a relay, and no Redis at all."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench.chaos.fleet import Keeper, program
from bench.webhooks.chaos.clock import Clock
from bench.webhooks.chaos.names import ALLOWED, SERVER, Names
from bench.webhooks.chaos.wire import Relay, Watch, relaying
from gateway.embedded.place import claim
from gateway.embedded.postgres import embedded_postgres
from kernel.db import AWAY
from kernel.migrate import migrate


@dataclass(frozen=True, slots=True)
class Lease:
    """Seconds that a try may take, and that its lease lasts beyond that; `told` is what a worker is told of it."""

    timeout: float
    margin: float
    told: str = ""

    @property
    def seconds(self) -> float:
        return self.timeout + self.margin


REAL = Lease(15.0, 30.0)
SHORT = Lease(3.0, 4.0, "4")


@dataclass
class Run:
    """A run's processes. `faults` counts what was done to them, `in_hand` the deliveries that were under lease then."""

    rand: random.Random
    folder: Path
    admin_url: str
    app_url: str
    lease: Lease
    clock: Clock
    names: Names
    keepers: dict[str, Keeper] = field(default_factory=dict)
    relays: dict[str, Relay] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    in_hand: Counter[str] = field(default_factory=Counter)
    frozen: set[str] = field(default_factory=set)

    @property
    def workers(self) -> list[str]:
        return [name for name in self.relays if name not in self.frozen]

    def at_work(self) -> bool:
        """Whether every worker claims, but for a frozen one."""
        return all(self.relays[name].claiming for name in self.workers)

    def pid(self, worker: str) -> int | None:
        return self.keepers[worker].pid

    def note(self, fault: str, in_hand: int = 0) -> None:
        self.faults[fault] += 1
        self.in_hand[fault] += in_hand

    async def slay(self, worker: str, fault: str) -> bool:
        """SIGKILL. False when there was nobody to kill. What it had under lease stays so, and is counted."""
        if not await self.keepers[worker].slay():
            return False
        self.note(fault, await self.held(worker))
        return True

    async def busiest(self) -> str:
        """The worker with the most in hand."""
        held = {worker: await self.held(worker) for worker in self.rand.sample(self.workers, len(self.workers))}
        return max(held, key=lambda worker: held[worker])

    async def freeze(self, worker: str, seconds: float) -> None:
        self.frozen.add(worker)
        self.keepers[worker].kill(signal.SIGSTOP)
        self.note("worker frozen past its lease", await self.held(worker))
        await asyncio.sleep(seconds)
        self.keepers[worker].kill(signal.SIGCONT)
        self.frozen.discard(worker)

    async def held(self, worker: str = "") -> int:
        """Deliveries under lease, of one worker or of all: in flight, waiting for that, or waiting to be recorded."""
        tokens = list(self.relays[worker].tokens) if worker else None
        return int(
            await self.ask(
                "SELECT count(*) FROM webhook_deliveries WHERE lease_token IS NOT NULL "
                "AND ($1::text[] IS NULL OR lease_token = ANY($1))",
                tokens,
            )
        )

    async def ask(self, sql: str, *arguments: object) -> int | float | str:
        """One value, by the superuser; waits for Postgres to come back."""
        while True:
            try:
                async with admin(self.admin_url) as conn:
                    value: int | float | str = await conn.fetchval(sql, *arguments)
                    return value
            except (*AWAY, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.1)


@asynccontextmanager
async def admin(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    conn = await asyncpg.connect(url, timeout=5)
    try:
        yield conn
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await conn.close(timeout=5)


@asynccontextmanager
async def standing(
    folder: Path, rand: random.Random, lease: Lease, names: tuple[Names, int], ring: str, watch: Watch, workers: int
) -> AsyncIterator[Run]:
    """Postgres runs, migrated; workers are started with `start`."""
    clock = Clock(folder)
    with claim(folder / "data") as place:
        postgres = embedded_postgres(place)
        run = Run(
            rand, folder, postgres.url, postgres.url.replace("//postgres@", "//parley:chaos@"), lease, clock, names[0]
        )
        shifted = {**(postgres.child.env or {}), **(clock.environment if clock.whole else {})}
        run.keepers["postgres"] = Keeper(
            dataclasses.replace(postgres.child, env=shifted), (folder / "postgres.log").open("wb")
        )
        async with AsyncExitStack() as stack:
            try:
                await run.keepers["postgres"].start()
                await migrate(run.admin_url, run.app_url)
                for number in range(1, workers + 1):
                    one = _worker(run, place.sockets, f"worker-{number}", names[1], ring, watch)
                    await stack.enter_async_context(one)
                yield run
            finally:
                for each in reversed(run.keepers.values()):
                    await each.stop()


@asynccontextmanager
async def _worker(run: Run, sockets: Path, name: str, names: int, ring: str, watch: Watch) -> AsyncIterator[None]:
    """Its keeper, and the relay on its way to Postgres."""
    home = run.folder / name
    home.mkdir()
    environment = {
        "DATABASE_URL": f"postgresql://parley:chaos@/parley?host={home}&port=5432",
        "REDIS_URL": f"unix://{run.folder}/nowhere.sock",
        "PARLEY_SECRET_KEYS": ring,
        "PARLEY_DATA_DIR": str(run.folder),
        "PARLEY_PUBLIC_URL": "http://127.0.0.1:1",
        "EGRESS_ALLOW": ALLOWED,
        "LOG_LEVEL": "WARNING",
        "DATABASE_ADMIN_URL": "",
        "OPENAI_API_KEY": "",
        "CHAOS_MARGIN": run.lease.told,
        SERVER: str(names),
        **run.clock.environment,
    }
    relay = run.relays[name] = Relay(name, watch, sockets / ".s.PGSQL.5432")
    spec = program(name, ["bench.webhooks.chaos.worker"], environment, run.folder)
    run.keepers[name] = Keeper(spec, (run.folder / f"{name}.log").open("wb"))
    async with relaying(relay, home / ".s.PGSQL.5432"):
        yield


async def start(run: Run, workers: Sequence[str]) -> None:
    await asyncio.gather(*(run.keepers[name].start() for name in workers))
