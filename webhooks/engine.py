"""The delivery loop: claim in batches, send side by side, record in batches. Postgres is all that it needs.

Nothing here owns an obligation: a loop that dies at any point leaves rows whose leases run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import structlog

from kernel.backoff import exponential
from kernel.db import AWAY, Connection, Database
from kernel.ratelimit import Rate
from kernel.secrets import KeyRing
from webhooks import claims, health
from webhooks.claims import LATE, Claim, Limits, Result
from webhooks.clock import StoreClock
from webhooks.decide import MAX_ATTEMPTS
from webhooks.guard import Network
from webhooks.limits import Buckets
from webhooks.proxy import Proxy
from webhooks.recorder import Recorder
from webhooks.sender import Sender
from webhooks.transport import Outcome, open_session

CHANNEL = "parley_deliveries"
_POLL = 0.25  # looks again this often while busy, in case a wake-up was lost
_IDLE = 5.0  # and this often at the latest when nothing is due
_PACE = 0.01  # between claims that find little room
_SWEEP, _UNPARK = 1.0, 60.0
_LEASE_MARGIN = 30.0
_RECORD_LAST = 5.0
# Of the slots: these are kept for late retries, and no more than those go to other retries. Half are for first tries.
_LATE_SHARE, _RETRY_SHARE = 0.15, 0.35
_AWAY = (*AWAY, asyncpg.PostgresError, asyncpg.InternalClientError)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """Totals since the start. `stale` are claims and results whose lease had passed on; `paced` were handed back for
    want of a token; `outcomes` is by error code, with 'ok' for a 2xx.
    """

    claimed: int = 0
    recorded: int = 0
    stale: int = 0
    reaped: int = 0
    released: int = 0
    paced: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)


class DeliveryEngine:
    """Delivers what is due until told to stop. Any number of them share the work.

    proxy           the way out, where there is no other
    redis           where buckets are shared; None keeps them in this process
    per_workspace   how fast one workspace may send, over all its endpoints
    slots           sends under way at once
    per_endpoint    leases that one endpoint may hold over all engines
    drain           seconds that a stop waits for tries under way
    """

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        egress_allow: Sequence[Network] = (),
        *,
        proxy: Proxy | None = None,
        redis: Any = None,
        per_workspace: Rate | None = None,
        slots: int = 200,
        per_endpoint: int = 64,
        drain: float = 10.0,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.counts = Counts()
        self._database = database
        self._keyring = keyring
        self._open_session = partial(open_session, egress_allow, concurrency=slots, proxy=proxy)
        self._buckets = Buckets(redis, per_workspace)
        self._late_slots = max(1, int(slots * _LATE_SHARE))
        self._slots = max(1, slots - self._late_slots)
        self._most = Limits(slots * 2, max(1, int(slots * _RETRY_SHARE)), self._late_slots)
        self._per_endpoint = per_endpoint
        self._drain_seconds = drain
        self._rand = rand
        # Waiting claims with the time until which a send fits into the lease: the usual ones, and the late retries.
        self._queue, self._late_queue = asyncio.Queue[tuple[Claim, float]](), asyncio.Queue[tuple[Claim, float]]()
        self._overdue: list[Claim] = []
        self._clock = StoreClock()
        self._recorder = Recorder(database, self._settled, rand, self._clock.now)
        self._sending = 0
        self._held = Counter[int]()  # claimed and not yet recorded, by kind: first try, retry, late retry
        self._low_water = 0
        self._trouble = 0
        self._wake = asyncio.Event()
        self._claimed_at = self._swept_at = self._unparked_at = float("-inf")
        self._sender: Sender

    @property
    def in_flight(self) -> int:
        """Deliveries claimed here and not recorded yet."""
        return self._held.total()

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set and what was under way is recorded or handed back."""
        recorder = asyncio.create_task(self._recorder.run())
        alarm = asyncio.create_task(self._wake_at(stop))
        lanes: list[asyncio.Task[None]] = []
        try:
            async with self._open_session() as session:
                self._sender = Sender(self._keyring, session, self._rand, self._clock.now)
                lanes += [asyncio.create_task(self._lane(self._queue)) for _ in range(self._slots)]
                lanes += [asyncio.create_task(self._lane(self._late_queue)) for _ in range(self._late_slots)]
                await self._claim_until(stop)
                await self._drain(lanes)
        finally:
            for task in (*lanes, alarm, recorder):
                task.cancel()
            await asyncio.gather(*lanes, alarm, recorder, return_exceptions=True)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # Claiming

    async def _claim_until(self, stop: asyncio.Event) -> None:
        """Claims on a connection of its own, which also listens; a lost one is replaced until `stop`."""
        while not stop.is_set():
            try:
                async with self._database.anywhere() as conn, self._listening(conn):
                    await self._claim_on(conn, stop)
            except _AWAY as error:
                self._trouble += 1
                log.warning("deliveries.claim_failed", error=type(error).__name__, attempt=self._trouble)
                pause = exponential(self._trouble, base=0.1, cap=5.0, rand=self._rand())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)

    @contextlib.asynccontextmanager
    async def _listening(self, conn: Connection) -> AsyncIterator[None]:
        def heard(*_: object) -> None:
            self._wake.set()

        conn.add_termination_listener(heard)
        await conn.add_listener(CHANNEL, heard)
        try:
            yield
        finally:
            conn.terminate()  # it may be broken in the midst of a query, so there is no polite way

    async def _claim_on(self, conn: Connection, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            pause = await self._claim_some(conn)
            self._trouble = 0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _claim_some(self, conn: Connection) -> float:
        """Claims what there is room for. Returns for how long to sleep unless woken."""
        await self._tend(conn)
        room = Limits(*(most - self._held[kind] for kind, most in enumerate(self._most)))
        if max(room) <= 0:
            return _POLL
        if room.first < self._slots // 4:
            await asyncio.sleep(self._claimed_at + _PACE - time.monotonic())
        self._claimed_at = time.monotonic()
        found = await claims.claim(
            conn, room, self._per_endpoint, _LEASE_MARGIN, self._buckets.rooms(), self._buckets.per_workspace
        )
        allowed, refused = await self._buckets.admit(found)
        self._take(allowed)
        if refused:
            self.counts.paced += await claims.release(conn, refused)
        if self.in_flight:
            return _POLL
        due = await claims.next_due(conn)
        return _IDLE if due is None else min(_IDLE, due or _POLL)

    def _take(self, found: Sequence[Claim]) -> None:
        latest = self._claimed_at + _LEASE_MARGIN / 2
        self.counts.claimed += len(found)
        for claim in found:
            self._held[_kind(claim)] += 1
            (self._late_queue if claim.attempt >= LATE else self._queue).put_nowait((claim, latest))
        self._low_water = self.in_flight - max(1, self.in_flight // 2)

    async def _tend(self, conn: Connection) -> None:
        """Takes back what others lost, hands back what came too late to be sent, lets nothing sleep on."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP:
            self._swept_at = now
            self._clock.set(await claims.store_time(conn), now)
            self.counts.reaped += await claims.sweep(conn, MAX_ATTEMPTS)
            await health.probe(conn)
        if now - self._unparked_at >= _UNPARK:
            self._unparked_at = now
            await claims.unpark(conn)
        if self._overdue:
            self.counts.released += await claims.release(conn, self._overdue)
            self._overdue = []

    # Sending

    async def _lane(self, queue: asyncio.Queue[tuple[Claim, float]]) -> None:
        """One slot: sends one delivery after the other and leaves the recording to the recorder."""
        while True:
            claim, latest = await queue.get()
            if time.monotonic() > latest:
                # Frozen or stuck for so long that the lease could end during the send.
                self.counts.stale += 1
                self._overdue.append(claim)
                self._let_go(claim)
                continue
            begun = self._clock.now()
            self._sending += 1
            try:
                self._recorder.add(await self._sender.deliver(claim))
            except asyncio.CancelledError:
                # Only a stop cancels a send. It may have arrived, so it is logged like any other.
                self._recorder.add(
                    self._cut_short(claim, begun, "interrupted", "the sender was stopped during this try")
                )
                raise
            except Exception as error:
                log.error("deliveries.lane_failed", delivery_id=claim.delivery_id, error=repr(error))
                self._recorder.add(self._cut_short(claim, begun, "unexpected_error", type(error).__name__))
            finally:
                self._sending -= 1

    def _cut_short(self, claim: Claim, begun: float, code: str, detail: str) -> Result:
        spent = round((self._clock.now() - begun) * 1_000)
        return self._sender.judge(claim, Outcome(begun, spent, None, code, detail))

    # Recording

    def _settled(self, result: Result, applied: bool) -> None:
        if applied:
            self.counts.recorded += 1
            self.counts.outcomes[result.outcome.error_code or "ok"] += 1
            self.counts.decisions[type(result.decision).__name__] += 1
        else:
            self.counts.stale += 1
        if result.claim.seq is not None:
            self._wake.set()  # the next of its lane may go
        self._let_go(result.claim)

    def _let_go(self, claim: Claim) -> None:
        self._held[_kind(claim)] -= 1
        if self.in_flight <= self._low_water:
            self._wake.set()

    # Stopping

    async def _drain(self, lanes: Sequence[asyncio.Task[None]]) -> None:
        """Hands back what waits, gives the tries under way their time, cuts the rest short, and records it all."""
        await self._hand_back()
        deadline = time.monotonic() + self._drain_seconds
        while self._sending and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(lanes, timeout=min(left, 0.02))
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.flush(), _RECORD_LAST)

    async def _hand_back(self) -> None:
        queues = (self._queue, self._late_queue)
        unsent = [queue.get_nowait()[0] for queue in queues for _ in range(queue.qsize())] + self._overdue
        if unsent:
            with contextlib.suppress(*_AWAY):
                async with self._database.anywhere() as conn:
                    self.counts.released += await claims.release(conn, unsent)


def _kind(claim: Claim) -> int:
    return 0 if claim.attempt == 1 else 1 if claim.attempt < LATE else 2
