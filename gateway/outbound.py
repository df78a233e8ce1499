"""Sends what we owe users: one unit at a time per conversation, many conversations at once."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.budget import Budget
from gateway.directory import Directory
from gateway.metrics import SENDS
from gateway.outgoing import Uploads, in_words
from kernel import log
from kernel.backoff import exponential
from kernel.batcher import Closed, NaturalBatcher
from kernel.db import AWAY, Database, row_fault
from kernel.types import Account, Channel, NotSent, Refused, SendOutcome, Sent, Unknown
from pipeline import outbox, turns
from pipeline.outbox import Disposition, Lane, Outbound

_log = log.get("outbound")

_SHORT = 2.0  # seconds; a longer wait for the budget is written down, so that the unit is not held meanwhile
_GIVE_UP = 100  # tries; with the back-off below about eight hours


def disposition(outcome: SendOutcome, sent: Outbound, *, hold: bool, rand: float) -> Disposition:
    """What to write down after a send. Pure.

    A refusal because of the formatting is tried once more as plain text; any other refusal is final. An unknown
    outcome is tried again unless the account's policy is to hold it for a person.
    """
    wait = exponential(sent.attempts, base=1, cap=300, rand=rand)
    match outcome:
        case Sent(receipt):
            return Disposition("sent", receipt=receipt)
        case NotSent(reason, retry_after):
            if sent.attempts >= _GIVE_UP:
                return Disposition("failed", cause=f"gave up after {sent.attempts} tries: {reason}")
            return Disposition("pending", cause=reason, delay=wait if retry_after is None else retry_after + rand)
        case Refused(moved_to=moved_to, reason=reason) if moved_to and sent.attempts < 10:
            return Disposition("pending", cause=reason)
        case Refused(plainer=True, reason=reason) if not sent.use_plain:
            return Disposition("pending", cause=reason, plain=True)
        case Refused(code, reason):
            return Disposition("failed", cause=f"{code}: {reason}")
        case Unknown(reason):
            again = not hold and sent.attempts < _GIVE_UP
            return Disposition("pending" if again else "unknown", cause=reason, delay=wait, ambiguous=True)


async def deliver(channel: Channel, client: Any, sent: Outbound) -> SendOutcome:
    """One try to get a unit to where it belongs, by the surest way that the platform knows.

    In place of a preview it is an edit, which may be repeated. A send that broke off earlier is looked for first.
    """
    if sent.target and channel.edit is not None:
        outcome = await channel.edit(client, sent.address, sent.target, sent.unit, sent.use_plain, sent.outbound_id)
        if not isinstance(outcome, Refused) or outcome.plainer or outcome.blocked:
            return outcome  # refused otherwise: the preview is gone, so the answer becomes a message of its own
    if sent.ambiguous and channel.find is not None:
        found = await channel.find(client, sent.address, sent.unit, sent.outbound_id, sent.created_at)
        if isinstance(found, Sent):
            return found
        if isinstance(found, Unknown):
            return NotSent(f"an earlier send is not settled yet: {found.reason}")
    return await channel.send(client, sent.address, sent.unit, sent.use_plain, sent.outbound_id)


_counter = functools.cache(SENDS.labels)


class Sender:
    """`wake(lane)` may be called for nothing and never blocks."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        channels: dict[str, Channel],
        budget: Budget,
        *,
        lease: float = 15.0,
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._budget = budget
        self._uploads = Uploads(database)
        self._lease = lease
        self._lanes: dict[Lane, asyncio.Task[None]] = {}
        self._dirty: set[Lane] = set()
        self._slowed: dict[str, tuple[float, Lane]] = {}
        self._held: dict[str, Outbound] = {}
        self._handed: dict[Lane, tuple[Outbound, float]] = {}
        self._stopping = False
        self._heartbeat = asyncio.create_task(self._beat())
        self._claims: NaturalBatcher[Lane, Outbound | None] = NaturalBatcher(self._claim, splits=row_fault)
        self._records: NaturalBatcher[tuple[Outbound, Disposition], bool | None] = NaturalBatcher(
            self._record, splits=row_fault
        )

    def wake(self, lane: Lane) -> None:
        if self._stopping:
            return
        if lane in self._lanes:
            self._dirty.add(lane)
        else:
            self._lanes[lane] = asyncio.create_task(self._drive(lane))

    def take(self, claimed: Outbound, asked: float) -> None:
        """A unit that this process claimed already, after `asked` (monotonic seconds): it leaves at once."""
        self._handed[claimed.lane] = (claimed, asked)
        self.wake(claimed.lane)

    async def stop(self, patience: float) -> None:
        """No new sends; those under way finish and are recorded, and what has not left is handed back."""
        self._stopping = True
        lanes = list(self._lanes.values())
        if lanes:
            await asyncio.wait(lanes, timeout=patience)
        for lane in list(self._lanes.values()):
            lane.cancel()
        self._heartbeat.cancel()
        await asyncio.gather(*self._lanes.values(), self._heartbeat, return_exceptions=True)
        await asyncio.gather(
            *(
                self._write(unsent, Disposition("pending", cause="the gateway stopped"))
                for unsent, _ in self._handed.values()
            ),
            return_exceptions=True,
        )
        await self._claims.close()
        await self._records.close()

    async def sweep(self, *, age: float, most: int = 500) -> None:
        """Finds sends whose wake-up or whose holder was lost."""
        idempotent = [kind for kind, channel in self._channels.items() if channel.idempotent]
        findable = [kind for kind, channel in self._channels.items() if channel.find is not None]
        async with self._database.anywhere() as conn:
            reaped = await outbox.reap(conn, idempotent, findable)
            waiting = await outbox.due(conn, age=age, most=most)
        for lane, state in reaped:
            _log.warning("outbound.reaped", conversation=lane.conversation_id, state=state)
            self.wake(lane)
        for lane in waiting:
            self.wake(lane)

    async def _drive(self, lane: Lane) -> None:
        try:
            while not self._stopping:
                self._dirty.discard(lane)
                more = await self._one(lane)
                if not more and lane not in self._dirty:
                    return
        except Closed:
            return
        except AWAY as error:
            _log.warning("outbound.database_away", error=str(error))
        except Exception:
            _log.exception("outbound.lane_failed", conversation=lane.conversation_id)
        finally:
            del self._lanes[lane]
            self._dirty.discard(lane)

    async def _one(self, lane: Lane) -> bool:
        """Sends one unit. Returns whether the next may follow at once."""
        asked = time.monotonic()
        handed = self._handed.pop(lane) if lane in self._handed else None
        sent, asked = handed or (await self._claims.submit(lane), asked)
        if sent is None:
            return False
        if time.monotonic() - asked > self._lease / 2:
            # Frozen or held up since: by now it may be somebody else's. Handing it back is fenced; it never left.
            await self._write(sent, Disposition("pending", cause="held up before it left"))
            return True
        self._held[sent.outbound_id] = sent
        try:
            return await self._deliver(lane, sent)
        finally:
            del self._held[sent.outbound_id]

    async def _deliver(self, lane: Lane, sent: Outbound) -> bool:
        account = await self._directory.account(sent.account_id)
        outcome = await self._send(account, sent)
        hold = account is not None and self._holds(account)
        verdict = disposition(outcome, sent, hold=hold, rand=random.random())
        _counter(account.kind if account else "gone", type(outcome).__name__.lower()).inc()
        if account and isinstance(outcome, Refused) and outcome.moved_to:
            await self._move(account, sent, outcome.moved_to)
        more = await self._write(sent, verdict)
        if verdict.state == "pending":
            if verdict.delay <= 0:
                return True
            asyncio.get_running_loop().call_later(verdict.delay, self.wake, lane)
            return False
        return bool(more)

    async def _send(self, account: Account | None, sent: Outbound) -> SendOutcome:
        if account is None:
            return Refused("disconnected", "the channel account is disconnected")
        channel = self._channels[account.kind]
        while wait := await self._budget.take(account, channel, sent.address):
            if wait > _SHORT:
                return NotSent("the budget of this bot, chat or workspace is used up", retry_after=wait)
            await asyncio.sleep(wait)
        client = await self._directory.client(account)
        if sent.attachment_id and channel.upload is not None:
            outcome = await self._uploads.send(channel, client, sent)
        else:
            told = replace(sent, unit=in_words(channel, sent)) if sent.attachment_id else sent
            outcome = await deliver(channel, client, told)
        if isinstance(outcome, NotSent) and outcome.retry_after is not None:
            await self._slow_down(account, sent, outcome)
        return outcome

    def _holds(self, account: Account) -> bool:
        """Whether a send of unknown outcome is for a person to decide: not where the platform can be asked."""
        return account.settings.get("unknown_sends") == "hold" and self._channels[account.kind].find is None

    async def _slow_down(self, account: Account, sent: Outbound, outcome: NotSent) -> None:
        """One chat being told to wait holds that chat; a second chat in the same breath means the whole bot."""
        assert outcome.retry_after is not None
        now = time.monotonic()
        until, other = self._slowed.get(account.account_id, (0.0, sent.lane))
        self._slowed[account.account_id] = (now + outcome.retry_after, sent.lane)
        whole_bot = outcome.scope == "bot" or (until > now and other != sent.lane)
        await self._budget.pause(account, None if whole_bot else sent.address, outcome.retry_after)

    async def _move(self, account: Account, sent: Outbound, chat: str) -> None:
        async with self._database.anywhere() as conn:
            await turns.rekey(conn, account.account_id, str(sent.address["chat_id"]), chat)

    async def _write(self, sent: Outbound, verdict: Disposition) -> bool | None:
        """Records while the lease can last: an outcome that is known must not turn into an unknown one."""
        deadline = time.monotonic() + self._lease
        while True:
            try:
                return await self._records.submit((sent, verdict))
            except AWAY:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            if not self._held:
                continue
            try:
                async with self._database.anywhere() as conn:
                    await outbox.renew(conn, list(self._held.values()), self._lease)
            except Exception as error:
                _log.warning("outbound.heartbeat_failed", held=len(self._held), error=repr(error))

    async def _claim(self, lanes: Sequence[Lane]) -> list[Outbound | None]:
        async with self._database.anywhere() as conn:
            return await outbox.claim_many(conn, lanes, self._lease)

    async def _record(self, sends: Sequence[tuple[Outbound, Disposition]]) -> list[bool | None]:
        async with self._database.anywhere() as conn:
            return await outbox.record_many(conn, sends)
