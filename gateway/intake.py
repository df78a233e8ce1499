"""The way in: verify, parse, commit, and only then answer. One row for each update, however often it comes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from channels import policy
from gateway.directory import Directory
from gateway.metrics import UPDATES
from identity import pairings
from kernel import log
from kernel.batcher import NaturalBatcher
from kernel.db import Database, row_fault
from kernel.errors import MalformedRequest, NotFound, Unauthorized
from kernel.types import Account, Channel, Ignored, InboundMessage, Json
from pipeline import turns
from pipeline.turns import Accepted, Arrival, Place

_log = log.get("intake")
_counter = functools.cache(UPDATES.labels)  # channels and reasons are closed sets; finding a child costs thrice `inc`
_ACCEPTED, _REPEATED = UPDATES.labels("", "accepted"), UPDATES.labels("", "repeated")


class Taken(NamedTuple):
    """What the platform wants to hear of an update, and how many messages in it were new to us."""

    wanted: Json | None
    new: int


class Intake:
    """Takes updates in. `wake` is told of each conversation that got something."""

    def __init__(
        self, database: Database, directory: Directory, channels: dict[str, Channel], wake: Callable[[Place], None]
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._wake = wake
        self._heard: set[str] = set()
        # Several lanes: batches are gathered and parsed while others commit. Order holds within a conversation, because
        # platforms send its next update only after the ack, and what one poll brought goes into one batch.
        self._inbox: NaturalBatcher[Arrival, Accepted] = NaturalBatcher(self._store, splits=row_fault, lanes=3)

    async def receive(self, kind: str, account_id: str, headers: Mapping[str, str], body: bytes) -> Json | None:
        """Handles one request of a platform; raises a refusal when it is none.

        Returns when its updates are committed, with what the platform wants to hear in the response.
        """
        account = await self._directory.account(account_id)
        if account is None or account.kind != kind:
            raise NotFound("no such channel account")
        channel = self._channels[kind]
        if not channel.verify(account, headers, body):
            UPDATES.labels(kind, "unverified").inc()
            raise Unauthorized("the request does not carry this account's secret or signature")
        try:
            update = channel.decode(headers, body)
        except ValueError as error:
            raise MalformedRequest("the body is not what this platform sends") from error
        return (await self.take(account, update, body)).wanted

    async def take(self, account: Account, update: Json, payload: bytes) -> Taken:
        """Stores what an update says; returns after the commit."""
        channel = self._channels[account.kind]
        try:
            parsed = channel.parse(account, update)
        except Exception as error:
            UPDATES.labels(account.kind, "poison").inc()
            digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
            await self._set_aside(account.account_id, f"poison:{digest}", payload, error)
            return Taken(None, 0)
        new = 0
        for message in parsed:
            judged = message if isinstance(message, Ignored) else await self.judged(account, message)
            if isinstance(judged, Ignored):
                _counter(account.kind, judged.reason).inc()
            else:
                accepted = await self.accept(Arrival(account.account_id, payload, judged))
                new += accepted.update_id is not None
        return Taken(channel.immediate(account, update) if channel.immediate else None, new)

    async def judged(self, account: Account, message: InboundMessage) -> InboundMessage | Ignored:
        """The message as the account's policies let it through."""
        if message.kind == "feedback" and not message.about:
            message = await self._placed(account, message)
        joined = paired = None
        while True:
            verdict = policy.judge(account, message, joined=joined, paired=paired)
            if isinstance(verdict, Ignored):
                return verdict
            if isinstance(verdict, policy.Admit | policy.Stranger):
                return verdict.message
            async with self._database.anywhere() as conn:
                if isinstance(verdict, policy.AskJoined):
                    joined = await turns.has_joined(conn, Place(account.account_id, message.conversation_key))
                else:
                    paired = await pairings.is_paired(conn, account.account_id, message.sender.external_id)

    async def _placed(self, account: Account, reaction: InboundMessage) -> InboundMessage:
        """A reaction in the conversation where the answer stands: a platform may tell only the channel around it."""
        async with self._database.anywhere() as conn:
            key = await turns.place_of_sent(conn, account.account_id, reaction.chat, reaction.message_ref)
        return replace(reaction, conversation_key=key) if key else reaction

    async def accept(self, arrival: Arrival) -> Accepted:
        """Commits one update, then wakes its conversation: also for a repeat, whose first try may have died."""
        try:
            accepted = await self._inbox.submit(arrival)
        except Exception as error:
            if not row_fault(error):
                raise
            return await self._set_aside(arrival.account_id, arrival.message.external_id, arrival.payload, error)
        (_ACCEPTED if accepted.update_id else _REPEATED).inc()
        self._heard.add(arrival.account_id)
        self._wake(Place(arrival.account_id, arrival.message.conversation_key))
        return accepted

    def heard_from(self) -> list[str]:
        """The accounts that something came in for since the last call."""
        heard, self._heard = self._heard, set()
        return list(heard)

    async def _set_aside(self, account_id: str, external_id: str, payload: bytes, error: Exception) -> Accepted:
        """What cannot be understood, or not be stored, is kept whole: trying again would not help the platform."""
        cause, external_id = f"{type(error).__name__}: {error}".replace("\x00", ""), external_id.replace("\x00", "")
        _log.error("intake.set_aside", account=account_id, update=external_id, error=cause)
        async with self._database.anywhere() as conn:
            return await turns.set_aside(
                conn, account_id, external_id.replace("\x00", ""), payload, cause.replace("\x00", "")
            )

    async def _store(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        async with self._database.anywhere() as conn:
            return await turns.accept_many(conn, arrivals)

    async def close(self) -> None:
        await self._inbox.close()
