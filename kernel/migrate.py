"""Runs the numbered SQL files: forward only, each in one transaction, under an advisory lock, with checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from kernel.errors import ConfigError

_LOCK = 0x70_61_72_6C_65_79  # "parley"
_FOLDER = Path(__file__).resolve().parent.parent / "migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = _FOLDER) -> list[Migration]:
    """The files `NNNN_name.sql` in order. Raises ConfigError on a gap or a doubled number."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
        if match:
            found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ConfigError(f"migrations are not numbered 1 to {len(found)} without gaps")
    return found


async def migrate(
    admin_url: str, app_url: str, say: Callable[[str], object] = lambda _: None, *, folder: Path = _FOLDER
) -> int:
    """Brings the database up to date and makes sure that the app's login role exists.

    `admin_url` must be able to create roles and the extension; `app_url` names the login role (made, with the
    password in the URL, when it is missing). Returns how many files ran. Raises ConfigError.
    """
    try:
        conn = await asyncpg.connect(admin_url, timeout=10)
    except (OSError, asyncpg.PostgresError, ValueError, TimeoutError) as error:
        raise ConfigError(f"DATABASE_ADMIN_URL: cannot connect: {error}") from error
    try:
        await conn.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _ensure_roles(conn, app_url)
        return await _run_pending(conn, read_migrations(folder), say)
    except asyncpg.PostgresError as error:
        raise ConfigError(f"migration failed: {error}") from error
    finally:
        await conn.close(timeout=5)


async def _ensure_roles(conn: asyncpg.Connection[Any], app_url: str) -> None:
    for role in ("parley_owner", "parley_app"):
        if not await conn.fetchval("SELECT to_regrole($1)", role):
            await conn.execute(f"CREATE ROLE {role} NOLOGIN")
    await conn.execute(
        """
        CREATE EXTENSION IF NOT EXISTS vector;
        GRANT USAGE, CREATE ON SCHEMA public TO parley_owner;
        GRANT USAGE ON SCHEMA public TO parley_app;
        """
    )
    if not await conn.fetchval("SELECT pg_has_role(current_user, 'parley_owner', 'SET')"):
        await conn.execute("GRANT parley_owner TO current_user WITH INHERIT FALSE")
    await _ensure_login(conn, app_url)


async def _ensure_login(conn: asyncpg.Connection[Any], app_url: str) -> None:
    parts = urlsplit(app_url)
    login = unquote(parts.username or "")
    admin = await conn.fetchval("SELECT current_user")
    if not login or login == admin:
        return
    quoted = await conn.fetchval("SELECT quote_ident($1)", login)
    if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", login):
        secret = await conn.fetchval("SELECT quote_literal($1)", unquote(parts.password or ""))
        await conn.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD {secret}")
    await conn.execute(f"GRANT parley_app TO {quoted}")


async def _run_pending(conn: asyncpg.Connection[Any], migrations: list[Migration], say: Callable[[str], object]) -> int:
    await conn.execute(
        """
        SET ROLE parley_owner;
        SET lock_timeout = '5s';
        CREATE TABLE IF NOT EXISTS schema_migrations (
            number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now());
        GRANT SELECT ON schema_migrations TO parley_app;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO parley_app;
        ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        """
    )
    applied = {row["number"]: row["checksum"] for row in await conn.fetch("SELECT * FROM schema_migrations")}
    ran = 0
    for migration in migrations:
        if migration.number in applied:
            if applied[migration.number] != migration.checksum:
                raise ConfigError(f"migration {migration.number:04} was changed after it had been applied")
            continue
        say(f"migration {migration.number:04} {migration.name}")
        async with conn.transaction():
            await conn.execute(migration.sql)
            await conn.execute(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
        ran += 1
    return ran


async def pending(conn: Any) -> int:
    """How many files the database has not seen yet."""
    known = await conn.fetchval("SELECT count(*) FROM schema_migrations")
    return len(read_migrations()) - int(known)
