"""Real stores for every test that needs them: one embedded Postgres and one Redis for the whole run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from arq.connections import ArqRedis

from gateway.embedded.place import claim
from gateway.embedded.postgres import embedded_postgres
from gateway.embedded.redis import embedded_redis
from gateway.services import Ground, open_ground
from gateway.supervisor import Supervisor
from kernel.db import Database
from kernel.ids import new_id
from kernel.migrate import migrate
from kernel.queue import open_redis
from kernel.secrets import KeyRing, generate_ring
from kernel.settings import Settings
from tests.event_check import check_events, made_up_events

# How fast examples come is the machine's business: no test asserts the clock.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")

_DEADLOCKS = 5
_LEFT = ("inbound_updates", "channel_accounts", "webhooks")


@dataclass(frozen=True, slots=True)
class Stores:
    """Where this run's stores listen; `admin_url` is the superuser's."""

    admin_url: str
    app_url: str
    redis_url: str
    pids: Callable[[], dict[str, int]]


@pytest.fixture(scope="session")
async def stores() -> AsyncIterator[Stores]:
    folder = Path(tempfile.mkdtemp(prefix="parley-test-"))
    folder.chmod(0o711)
    try:
        with claim(folder / "data") as place:
            postgres, redis = embedded_postgres(place), embedded_redis(place)
            async with Supervisor(lambda _: None) as supervisor:
                await supervisor.start(postgres.child, redis.child)
                app_url = postgres.url.replace("//postgres@", "//parley:test@")
                await migrate(postgres.url, app_url)
                yield Stores(postgres.url, app_url, redis.url, supervisor.pids)
                conn = await asyncpg.connect(postgres.url)
                await check_events(conn)  # of workspaces that tests have made for themselves
                await conn.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Where models are kept between runs, so that only the first run builds the graph."""
    folder = Path(tempfile.gettempdir()) / "parley-test-models"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def settings(stores: Stores, data_dir: Path) -> Settings:
    return Settings.read(
        {
            "DATABASE_URL": stores.app_url,
            "DATABASE_ADMIN_URL": stores.admin_url,
            "REDIS_URL": stores.redis_url,
            "PARLEY_SECRET_KEYS": generate_ring(),
            "PARLEY_DATA_DIR": str(data_dir),
            "PARLEY_PUBLIC_URL": "http://127.0.0.1:1",
            "EGRESS_ALLOW": "127.0.0.0/8",
            "TURN_LEASE_SECONDS": "2",
        }
    )


@pytest.fixture(scope="session")
async def ground(settings: Settings) -> AsyncIterator[Ground]:
    async with open_ground(settings, name="parley-test") as ground:
        yield ground


@pytest.fixture(scope="session")
def database(ground: Ground) -> Database:
    return ground.database


@pytest.fixture(scope="session")
def keyring(ground: Ground) -> KeyRing:
    return ground.ring


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[ArqRedis]:
    client = open_redis(stores.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def admin(stores: Stores) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The superuser's connection, to look behind row security."""
    conn = await asyncpg.connect(stores.admin_url)
    yield conn
    await conn.close()


@pytest.fixture
async def workspace_id(database: Database, stores: Stores, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    made = await make_workspace(database)
    yield made
    await abandon(stores, made, made_up_events(request.module.__name__))


@pytest.fixture
async def second_workspace(database: Database, stores: Stores, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    made = await make_workspace(database)
    yield made
    await abandon(stores, made, made_up_events(request.module.__name__))


async def abandon(stores: Stores, workspace_id: str, made_up: Collection[str] = ()) -> None:
    """Looks at the events that were published, and leaves no work behind that the next test's sweeps would find."""
    conn = await asyncpg.connect(stores.admin_url)
    for _ in range(_DEADLOCKS):  # a gateway of a whole module goes on meanwhile, and locks rows in its own order
        with suppress(asyncpg.DeadlockDetectedError):
            for table in _LEFT:
                await conn.execute(f"DELETE FROM {table} WHERE workspace_id = $1", workspace_id)
            break
    else:
        pytest.fail("what a test left behind could not be cleared away", False)
    try:
        await check_events(conn, workspace_id, made_up)
    finally:
        await conn.execute("DELETE FROM events WHERE workspace_id = $1", workspace_id)
        await conn.close()


async def make_workspace(database: Database) -> str:
    slug = new_id("w")
    async with database.anywhere() as conn:
        made: str = await conn.fetchval("SELECT workspace_id FROM create_workspace($1, $1, $1)", slug)
    return made
