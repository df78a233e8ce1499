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

import asyncpg
import structlog

from kernel.backoff import exponential
from kernel.db import AWAY, Connection, Database
from kernel.secrets import KeyRing, SealBroken, place
from webhooks import claims
from webhooks.claims import Claim, Result
from webhooks.decide import MAX_ATTEMPTS, decide
from webhooks.guard import Network
from webhooks.recorder import Recorder
from webhooks.signing import SigningKey, signed_headers, signing_key
from webhooks.transport import Outcome, Session, open_session, post, timeouts

CHANNEL = "parley_deliveries"
_POLL = 0.25  # looks again this often while busy, in case a wake-up was lost
_IDLE = 5.0  # and this often at the latest when nothing is due
_PACE = 0.01  # between claims that find little room
_SWEEP = 1.0
_LEASE_MARGIN = 30.0
_RECORD_LAST = 5.0
_AWAY = (*AWAY, asyncpg.PostgresError, asyncpg.InternalClientError)

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
        self._keys: dict[tuple[str, tuple[bytes, ...]], list[SigningKey]] = {}
        self._queue = asyncio.Queue[tuple[Claim, float]]()  # with the time until which a send fits into the lease
        self._recorder = Recorder(database, self._settled)
        self._sending = 0
        self._held = Counter[bool]()  # claimed and not yet recorded, by "is a retry"
        self._low_water = 0
        self._trouble = 0
        self._wake = asyncio.Event()
        self._claimed_at = self._swept_at = float("-inf")

        self._session: Session

    @property
    def in_flight(self) -> int:
        """Deliveries claimed here and not recorded yet."""
        return self._held.total()

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when `stop` is set and what was under way is recorded or handed back."""
        recorder = asyncio.create_task(self._recorder.run())
        alarm = asyncio.create_task(self._wake_at(stop))
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._slots)]
        try:
            async with open_session(self._allow, concurrency=self._slots) as self._session:
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
        await self._sweep(conn)
        first, retry = self._slots * 2 - self._held[False], self._slots // 2 - self._held[True]
        if first <= 0 and retry <= 0:
            return _POLL
        if max(first, retry) < self._slots // 4:
            await asyncio.sleep(self._claimed_at + _PACE - time.monotonic())
        self._claimed_at = time.monotonic()
        found = await claims.claim(conn, max(0, first), max(0, retry), self._per_endpoint, self._lease)
        self._take(found)
        if self.in_flight:
            return _POLL
        due = await claims.next_due(conn)
        return _IDLE if due is None else min(_IDLE, due or _POLL)

    def _take(self, found: Sequence[Claim]) -> None:
        latest = self._claimed_at + _LEASE_MARGIN / 2
        self.counts.claimed += len(found)
        for claim in found:
            self._held[claim.attempt > 1] += 1
            self._queue.put_nowait((claim, latest))
        self._low_water = self.in_flight - max(1, self.in_flight // 2)

    async def _sweep(self, conn: Connection) -> None:
        if time.monotonic() - self._swept_at >= _SWEEP:
            self._swept_at = time.monotonic()
            self.counts.reaped += await claims.sweep(conn, MAX_ATTEMPTS)

    # Sending

    async def _lane(self) -> None:
        """One slot: sends one delivery after the other and leaves the recording to the recorder."""
        while True:
            claim, latest = await self._queue.get()
            if time.monotonic() > latest:
                # Frozen or stuck for so long that the lease could end during the send.
                self.counts.stale += 1
                self._let_go(claim)
                continue
            begun = time.time()
            self._sending += 1
            try:
                self._recorder.add(await self._deliver(claim))
            except asyncio.CancelledError:
                self._recorder.add(self._cut_short(claim, begun))
                raise
            except Exception as error:
                # The lane has to live on; the lease runs out and the sweep notes an unknown outcome.
                log.error("deliveries.lane_failed", delivery_id=claim.delivery_id, error=repr(error))
                self._let_go(claim)
            finally:
                self._sending -= 1

    async def _deliver(self, claim: Claim) -> Result:
        now = time.time()
        try:
            headers = signed_headers(self._open(claim), claim.event_id, int(now), claim.body)
        except (SealBroken, ValueError):
            outcome = Outcome(now, 0, None, "secret_unreadable", "the signing secret cannot be opened")
        else:
            headers["content-type"] = "application/json"
            outcome = await post(self._session, claim.url, headers, claim.body, self._timeouts)
        return self._judge(claim, outcome)

    def _cut_short(self, claim: Claim, begun: float) -> Result:
        """Only a stop cancels a send. It may have arrived, so it is logged like any other."""
        spent = round((time.time() - begun) * 1_000)
        return self._judge(claim, Outcome(begun, spent, None, "interrupted", "the sender was stopped during this try"))

    def _judge(self, claim: Claim, outcome: Outcome) -> Result:
        return Result(claim, outcome, decide(claim.attempt, outcome, time.time(), self._rand()))

    def _open(self, claim: Claim) -> list[SigningKey]:
        """The endpoint's signing keys, opened once. Raises SealBroken, or ValueError when there is none."""
        wanted = (claim.webhook_id, claim.sealed_secrets)
        keys = self._keys.get(wanted)
        if keys is None:
            where = place(claim.workspace_id, "webhook_secrets", "sealed", claim.webhook_id)
            keys = [signing_key(self._keyring.open(sealed, where).decode()) for sealed in claim.sealed_secrets]
            if not keys:
                raise ValueError("no live secret")
            if len(self._keys) >= 4_096:
                self._keys.clear()
            self._keys[wanted] = keys
        return keys

    # Recording

    def _settled(self, result: Result, applied: bool) -> None:
        if applied:
            self.counts.recorded += 1
            self.counts.outcomes[result.outcome.error_code or "ok"] += 1
            self.counts.decisions[type(result.decision).__name__] += 1
        else:
            self.counts.stale += 1
        self._let_go(result.claim)

    def _let_go(self, claim: Claim) -> None:
        self._held[claim.attempt > 1] -= 1
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
        unsent = [self._queue.get_nowait()[0] for _ in range(self._queue.qsize())]
        if unsent:
            with contextlib.suppress(*_AWAY):
                async with self._database.anywhere() as conn:
                    self.counts.released += await claims.release(conn, unsent)
