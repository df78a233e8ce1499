"""Postgres and Redis of a bench run's own, in a temporary folder: embedded, on sockets, fsync on, gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from channels import accounts
from gateway.embedded import claim, embedded_postgres, embedded_redis
from gateway.supervisor import Supervisor
from identity import keys
from kernel.db import Connection, Database
from kernel.ids import new_id
from kernel.migrate import migrate
from kernel.secrets import KeyRing, generate_ring

TOKEN = "12345:" + "A" * 35
SECRET = "s" * 32


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the stores listen, migrated. `admin_url` is the superuser's, `app_url` the plain role's."""

    folder: Path
    admin_url: str
    app_url: str
    redis_url: str
    ring: str = field(repr=False)

    def environment(self, **more: str) -> dict[str, str]:
        """The settings of a Parley process on these stores."""
        return {
            "DATABASE_URL": self.app_url,
            "REDIS_URL": self.redis_url,
            "PARLEY_SECRET_KEYS": self.ring,
            "PARLEY_DATA_DIR": str(models()),
            "PARLEY_PUBLIC_URL": "http://127.0.0.1:1",
            "EGRESS_ALLOW": "127.0.0.0/8",
            "LOG_LEVEL": "WARNING",
            **more,
        }

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Connection]:
        conn = await asyncpg.connect(self.admin_url)
        try:
            yield conn
        finally:
            await conn.close()

    async def workspace(self) -> str:
        """A fresh workspace's id."""
        slug = new_id("w")
        async with self.admin() as conn:
            made: str = await conn.fetchval("SELECT workspace_id FROM create_workspace($1, $1, $1)", slug)
        return made

    async def api_key(self, workspace_id: str) -> str:
        """A key of the workspace with every scope."""
        async with self._inside(workspace_id) as (conn, ring):
            _, api_key = await keys.create(conn, ring, workspace_id, name="bench")
        return api_key

    async def telegram_account(self, workspace_id: str, **settings: str) -> str:
        """A connected bot whose webhook secret is SECRET."""
        credentials = {"token": TOKEN, "webhook_secret": SECRET}
        profile = {"id": int(TOKEN.split(":")[0]), "username": "bench_bot"}
        return await self.account(workspace_id, "telegram", "webhook", credentials, profile=profile, settings=settings)

    async def echo_over_rest(self, workspace_id: str) -> None:
        """What is said over REST comes back as it is."""
        async with self._inside(workspace_id) as (conn, ring):
            account_id = await accounts.ensure_rest(conn, ring, workspace_id)
            await accounts.change(conn, account_id, name=None, settings={"answer": "echo"})

    async def account(
        self,
        workspace_id: str,
        kind: str,
        mode: str,
        credentials: dict[str, Any],
        *,
        profile: dict[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """A connected bot that may say as much as it likes."""
        free = {"pace": {"bot": 1e6, "chat": 1e6, "workspace": 1e6}}
        async with self._inside(workspace_id) as (conn, ring):
            return await accounts.create(
                conn, ring, workspace_id, kind=kind, name="bench", mode=mode, credentials=credentials,
                settings={**free, **(settings or {})}, profile=profile or {},
            )  # fmt: skip

    @asynccontextmanager
    async def _inside(self, workspace_id: str) -> AsyncIterator[tuple[Connection, KeyRing]]:
        database = await Database.connect(self.app_url, size=1, name="parley-bench")
        try:
            async with database.workspace(workspace_id) as conn:
                yield conn, KeyRing.parse(self.ring)
        finally:
            await database.close()


def models() -> Path:
    """Where the model's graph is kept between runs, so that only the first one builds it."""
    folder = Path(tempfile.gettempdir()) / "parley-bench-models"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@asynccontextmanager
async def stores(report: Callable[[str], None] = lambda _: None) -> AsyncIterator[Stores]:
    """Runs both for as long as the block; they inherit this process's cores."""
    folder = Path(tempfile.mkdtemp(prefix="parley-bench-"))
    folder.chmod(0o711)
    try:
        with claim(folder / "data") as place:
            postgres, redis = embedded_postgres(place), embedded_redis(place)
            async with Supervisor(report) as supervisor:
                await supervisor.start(postgres.child, redis.child)
                app_url = postgres.url.replace("//postgres@", "//parley:bench@")
                await migrate(postgres.url, app_url)
                yield Stores(folder, postgres.url, app_url, redis.url, generate_ring())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
