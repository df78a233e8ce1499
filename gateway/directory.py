"""Accounts and platform clients of this process: looked up by id, remembered for a moment, one client per bot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels import accounts
from kernel.db import Database
from kernel.secrets import KeyRing
from kernel.types import Account, Json

_FRESH = 2.0
_MOST = 10_000


class Directory:
    """`account(id)` answers from memory for two seconds, so a change is in force everywhere soon after."""

    def __init__(self, database: Database, ring: KeyRing, open_client: Callable[[Account], Awaitable[Any]]) -> None:
        self._database = database
        self._ring = ring
        self._open_client = open_client
        self._known: dict[str, tuple[float, Account | None]] = {}
        self._clients: dict[str, tuple[Json, Any]] = {}
        self._lookups: dict[str, asyncio.Task[Account | None]] = {}

    async def account(self, account_id: str) -> Account | None:
        """The account, None when there is none in service. Concurrent lookups of one id share a query."""
        known = self._known.get(account_id)
        if known and known[0] > time.monotonic():
            return known[1]
        lookup = self._lookups.get(account_id)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(account_id))
            self._lookups[account_id] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(account_id, None))
        return await asyncio.shield(lookup)

    async def _look_up(self, account_id: str) -> Account | None:
        async with self._database.anywhere() as conn:
            account = await accounts.find(conn, self._ring, account_id)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[account_id] = (time.monotonic() + _FRESH, account)
        return account

    def forget(self, account_id: str) -> None:
        self._known.pop(account_id, None)

    async def client(self, account: Account) -> Any:
        """The bot's client, made anew when its credentials have changed."""
        held = self._clients.get(account.account_id)
        if held and held[0] == account.credentials:
            return held[1]
        client = await self._open_client(account)
        self._clients[account.account_id] = (account.credentials, client)
        if held and held[1] is not None:
            await held[1].close()
        return client

    async def close(self) -> None:
        for _, client in self._clients.values():
            if client is not None:
                await client.close()
        self._clients.clear()
