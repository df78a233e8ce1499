"""The Postgres pool, the one transaction helper that sets the workspace, and the check of the role we run as."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
from pgvector.asyncpg import register_vector

from kernel.errors import ConfigError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[Any] | PoolConnectionProxy[Any]
else:
    Connection = asyncpg.Connection

_AT_HAND = 1.0  # seconds

# What a lost, refused or restarting server raises. Never the fault of one row.
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


def row_fault(error: Exception) -> bool:
    """Whether an error can be the fault of a single row in a batch, so that trying its neighbours alone helps.

    asyncpg calls a value that it cannot encode an InterfaceError as well; that one is a ValueError too.
    """
    return isinstance(error, ValueError) or not isinstance(error, AWAY)


def encode_json(value: Any) -> bytes:
    """JSON as Postgres takes it: jsonb cannot hold the character NUL, so it is left out."""
    data = orjson.dumps(value)
    # Most values hold no backslash at all, and one byte is looked for ten times faster than six.
    nul = b"\\" in data and b"\\u0000" in data
    return orjson.dumps(_without_nul(orjson.loads(data))) if nul else data


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + encode_json(value)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return [_without_nul(item) for item in value] if isinstance(value, list) else value


class Database:
    """A pool of connections under the app's role. Make it with `connect`."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        # Connections at hand, for a moment: under load the next statement takes one from here, because asyncpg's pool
        # asks for a task and two rounds of the event loop each time.
        self._at_hand: list[PoolConnectionProxy[Any]] = []
        self._waiting = 0
        self._clearing: asyncio.TimerHandle | None = None
        self._released: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(cls, url: str, *, size: int = 10, name: str = "parley") -> Database:
        """Opens the pool. Raises ConfigError when the server cannot be reached or the role is unsafe."""
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                init=_prepare,
                reset=_leave,
                command_timeout=60,
                server_settings={"application_name": name, "jit": "off"},
            )
        except (OSError, asyncpg.PostgresError, ValueError) as error:
            raise ConfigError(f"DATABASE_URL: cannot use the database: {error}") from error
        database = cls(pool)
        try:
            async with database.anywhere() as conn:
                await refuse_unsafe_role(conn)
        except BaseException:
            await database.close()
            raise
        return database

    @asynccontextmanager
    async def workspace(self, workspace_id: str) -> AsyncIterator[Connection]:
        """One transaction that sees this workspace's rows and no others."""
        async with self.anywhere() as conn, conn.transaction():
            await conn.execute("SELECT set_config('app.workspace_id', $1, true)", workspace_id)
            yield conn

    @asynccontextmanager
    async def anywhere(self) -> AsyncIterator[Connection]:
        """A connection with no workspace: tables look empty, only definer functions answer. No transaction."""
        conn = await self._take()
        try:
            yield conn
        except BaseException:
            await self._pool.release(conn)  # which throws away one that is broken
            raise
        if self._waiting or not _alive(conn):
            await self._pool.release(conn)
        else:
            self._lay_down(conn)

    async def _take(self) -> PoolConnectionProxy[Any]:
        while self._at_hand:
            conn = self._at_hand.pop()
            if _alive(conn):
                return conn
            await self._pool.release(conn)
        self._waiting += 1
        try:
            return await self._pool.acquire()
        finally:
            self._waiting -= 1

    def _lay_down(self, conn: PoolConnectionProxy[Any]) -> None:
        self._at_hand.append(conn)
        if self._clearing is None:
            self._clearing = asyncio.get_running_loop().call_later(_AT_HAND, self._clear)

    def _clear(self) -> None:
        """Gives what lies at hand back to the pool, which closes connections that nobody needs."""
        self._clearing = None
        while self._at_hand:
            task = asyncio.create_task(self._pool.release(self._at_hand.pop()))
            self._released.add(task)
            task.add_done_callback(self._released.discard)

    @property
    def in_use(self) -> int:
        """Connections that are out of the pool, at work or at hand."""
        return self._pool.get_size() - self._pool.get_idle_size()

    async def close(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
        self._clear()
        await self._pool.close()


def _alive(conn: PoolConnectionProxy[Any]) -> bool:
    try:
        return not conn.is_closed()
    except asyncpg.InterfaceError:  # lost, and the pool has noticed before us
        return False


async def _prepare(conn: asyncpg.Connection[Any]) -> None:
    await conn.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=_encode_jsonb,
        decoder=lambda data: orjson.loads(data[1:]),
    )
    if await conn.fetchval("SELECT to_regtype('halfvec') IS NOT NULL"):
        await register_vector(conn)


async def _leave(conn: asyncpg.Connection[Any]) -> None:
    """Nothing: we alter sessions within transactions only, and open ones are rolled back and listeners dropped before
    this is called. asyncpg's RESET would be a second round trip for every statement outside a transaction."""


async def refuse_unsafe_role(conn: Connection) -> None:
    """Raises ConfigError when the role could see past row security, or a table lacks its policy."""
    role = await conn.fetchrow(
        """
        SELECT rolname, rolsuper, rolbypassrls, to_regrole('parley_app') IS NULL AS unmigrated,
            coalesce(pg_has_role(current_user, to_regrole('parley_owner'), 'MEMBER'), false) AS owner,
            coalesce(pg_has_role(current_user, to_regrole('parley_app'), 'USAGE'), false) AS app
        FROM pg_roles WHERE rolname = session_user
        """
    )
    assert role is not None
    name = role["rolname"]
    for unsafe, why in (
        ("rolsuper", "is a superuser"),
        ("rolbypassrls", "has BYPASSRLS"),
        ("owner", "owns the tables"),
    ):
        if role[unsafe] and not role["unmigrated"]:
            raise ConfigError(
                f"DATABASE_URL: role {name!r} {why}, so the database could not keep workspaces apart. "
                "Use a plain login role that is a member of parley_app (`parley migrate` makes one)."
            )
    if role["unmigrated"] or not role["app"]:
        raise ConfigError(
            f"DATABASE_URL: role {name!r} is no member of parley_app. Run `parley migrate` with DATABASE_ADMIN_URL."
        )
    bare = await conn.fetch("SELECT name FROM unprotected_tables() AS name")
    if bare:
        names = ", ".join(sorted(row["name"] for row in bare))
        raise ConfigError(f"tables without row security or policy: {names}. Refusing to start.")
