"""Runs turns: one lane per conversation, many lanes at once, each turn held by a lease with a heartbeat."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.courtesy import Courtesy
from gateway.hub import Hub
from gateway.metrics import TURN_SECONDS, TURNS
from gateway.outbound import Sender
from gateway.work import Held, Work
from kernel import log
from kernel.backoff import exponential
from kernel.batcher import Closed, NaturalBatcher
from kernel.db import AWAY, Database, row_fault
from pipeline import turns
from pipeline.outbox import Lane
from pipeline.turns import Busy, Finished, Place, Result, Turn

_log = log.get("runner")

_GATHERED = 5  # times the pause that a burst is waited for at most

_counter = functools.cache(TURNS.labels)


@dataclass(frozen=True, slots=True)
class Limits:
    """lease: seconds a turn is held without a heartbeat; tries: attempts before a turn is set aside."""

    lease: float = 15.0
    tries: int = 5
    at_once: int = 256
    memory: int = 10


class TurnRunner:
    """`wake(place)` is all that callers need: it never blocks and may be called for nothing."""

    def __init__(
        self,
        database: Database,
        work: Work,
        hub: Hub,
        sender: Sender,
        courtesy: Courtesy,
        limits: Limits,
    ) -> None:
        self._database = database
        self._work_of = work
        self._hub = hub
        self._sender = sender
        self._courtesy = courtesy
        self._limits = limits
        self._lanes: dict[Place, asyncio.Task[None]] = {}
        self._dirty: set[Place] = set()
        self._held: dict[str, Held] = {}
        self._at_work: dict[Place, Held] = {}
        self._room = asyncio.Semaphore(limits.at_once)
        self._stopping = False
        self._opening: NaturalBatcher[Place, Turn | Busy | None] = NaturalBatcher(
            self._open, splits=row_fault, limit=64
        )
        self._finishing: NaturalBatcher[tuple[Turn, Result], Finished | None] = NaturalBatcher(
            self._finish, splits=row_fault, limit=64
        )
        self._heartbeat = asyncio.create_task(self._beat())

    def wake(self, place: Place) -> None:
        """Something may wait in this conversation."""
        if self._stopping:
            return
        if place in self._lanes:
            self._dirty.add(place)
            if place in self._at_work:
                self._at_work[place].more.set()
            return
        self._lanes[place] = asyncio.create_task(self._drive(place))

    @property
    def running(self) -> int:
        return len(self._held)

    async def stop(self, patience: float) -> None:
        """No new turns; those under way finish within `patience` seconds or are handed back for others."""
        self._stopping = True
        lanes = list(self._lanes.values())
        if lanes:
            await asyncio.wait(lanes, timeout=patience)
        left = [held.turn for held in self._held.values()]
        for lane in self._lanes.values():
            lane.cancel()
        await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        self._heartbeat.cancel()
        await asyncio.gather(self._heartbeat, return_exceptions=True)
        if left:
            await self._let_go(left, after=0.0, refund=True)
        await self._opening.close()
        await self._finishing.close()

    async def _drive(self, place: Place) -> None:
        try:
            await self._gathered(place)
            while not self._stopping:
                self._dirty.discard(place)
                with self._courtesy.when_slow(place, self._room.locked(), len(self._lanes) - len(self._held)):
                    await self._room.acquire()
                try:
                    more = await self._one(place)
                finally:
                    self._room.release()
                if not more and place not in self._dirty:
                    return
        except Closed:
            return
        except AWAY as error:
            _log.warning("runner.database_away", account=place.account_id, error=str(error))
        except Exception:
            _log.exception("runner.lane_failed", account=place.account_id)
        finally:
            del self._lanes[place]
            self._dirty.discard(place)

    async def _gathered(self, place: Place) -> None:
        """People write in bursts: waits until they pause, though not for long."""
        quiet = await self._work_of.gather_seconds(place)
        for _ in range(_GATHERED if quiet else 0):
            self._dirty.discard(place)
            await asyncio.sleep(quiet)
            if self._stopping or place not in self._dirty:
                return

    async def _one(self, place: Place) -> bool:
        """Works on one turn. Returns whether to look again at once."""
        turn = await self._opening.submit(place)
        if turn is None or isinstance(turn, Busy):
            return False
        held = self._held[turn.turn_id] = self._at_work[place] = Held(turn, self._lanes[place])
        try:
            return await self._work(held)
        finally:
            del self._held[turn.turn_id], self._at_work[place]

    async def _work(self, held: Held) -> bool:
        turn = held.turn
        self._hub.tell(turn.place, {"type": "opened", "turn_id": turn.turn_id, "message_ids": list(turn.message_ids)})
        started = time.perf_counter()
        try:
            result = await self._work_of.result(held)
        except Exception as error:
            await self._failed(turn, error)
            return False
        turn, held.settling = held.turn, True
        asked = time.monotonic()
        finished = await self._settle(turn, result)
        _counter(result.status).inc()
        TURN_SECONDS.observe(time.perf_counter() - started)
        if finished is None:
            _log.warning("runner.fenced", turn=turn.turn_id)
            return False
        if finished.first:
            self._sender.take(finished.first, asked)
        elif finished.message_id:
            self._sender.wake(Lane(turn.workspace_id, turn.conversation_id))
        self._hub.tell(turn.place, {"type": "finished", "turn_id": turn.turn_id, "message_id": finished.message_id})
        return finished.more

    async def _failed(self, turn: Turn, error: Exception) -> None:
        """A step failed: the turn rests a moment and is tried again from its last recorded step."""
        delay = exponential(turn.attempt, base=0.5, cap=30, rand=random.random())
        _log.error("runner.turn_failed", turn=turn.turn_id, attempt=turn.attempt, retry_in=delay, exc_info=error)
        _counter("retried").inc()
        await self._let_go([turn], after=delay, refund=False)
        asyncio.get_running_loop().call_later(delay + 0.05, self.wake, turn.place)

    async def _settle(self, turn: Turn, result: Result) -> Finished | None:
        """Writes the result; while the database is away it tries again for as long as a lease could last."""
        deadline = time.monotonic() + self._limits.lease
        while True:
            try:
                return await self._finishing.submit((turn, result))
            except AWAY as error:
                if row_fault(error) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease / 3)
            held = list(self._held.values())
            if not held:
                continue
            try:
                async with self._database.anywhere() as conn:
                    mine = await turns.renew(conn, [h.turn for h in held], self._limits.lease)
            except Exception as error:
                _log.warning("runner.heartbeat_failed", held=len(held), error=repr(error))
                continue
            for h in held:
                if h.turn.turn_id not in mine and h.turn.turn_id in self._held and not h.settling:
                    _log.warning("runner.lease_lost", turn=h.turn.turn_id)
                    h.task.cancel()

    async def _let_go(self, held: Sequence[Turn], *, after: float, refund: bool) -> None:
        try:
            async with self._database.anywhere() as conn:
                await turns.let_go(conn, held, after=after, refund=refund)
        except AWAY as error:
            _log.warning("runner.release_failed", held=len(held), error=str(error))

    async def _open(self, places: Sequence[Place]) -> list[Turn | Busy | None]:
        limits = self._limits
        async with self._database.anywhere() as conn:
            return await turns.open_many(conn, places, lease=limits.lease, tries=limits.tries, memory=limits.memory)

    async def _finish(self, finishing: Sequence[tuple[Turn, Result]]) -> list[Finished | None]:
        async with self._database.anywhere() as conn:
            return await turns.finish_many(conn, finishing, self._limits.lease)
