"""Notes what came of tries, in batches that grow with the load: the next one leaves when the last is committed.

Unlike the kernel's batcher nobody waits for an item, so a try costs no task and no future here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

import asyncpg
import structlog

from kernel.backoff import exponential
from kernel.db import AWAY, Connection, Database
from webhooks import claims, health
from webhooks.claims import Result
from webhooks.transport import Outcome

_LIMIT = 256
_AWAY = (*AWAY, asyncpg.InternalClientError)

log = structlog.get_logger(__name__)


class Recorder:
    """Takes results with `add`; calls `settled(result, applied)` for each when it is committed or given up.

    `applied` is False when the lease had passed on, and when the row could not be written: the sweep will then take it
    back with an unknown outcome. `rand` gives numbers in [0, 1), `now` epoch seconds.
    """

    def __init__(
        self,
        database: Database,
        settled: Callable[[Result, bool], None],
        rand: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._settled = settled
        self._rand = rand
        self._now = now
        self._results: list[Result] = []
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stack = AsyncExitStack()
        self._conn: Connection | None = None

    def add(self, result: Result) -> None:
        self._results.append(result)
        self._idle.clear()
        self._ready.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._results:
                    batch, self._results = self._results[:_LIMIT], self._results[_LIMIT:]
                    await self._record(batch)
                self._idle.set()
        finally:
            await self._hang_up()

    async def flush(self) -> None:
        """Waits until everything added so far is settled."""
        await self._idle.wait()

    async def _record(self, batch: Sequence[Result]) -> None:
        trouble = 0
        while True:
            try:
                applied = await claims.record(await self._line(), batch)
                break
            except Exception as error:
                # asyncpg raises InterfaceError for a lost line and, as a ValueError too, for what it cannot encode.
                if isinstance(error, _AWAY) and not isinstance(error, ValueError):
                    trouble += 1
                    await self._hang_up()  # the tries were made and their leases may still hold: keep at it
                    await asyncio.sleep(exponential(trouble, base=0.05, cap=2.0, rand=self._rand()))
                elif len(batch) > 1:
                    for result in batch:
                        await self._record([result])
                    return
                elif (bare := _bare(batch[0])) != batch[0]:
                    log.warning("deliveries.recorded_bare", delivery_id=batch[0].claim.delivery_id, error=repr(error))
                    batch = [bare]  # what the receiver wrote is worth less than that it took it
                else:
                    log.error("deliveries.record_failed", delivery_id=batch[0].claim.delivery_id, error=repr(error))
                    applied = [False]
                    break
        done = list(zip(batch, applied, strict=True))
        await self._follow_up(
            [result for result, kept in done if kept and not (result.outcome.ok or result.outcome.ours)]
        )
        for result, kept in done:
            self._settled(result, kept)

    async def _follow_up(self, failed: Sequence[Result]) -> None:
        """What failures mean for their endpoints. When it cannot be done, the next failure brings it up again."""
        if not failed:
            return
        try:
            await health.follow_up(await self._line(), failed, self._now(), self._rand())
        except (*_AWAY, asyncpg.PostgresError) as error:
            log.warning("deliveries.follow_up_failed", error=repr(error))
            await self._hang_up()

    async def _line(self) -> Connection:
        """A connection that is kept, because handing one back to the pool costs a round trip."""
        if self._conn is None:
            self._conn = await self._stack.enter_async_context(self._database.anywhere())
        return self._conn

    async def _hang_up(self) -> None:
        self._conn = None
        with suppress(*_AWAY):
            await self._stack.aclose()


def _bare(result: Result) -> Result:
    """The same without anything that a receiver has written."""
    outcome = result.outcome
    bare = Outcome(outcome.started_at, outcome.duration_ms, outcome.status, outcome.error_code)
    return result._replace(outcome=bare)
