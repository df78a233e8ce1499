"""Runs turns: one lane per conversation, many lanes at once, each turn held by a lease with a heartbeat."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from gateway.directory import Directory
from gateway.hub import Hub
from gateway.metrics import TURN_SECONDS, TURNS
from gateway.outbound import Sender
from kernel import log
from kernel.backoff import exponential
from kernel.batcher import Closed, NaturalBatcher
from kernel.db import AWAY, Database, row_fault
from kernel.types import Account, Channel, Json, Reply
from pipeline import machine, route, turns
from pipeline.outbox import Lane
from pipeline.turns import Busy, Finished, Place, Result, Turn

_log = log.get("runner")


_counter = functools.cache(TURNS.labels)


@dataclass(slots=True)
class Held:
    """A turn that this process holds. Once it settles, the database fences it; before, a lost lease ends the work."""

    turn: Turn
    task: asyncio.Task[None]
    settling: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """lease: seconds a turn is held without a heartbeat; tries: attempts before a turn is set aside."""

    lease: float = 15.0
    tries: int = 5
    at_once: int = 256
    memory: int = 10


class Typing:
    """Shows that we think, unless the answer is there at once; platforms forget the sign after five seconds."""

    def __init__(self, show: Callable[[Account, Json], Awaitable[None]], account: Account, address: Json) -> None:
        self._show = show
        self._account = account
        self._address = address
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(0.15, self._start)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._repeat())

    async def _repeat(self) -> None:
        while True:
            await self._show(self._account, self._address)
            await asyncio.sleep(4)


class TurnRunner:
    """`wake(place)` is all that callers need: it never blocks and may be called for nothing."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        channels: dict[str, Channel],
        tools: machine.Tools,
        hub: Hub,
        sender: Sender,
        limits: Limits,
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._tools = tools
        self._hub = hub
        self._sender = sender
        self._limits = limits
        self._lanes: dict[Place, asyncio.Task[None]] = {}
        self._dirty: set[Place] = set()
        self._held: dict[str, Held] = {}
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
            while not self._stopping:
                self._dirty.discard(place)
                async with self._room:
                    more = await self._one(place)
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

    async def _one(self, place: Place) -> bool:
        """Works on one turn. Returns whether to look again at once."""
        turn = await self._opening.submit(place)
        if turn is None or isinstance(turn, Busy):
            return False
        held = self._held[turn.turn_id] = Held(turn, self._lanes[place])
        try:
            return await self._work(held)
        finally:
            del self._held[turn.turn_id]

    async def _work(self, held: Held) -> bool:
        turn = held.turn
        self._hub.tell(turn.place, {"type": "opened", "turn_id": turn.turn_id, "message_ids": list(turn.message_ids)})
        started = time.perf_counter()
        try:
            result = await self._result(turn, await self._directory.account(turn.account_id))
        except Exception as error:
            await self._failed(turn, error)
            return False
        held.settling = True
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

    async def _result(self, turn: Turn, account: Account | None) -> Result:
        if account is None:
            return Result(status="dead", failure="the channel account is disconnected")
        if turn.exhausted:
            return self._give_up(turn, account)
        if route.silent(turn):
            return await self._silent(turn)
        with Typing(self._show_typing, account, turn.address):
            state = machine.State(turn, lambda piece: self._hub.tell(turn.place, {"type": "piece", "text": piece}))
            steps = route.steps_for(turn, echo=account.settings.get("answer") == "echo")
            results = await machine.run(state, steps, self._tools)
        said = self._say(turn, account, results["compose"])
        return replace(said, metrics=route.metrics(turn, results), snapshot=route.snapshot(turn, results))

    def _give_up(self, turn: Turn, account: Account) -> Result:
        """The end of a turn that nothing helped: without one its conversation would stand still for good."""
        try:
            return self._say(turn, account, {"text": route.FAILED}, status="dead", failure="every attempt failed")
        except Exception as error:
            _log.exception("runner.gave_up_silently", turn=turn.turn_id)
            return Result(status="dead", failure=f"every attempt failed, and so did the apology: {error!r}")

    def _say(self, turn: Turn, account: Account, composed: Json, *, status: str = "done", failure: str = "") -> Result:
        reply: Reply = route.reply_of(composed)
        units = self._channels[account.kind].render(reply, turn.address)
        return Result(
            status=status,
            failure=failure,
            answer={
                "text": reply.markdown,
                "citations": composed.get("citations", []),
                "retrieval": composed.get("retrieval", {}),
            },
            units=units,
            end_session=route.ends_session(turn),
        )

    async def _silent(self, turn: Turn) -> Result:
        update = turn.updates[0]
        if update.kind == "migrated":
            async with self._database.anywhere() as conn:
                await turns.rekey(conn, turn.account_id, str(update.address["chat_id"]), update.detail)
        edits = [{"message_ref": update.message_ref, "text": update.text}] if update.kind == "edit" else []
        return Result(edits=edits, blocked=update.kind == "blocked")

    async def _show_typing(self, account: Account, address: Json) -> None:
        client = await self._directory.client(account)
        await self._channels[account.kind].typing(client, address)

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
