"""The delivery loop: claim in batches, send side by side, record in batches. Postgres is all that it needs.

Nothing here owns an obligation: a loop that dies at any point leaves rows whose leases run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import asyncpg
import structlog

from kernel.backoff import exponential
from kernel.batcher import NaturalBatcher
from kernel.db import AWAY, Connection, Database, row_fault
from kernel.secrets import KeyRing, SealBroken, place
from webhooks import claims
from webhooks.claims import Claim, Result
from webhooks.decide import MAX_ATTEMPTS, decide
from webhooks.guard import Network
from webhooks.signing import secret_key, signed_headers
from webhooks.transport import Outcome, open_session, post, timeouts

CHANNEL = "parley_deliveries"
_POLL = 0.25  # looks again this often while busy, in case a wake-up was lost
_IDLE = 5.0  # and this often at the latest when nothing is due
_PACE = 0.01  # between claims that find little room
_SWEEP = 1.0
_LEASE_MARGIN = 30.0
_RECORD_LAST = 5.0
_AWAY = (*AWAY, asyncpg.PostgresError)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """Totals since the start. `stale` are claims and results whose lease had passed on; `outcomes` is by error code,
    with 'ok' for a 2xx.
    """

    claimed: int = 0
    recorded: int = 0
    stale: int = 0
    reaped: int = 0
    released: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)


class DeliveryEngine:
    """Delivers what is due until told to stop. Any number of them share the work.

    slots           sends under way at once
    per_endpoint    leases that one endpoint may hold over all engines
    timeout         seconds for one try, from the name look-up to the end of the answer
    drain           seconds that a stop waits for tries under way
    """

    def __init__(
        self,
        database: Database,
        keyring: KeyRing,
        egress_allow: Sequence[Network] = (),
        *,
        slots: int = 200,
        per_endpoint: int = 64,
        timeout: float = 15.0,
        drain: float = 10.0,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.counts = Counts()
        self._database = database
        self._keyring = keyring
        self._allow = egress_allow
        self._slots = slots
        self._per_endpoint = per_endpoint
        self._lease = timeout + _LEASE_MARGIN
        self._timeouts = timeouts(timeout, min(5.0, timeout))
        self._drain_seconds = drain
        self._rand = rand
        self._keys: dict[tuple[str, tuple[bytes, ...]], list[bytes]] = {}
        self._waiting: deque[tuple[Claim, float]] = deque()  # with the time after which a send could outlive its lease
        self._senders: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._held = Counter[bool]()  # claimed and not yet recorded, by "is a retry"
        self._low_water = 0
        self._wake = asyncio.Event()
        self._claimed_at = self._swept_at = float("-inf")

        self._session: aiohttp.ClientSession
        self._records: NaturalBatcher[Result, bool]

    @property
    def in_flight(self) -> int:
        """Deliveries claimed here and not recorded yet."""
        return self._held.total()

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set and what was under way is recorded or handed back."""
        self._records = NaturalBatcher[Result, bool](self._record, splits=row_fault)
        listener = asyncio.create_task(self._listen())
        alarm = asyncio.create_task(self._wake_at(stop))
        try:
            async with open_session(self._allow, concurrency=self._slots) as self._session:
                await self._claim_until(stop)
                await self._drain()
        finally:
            self._waiting.clear()
            tasks = (listener, alarm, *self._senders, *self._settling)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # Claiming

    async def _claim_until(self, stop: asyncio.Event) -> None:
        trouble = 0
        while not stop.is_set():
            self._wake.clear()
            try:
                pause = await self._claim_some()
                trouble = 0
            except _AWAY as error:
                trouble += 1
                pause = exponential(trouble, base=0.1, cap=5.0, rand=self._rand())
                log.warning("deliveries.claim_failed", error=type(error).__name__, attempt=trouble)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait() if trouble else self._wake.wait(), pause)

    async def _claim_some(self) -> float:
        """Claims what there is room for. Returns for how long to sleep unless woken."""
        await self._sweep()
        first, retry = self._slots * 5 // 4 - self._held[False], self._slots // 2 - self._held[True]
        if first <= 0 and retry <= 0:
            return _POLL
        if max(first, retry) < self._slots // 4:
            await asyncio.sleep(self._claimed_at + _PACE - time.monotonic())
        self._claimed_at = time.monotonic()
        found = await claims.claim(self._database, max(0, first), max(0, retry), self._per_endpoint, self._lease)
        self._take(found)
        if self.in_flight:
            return _POLL
        due = await claims.next_due(self._database)
        return _IDLE if due is None else min(_IDLE, due or _POLL)

    def _take(self, found: Sequence[Claim]) -> None:
        latest = self._claimed_at + _LEASE_MARGIN / 2
        self.counts.claimed += len(found)
        for claim in found:
            self._held[claim.attempt > 1] += 1
            self._waiting.append((claim, latest))
        self._low_water = self.in_flight - max(1, self.in_flight // 4)
        for _ in range(min(len(self._waiting), self._slots - len(self._senders))):
            task = asyncio.create_task(self._send_waiting())
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept_at >= _SWEEP:
            self._swept_at = time.monotonic()
            self.counts.reaped += await claims.sweep(self._database, MAX_ATTEMPTS)

    # Sending

    async def _send_waiting(self) -> None:
        while self._waiting:
            claim, latest = self._waiting.popleft()
            if time.monotonic() > latest:
                self.counts.stale += 1  # frozen or stuck for so long that the lease could end during the send
                self._let_go(claim)
                continue
            result = await self._deliver(claim)
            task = asyncio.create_task(self._settle(result))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def _deliver(self, claim: Claim) -> Result:
        now = time.time()
        try:
            headers = signed_headers(self._open(claim), claim.event_id, int(now), claim.body)
        except (SealBroken, ValueError):
            outcome = Outcome(now, 0, None, "secret_unreadable", "the signing secret cannot be opened")
        else:
            headers["content-type"] = "application/json"
            outcome = await self._post(claim, headers)
        return Result(claim, outcome, decide(claim.attempt, outcome, time.time(), self._rand()))

    async def _post(self, claim: Claim, headers: dict[str, str]) -> Outcome:
        begun = time.time()
        try:
            return await post(self._session, claim.url, headers, claim.body, self._timeouts)
        except asyncio.CancelledError:
            # Only a stop cancels; the try may have arrived, so it is logged like any other.
            spent = round((time.time() - begun) * 1_000)
            return Outcome(begun, spent, None, "interrupted", "the sender was stopped during this try")

    def _open(self, claim: Claim) -> list[bytes]:
        """The endpoint's signing keys, opened once. Raises SealBroken, or ValueError when there is none."""
        wanted = (claim.webhook_id, claim.sealed_secrets)
        keys = self._keys.get(wanted)
        if keys is None:
            where = place(claim.workspace_id, "webhook_secrets", "sealed", claim.webhook_id)
            keys = [secret_key(self._keyring.open(sealed, where).decode()) for sealed in claim.sealed_secrets]
            if not keys:
                raise ValueError("no live secret")
            if len(self._keys) >= 4_096:
                self._keys.clear()
            self._keys[wanted] = keys
        return keys

    # Recording

    async def _settle(self, result: Result) -> None:
        try:
            applied = await self._records.submit(result)
        except Exception as error:
            # The lease runs out and the sweep notes an unknown outcome.
            log.error("deliveries.record_failed", delivery_id=result.claim.delivery_id, error=repr(error))
            return
        finally:
            self._let_go(result.claim)
        if not applied:
            self.counts.stale += 1
            return
        self.counts.recorded += 1
        self.counts.outcomes[result.outcome.error_code or "ok"] += 1
        self.counts.decisions[type(result.decision).__name__] += 1

    async def _record(self, results: Sequence[Result]) -> Sequence[bool]:
        """Keeps at it while the database is away: the tries were made, and their leases may still hold."""
        trouble = 0
        while True:
            try:
                return await claims.record(self._database, results)
            except AWAY:
                trouble += 1
                await asyncio.sleep(exponential(trouble, base=0.05, cap=2.0, rand=self._rand()))

    def _let_go(self, claim: Claim) -> None:
        self._held[claim.attempt > 1] -= 1
        if self.in_flight <= self._low_water:
            self._wake.set()

    # Waking and stopping

    async def _listen(self) -> None:
        trouble = 0
        while True:
            try:
                async with self._database.anywhere() as conn:
                    trouble = 0
                    await self._hear(conn)
            except _AWAY:
                trouble += 1
            await asyncio.sleep(exponential(max(1, trouble), base=0.1, cap=5.0, rand=self._rand()))

    async def _hear(self, conn: Connection) -> None:
        """Turns notifications into wake-ups until the connection is lost."""

        def heard(*_: object) -> None:
            self._wake.set()

        lost = asyncio.Event()

        def hung_up(_: object) -> None:
            lost.set()

        conn.add_termination_listener(hung_up)
        await conn.add_listener(CHANNEL, heard)
        self._wake.set()
        try:
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), 15.0)
                await conn.execute("SELECT 1", timeout=5.0)
        finally:
            conn.remove_termination_listener(hung_up)
            if not conn.is_closed():
                await conn.remove_listener(CHANNEL, heard)

    async def _drain(self) -> None:
        unsent = [claim for claim, _ in self._waiting]
        self._waiting.clear()
        if unsent:
            with contextlib.suppress(*_AWAY):
                self.counts.released += await claims.release(self._database, unsent)
        if self._senders:
            await asyncio.wait(self._senders, timeout=self._drain_seconds)
        for task in self._senders:
            task.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._settling:
            await asyncio.wait(self._settling, timeout=_RECORD_LAST)
