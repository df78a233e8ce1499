"""The way in: verify, parse, commit, and only then answer. One row for each update, however often it comes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import orjson

from gateway.directory import Directory
from gateway.metrics import UPDATES
from kernel import log
from kernel.batcher import NaturalBatcher
from kernel.db import Database, row_fault
from kernel.errors import MalformedRequest, NotFound, Unauthorized
from kernel.types import Account, Channel, Ignored, Json
from pipeline import turns
from pipeline.turns import Accepted, Arrival, Place

_log = log.get("intake")
_counter = functools.cache(UPDATES.labels)  # channels and reasons are closed sets; finding a child costs thrice `inc`
_ACCEPTED, _REPEATED = UPDATES.labels("", "accepted"), UPDATES.labels("", "repeated")


class Intake:
    """Takes updates in. `wake` is told of each conversation that got something."""

    def __init__(
        self, database: Database, directory: Directory, channels: dict[str, Channel], wake: Callable[[Place], None]
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._wake = wake
        self._inbox: NaturalBatcher[Arrival, Accepted] = NaturalBatcher(self._store, splits=row_fault)

    async def receive(self, kind: str, account_id: str, headers: Mapping[str, str], body: bytes) -> None:
        """Handles one request of a platform. Returns when its updates are committed; raises a refusal otherwise."""
        account = await self._directory.account(account_id)
        if account is None or account.kind != kind:
            raise NotFound("no such channel account")
        if not self._channels[kind].verify(account, headers, body):
            UPDATES.labels(kind, "unverified").inc()
            raise Unauthorized("the request does not carry this account's secret")
        try:
            update = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise MalformedRequest("the body is not JSON") from error
        await self.take(account, update, body)

    async def take(self, account: Account, update: Json, payload: bytes) -> None:
        """Stores what an update says; returns after the commit."""
        for arrival in self._arrivals(account, update, payload):
            await self.accept(arrival)

    def _arrivals(self, account: Account, update: Json, payload: bytes) -> Sequence[Arrival]:
        """The update's messages; one that cannot be understood is set aside whole, with the cause."""
        try:
            parsed = self._channels[account.kind].parse(account, update)
        except Exception as error:
            UPDATES.labels(account.kind, "poison").inc()
            _log.error("intake.poison", account=account.account_id, error=repr(error))
            return [poison(account, payload, error)]
        arrivals = []
        for message in parsed:
            if isinstance(message, Ignored):
                _counter(account.kind, message.reason).inc()
            else:
                arrivals.append(Arrival(account.account_id, message.external_id, payload, message))
        return arrivals

    async def accept(self, arrival: Arrival) -> Accepted:
        """Commits one update, then wakes its conversation: also for a repeat, whose first try may have died."""
        try:
            accepted = await self._inbox.submit(arrival)
        except Exception as error:
            if arrival.message is None or not row_fault(error):
                raise
            _log.error("intake.unstorable", account=arrival.account_id, error=repr(error))
            return await self.accept(replace(arrival, message=None, cause=f"{type(error).__name__}: {error}"))
        (_ACCEPTED if accepted.update_id else _REPEATED).inc()
        if arrival.message:
            self._wake(Place(arrival.account_id, arrival.message.conversation_key))
        return accepted

    async def _store(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        async with self._database.anywhere() as conn:
            return await turns.accept_many(conn, arrivals)

    async def close(self) -> None:
        await self._inbox.close()


def poison(account: Account, payload: bytes, error: Exception) -> Arrival:
    digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
    return Arrival(account.account_id, f"poison:{digest}", payload, None, f"{type(error).__name__}: {error}")
