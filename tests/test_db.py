"""Connections at hand: statements in a row share one, whoever waits is served first, a lost one is replaced."""

from __future__ import annotations

import asyncio

import asyncpg

from kernel.db import Database
from tests.conftest import Stores

PATIENCE = 20.0


async def backend(database: Database) -> int:
    async with database.anywhere() as conn:
        pid: int = await conn.fetchval("SELECT pg_backend_pid()")
    return pid


async def test_statements_in_a_row_share_a_connection_and_close_gives_it_back(stores: Stores) -> None:
    database = await Database.connect(stores.app_url, size=4)
    first = await backend(database)
    assert [await backend(database) for _ in range(20)] == [first] * 20
    async with asyncio.timeout(PATIENCE):
        await database.close()


async def test_who_waits_for_a_connection_is_handed_the_next_one(stores: Stores) -> None:
    database = await Database.connect(stores.app_url, size=2)
    async with asyncio.timeout(PATIENCE):
        for _ in range(20):
            assert len(set(await asyncio.gather(*(backend(database) for _ in range(9))))) <= 2
    await database.close()


async def test_a_connection_that_was_lost_at_hand_is_replaced(
    stores: Stores, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    database = await Database.connect(stores.app_url, size=1)
    lost = await backend(database)
    await admin.execute("SELECT pg_terminate_backend($1, 5000)", lost)
    await asyncio.sleep(0.1)  # the news of the loss arrives
    async with asyncio.timeout(PATIENCE):
        assert await backend(database) != lost
        await database.close()


async def test_an_error_inside_leaves_no_transaction_to_the_next(stores: Stores) -> None:
    database = await Database.connect(stores.app_url, size=1)
    try:
        async with database.anywhere() as conn:
            await conn.execute("BEGIN")
            await conn.execute("SELECT 1 / 0")
    except asyncpg.DivisionByZeroError:
        pass
    async with database.anywhere() as conn:
        assert not conn.is_in_transaction()
    await database.close()


async def test_idle_connections_go_back_to_the_pool(stores: Stores) -> None:
    """The pool closes them when nobody needs them; those in use it would keep for good."""
    database = await Database.connect(stores.app_url, size=3)
    await asyncio.gather(*(backend(database) for _ in range(3)))
    async with asyncio.timeout(PATIENCE):
        while database.in_use:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await database.close()
