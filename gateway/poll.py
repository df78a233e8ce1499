"""Polling bots: one poller per bot over all processes, and the offset moves only past what is committed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import orjson

from channels import accounts, telegram
from gateway.services import Services
from kernel import log
from kernel.backoff import exponential
from kernel.db import AWAY
from kernel.ids import new_id
from kernel.types import Account, Json

_log = log.get("poll")

_LEASE = 30.0
_LOOK = 1.0
_LONG_POLL = 20


class Pollers:
    """Looks for polling bots that nobody polls, and polls them for as long as it holds their lease."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Runs until cancelled; then the pollers stop between two calls and hand their leases back."""
        try:
            while True:
                try:
                    await self._adopt()
                except Exception:  # whatever it was, bots must not stay deaf because of it
                    _log.exception("poll.adopt_failed")
                await asyncio.sleep(_LOOK * (0.75 + random.random() / 2))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _adopt(self) -> None:
        ground = self._services.ground
        try:
            async with ground.database.anywhere() as conn:
                waiting = await accounts.to_poll(conn, ground.ring)
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.warning("poll.look_failed", error=str(error))
            return
        for account in waiting:
            if account.account_id not in self._tasks:
                task = asyncio.create_task(self._poll(account, new_id("tok")))
                self._tasks[account.account_id] = task
                task.add_done_callback(partial(self._ended, account.account_id))

    def _ended(self, account_id: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(account_id, None)

    async def _poll(self, account: Account, token: str) -> None:
        """Polls one bot until the lease is gone, the bot is disconnected or this process stops."""
        faults = 0
        try:
            while True:
                offset = await self._lease(account, token)
                if offset is None:
                    return
                client = await self._services.directory.client(account)
                got = await telegram.get_updates(client, offset, 0 if faults else _LONG_POLL)
                if isinstance(got, telegram.PollError):
                    faults += 1
                    await self._pause(account, got, faults)
                    continue
                faults = await self._recovered(account, faults)
                if got:
                    await self._take(account, token, offset, got)
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.warning("poll.database_away", account=account.account_id, error=str(error))
        except Exception:
            _log.exception("poll.failed", account=account.account_id)
        finally:
            with contextlib.suppress(*AWAY, asyncpg.PostgresError):
                await asyncio.shield(self._release(account, token))

    async def _take(self, account: Account, token: str, offset: int, updates: list[Json]) -> None:
        """Commits all of them, and only then moves the offset."""
        ordered = sorted(updates, key=lambda update: int(update["update_id"]))
        await asyncio.gather(*(self._services.intake.take(account, update, orjson.dumps(update)) for update in ordered))
        async with self._services.ground.database.anywhere() as conn:
            await accounts.advance_poll(conn, account.account_id, token, telegram.next_offset(offset, ordered))

    async def _lease(self, account: Account, token: str) -> int | None:
        async with self._services.ground.database.anywhere() as conn:
            return await accounts.lease_poll(conn, account.account_id, token, _LEASE + _LONG_POLL)

    async def _release(self, account: Account, token: str) -> None:
        async with self._services.ground.database.anywhere() as conn:
            await accounts.release_poll(conn, account.account_id, token)

    async def _pause(self, account: Account, error: telegram.PollError, faults: int) -> None:
        """An outage is waited for; a bot that the platform refuses is reported and asked about once in a while."""
        refused = error.kind in ("unauthorized", "conflict")
        _log.warning("poll.error", account=account.account_id, kind=error.kind, reason=error.reason)
        if refused:
            async with self._services.ground.database.workspace(account.workspace_id) as conn:
                await accounts.report(conn, account.workspace_id, account.account_id, f"{error.kind}: {error.reason}")
        delay = exponential(faults, base=2.0 if refused else 0.25, cap=60.0 if refused else 10.0, rand=random.random())
        await asyncio.sleep(error.retry_after or min(delay, _LEASE))

    async def _recovered(self, account: Account, faults: int) -> int:
        if faults:
            async with self._services.ground.database.workspace(account.workspace_id) as conn:
                await accounts.report(conn, account.workspace_id, account.account_id, "")
        return 0


@contextlib.asynccontextmanager
async def polling(services: Services) -> AsyncIterator[None]:
    """Runs the pollers of this process for as long as the block lasts."""
    task = asyncio.create_task(Pollers(services).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
