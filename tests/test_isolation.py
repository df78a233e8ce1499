"""The database keeps workspaces apart: forgetful queries see nothing, unsafe roles do not start."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from kernel.db import Database
from kernel.errors import ConfigError
from tests.conftest import Stores


async def tenant_tables(admin: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Partitions are left out: the app may not touch one except through its parent, which stands for it."""
    rows = await admin.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attname = 'workspace_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition "
        "AND c.relnamespace = 'public'::regnamespace"
    )
    return [row["relname"] for row in rows]


async def test_t2_a_query_that_forgets_the_workspace_returns_nothing(
    database: Database, admin: asyncpg.Connection[asyncpg.Record], workspace_id: str, second_workspace: str
) -> None:
    tables = await tenant_tables(admin)
    assert {"workspaces", "messages", "turns", "events", "webhooks", "api_keys"} <= set(tables)
    for workspace in (workspace_id, second_workspace):
        async with database.workspace(workspace) as conn:
            await conn.execute("INSERT INTO users (workspace_id, user_id) VALUES ($1, 'usr_same')", workspace)
    for table in tables:
        async with database.anywhere() as conn:
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        for workspace in (workspace_id, second_workspace):
            truth = await admin.fetchval(f"SELECT count(*) FROM {table} WHERE workspace_id = $1", workspace)
            async with database.workspace(workspace) as conn:
                assert await conn.fetchval(f"SELECT count(*) FROM {table}") == truth, table
    async with database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM users WHERE user_id = 'usr_same'") == 1


async def test_t2_writing_into_another_workspace_is_refused(
    database: Database, workspace_id: str, second_workspace: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.workspace(workspace_id) as conn:
            await conn.execute("INSERT INTO users (workspace_id, user_id) VALUES ($1, 'usr_x')", second_workspace)
    async with database.workspace(workspace_id) as conn:
        assert await conn.execute(
            "UPDATE workspaces SET name = 'mine now' WHERE workspace_id = $1", second_workspace
        ) == ("UPDATE 0")


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}@"))


@pytest.mark.parametrize(
    ("attributes", "grant", "complaint"),
    [
        ("SUPERUSER", "", "superuser"),
        ("BYPASSRLS", "GRANT parley_app TO {}", "BYPASSRLS"),
        ("", "GRANT parley_owner TO {}", "owns the tables"),
        ("", "", "no member of parley_app"),
    ],
)
async def test_t3_an_unsafe_role_does_not_start(
    stores: Stores, admin: asyncpg.Connection[asyncpg.Record], attributes: str, grant: str, complaint: str
) -> None:
    await admin.execute(f"CREATE ROLE unsafe LOGIN {attributes}")
    try:
        if grant:
            await admin.execute(grant.format("unsafe"))
        with pytest.raises(ConfigError, match=complaint):
            await Database.connect(as_role(stores.admin_url, "unsafe"))
    finally:
        await admin.execute("DROP OWNED BY unsafe; DROP ROLE unsafe")


@pytest.mark.parametrize("protection", ["", "ALTER TABLE bare ENABLE ROW LEVEL SECURITY"])
async def test_t3_a_table_without_protection_stops_the_start(
    stores: Stores, admin: asyncpg.Connection[asyncpg.Record], protection: str
) -> None:
    await admin.execute("CREATE TABLE bare (workspace_id text)")
    try:
        if protection:
            await admin.execute(protection)
        with pytest.raises(ConfigError, match="bare"):
            await Database.connect(stores.app_url)
    finally:
        await admin.execute("DROP TABLE bare")


async def test_t4_a_reused_connection_never_carries_a_workspace_over(
    stores: Stores, workspace_id: str, second_workspace: str
) -> None:
    """Ten thousand interleaved requests on a pool of two, with errors and cancellations inside transactions."""
    database = await Database.connect(stores.app_url, size=2)
    seeded = random.Random(4)
    wrong: list[str] = []

    async def request(n: int) -> None:
        workspace = (workspace_id, second_workspace)[n % 2]
        end = seeded.random()
        async with database.workspace(workspace) as conn:
            seen = await conn.fetchval("SELECT workspace_id FROM workspaces")
            if seen != workspace:
                wrong.append(seen)
            if end < 0.05:
                await conn.execute("SELECT 1 / 0")
            if end < 0.1:
                raise ValueError("thrown inside")

    async def bare() -> None:
        async with database.anywhere() as conn:
            if await conn.fetchval("SELECT count(*) FROM workspaces"):
                wrong.append("carried over")

    async def batch(start: int) -> None:
        tasks = [asyncio.create_task(request(n) if n % 10 else bare()) for n in range(start, start + 100)]
        await asyncio.sleep(0)
        for task in seeded.sample(tasks, 5):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    for start in range(0, 10_000, 100):
        await batch(start)
    await database.close()
    assert wrong == []
