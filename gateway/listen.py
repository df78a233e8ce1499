"""Bots that hold a connection open: one process holds it, under a lease, and catches up on what it missed before.

History is read up to the moment of connecting; once connected it is read again from there, and what the connection
brings waits until that is done, so that nothing falls between and nothing overtakes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from functools import partial

import asyncpg

from channels import accounts
from channels.table import CHANNELS
from gateway.catchup import catch_up
from gateway.services import Services
from kernel import log
from kernel.backoff import exponential
from kernel.db import AWAY
from kernel.ids import new_id
from kernel.types import Account, Disconnected, Health, Json

_log = log.get("listen")

_LEASE = 12.0
_LOOK = 1.0
_TICK = 3.0
_SILENT = 75.0  # seconds without any sign of life after which what was said meanwhile is read from history
_CHECK = 300.0  # seconds between two looks into history whether the connection really brings what is said
_DEAD = 150.0  # … after which the connection is given up


class Ear:
    """One bot's connection in this process: what it heard of last, and since when it may take things in."""

    def __init__(self, services: Services, account: Account) -> None:
        self._services = services
        self._account = account
        self._channel = CHANNELS[account.kind]
        self._ready = asyncio.Event()
        self.heard_at = time.time()
        self.connected = False

    def alive(self) -> None:
        self.heard_at = time.time()
        self.connected = True

    async def take(self, update: Json, payload: bytes) -> Json | None:
        """Commits an update, after those that history still brings; but who waits for an answer is not kept waiting."""
        self.alive()
        if not self._ready.is_set() and not self._is_urgent(update):
            await self._ready.wait()
        return (await self._services.intake.take(self._account, update, payload)).wanted

    def _is_urgent(self, update: Json) -> bool:
        immediate = self._channel.immediate
        return immediate is not None and immediate(self._account, update) is not None

    async def run(self, since: float | None) -> None:
        """Catches up, listens. Raises Disconnected."""
        client = await self._services.directory.client(self._account)
        assert self._channel.listen is not None
        began = time.time()
        if since is not None:
            await catch_up(self._services, client, self._account, since)
        listening = asyncio.ensure_future(self._channel.listen(client, self._account, self.take, self.alive))
        tending = asyncio.ensure_future(self._tend(client, began))
        try:
            await asyncio.wait((listening, tending), return_when=asyncio.FIRST_COMPLETED)
            for ended in (listening, tending):
                if ended.done():
                    ended.result()
            raise Disconnected("away", "the connection ended")
        finally:
            for task in (listening, tending):
                task.cancel()
            await asyncio.gather(listening, tending, return_exceptions=True)

    async def _tend(self, client: object, began: float) -> None:
        """Notes how far hearing reaches, and reads history where it had a gap."""
        while not self.connected:
            await asyncio.sleep(0.05)
            if time.time() - began > _DEAD:
                raise Disconnected("away", "the platform does not greet")
        try:
            await catch_up(self._services, client, self._account, began)
        finally:
            self._ready.set()
        noted = checked = time.time()
        while True:
            await self._note(min(self.heard_at, time.time()))
            before = self.heard_at
            await asyncio.sleep(_TICK)
            silent = time.time() - before
            if silent > _DEAD:
                raise Disconnected("away", f"no sign of life for {silent:.0f} s")
            if self.heard_at - before > _SILENT:
                await catch_up(self._services, client, self._account, noted)
            noted = before
            if time.time() - checked > _CHECK:
                await self._check(client, checked)
                checked = time.time()

    async def _check(self, client: object, since: float) -> None:
        """A connection may be open, answer every heartbeat and bring nothing: what it ought to have brought tells."""
        missed = await catch_up(self._services, client, self._account, since)
        found = Health(
            missed == 0, f"the connection was deaf: {missed} messages came by reading" if missed else "hears"
        )
        async with self._services.ground.database.anywhere() as conn:
            await accounts.note_health(conn, self._account.account_id, found)
        if missed:
            raise Disconnected("away", found.detail)

    async def _note(self, until: float) -> None:
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):
            async with self._services.ground.database.anywhere() as conn:
                await accounts.note_listening(conn, self._account.account_id, until)


class Listeners:
    """Looks for bots with nobody at their connection, and holds it for as long as it has their lease."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Runs until cancelled; then the connections are closed and their leases handed back."""
        try:
            while True:
                try:
                    await self._adopt()
                except Exception:  # whatever it was, bots must not stay deaf because of it
                    _log.exception("listen.adopt_failed")
                await asyncio.sleep(_LOOK * (0.75 + random.random() / 2))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _adopt(self) -> None:
        ground = self._services.ground
        try:
            async with ground.database.anywhere() as conn:
                waiting = await accounts.to_listen(conn, ground.ring)
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.warning("listen.look_failed", error=str(error))
            return
        for account in waiting:
            if account.account_id not in self._tasks:
                task = asyncio.create_task(self._hold(account, new_id("tok")))
                self._tasks[account.account_id] = task
                task.add_done_callback(partial(self._ended, account.account_id))

    def _ended(self, account_id: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(account_id, None)

    async def _hold(self, account: Account, token: str) -> None:
        """Holds one bot's connection until the lease is gone, the bot is disconnected or this process stops."""
        if not await self._lease(account, token):
            return
        listening = asyncio.ensure_future(self._listen(account))
        try:
            while not listening.done():
                await asyncio.wait((listening,), timeout=_LEASE / 4)
                if not await self._lease(account, token):
                    _log.warning("listen.lease_lost", account=account.account_id)
                    return
        except (*AWAY, asyncpg.PostgresError) as error:
            # Without the database nothing can be committed, so nothing is confirmed either; the lease runs out.
            _log.warning("listen.database_away", account=account.account_id, error=str(error))
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            with contextlib.suppress(*AWAY, asyncpg.PostgresError):
                await asyncio.shield(self._release(account, token))

    async def _listen(self, account: Account) -> None:
        """Connects, again and again. An outage is waited for; a refusal is reported and tried once in a while."""
        faults = 0
        while (fresh := await self._services.directory.account(account.account_id)) is not None:
            ear = Ear(self._services, fresh)
            try:
                await self._report(fresh, "")
                await ear.run(await self._since(fresh))
            except Disconnected as error:
                faults = 1 if ear.connected else faults + 1
                _log.warning("listen.disconnected", account=fresh.account_id, kind=error.kind, reason=error.reason)
                refused = error.kind in ("refused", "conflict")
                if refused:
                    await self._report(fresh, f"{error.kind}: {error.reason}")
                base, cap = (5.0, 60.0) if refused else (0.5, 10.0)
                delay = exponential(faults, base=base, cap=cap, rand=random.random())
                await asyncio.sleep(error.retry_after or delay)
            except (*AWAY, asyncpg.PostgresError) as error:
                _log.warning("listen.failed", account=fresh.account_id, error=repr(error))
                await asyncio.sleep(1.0)
            except Exception:
                faults += 1
                _log.exception("listen.broken", account=fresh.account_id)
                await asyncio.sleep(exponential(faults, base=1.0, cap=30.0, rand=random.random()))

    async def _report(self, account: Account, failure: str) -> None:
        async with self._services.ground.database.workspace(account.workspace_id) as conn:
            await accounts.report(conn, account.workspace_id, account.account_id, failure)

    async def _since(self, account: Account) -> float | None:
        async with self._services.ground.database.anywhere() as conn:
            return await accounts.listening_until(conn, account.account_id)

    async def _lease(self, account: Account, token: str) -> bool:
        async with self._services.ground.database.anywhere() as conn:
            return await accounts.lease_poll(conn, account.account_id, token, _LEASE) is not None

    async def _release(self, account: Account, token: str) -> None:
        async with self._services.ground.database.anywhere() as conn:
            await accounts.release_poll(conn, account.account_id, token)


@contextlib.asynccontextmanager
async def listening(services: Services) -> AsyncIterator[None]:
    """Holds connections in this process for as long as the block lasts."""
    task = asyncio.create_task(Listeners(services).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
