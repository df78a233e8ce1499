"""What the first start on a data directory makes, and later starts find again.

DIR/secret_keys        the key ring, unless PARLEY_SECRET_KEYS is set
DIR/credentials.json   {"url", "workspace", "api_key"} of the owner
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg

from identity import keys
from identity.founding import found
from kernel.db import AWAY, Connection, Database
from kernel.errors import ConfigError
from kernel.migrate import migrate, pending
from kernel.secrets import KeyRing, generate_ring
from kernel.settings import Settings

_ORGANIZATION = _WORKSPACE = "default"


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner's key. `origin`: found again, made on the first start, or made because it was lost."""

    api_key: str = field(repr=False)
    origin: Literal["found", "first", "renewed"]


def key_ring(settings: Settings, folder: Path, *, used: bool) -> str:
    """The ring in force: the setting's, or the file's, made when missing.

    `used`: the database here holds values that were sealed under it. Raises ConfigError when that ring is gone.
    """
    if settings.secret_keys:
        return settings.secret_keys
    path = folder / "secret_keys"
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    if used:
        raise ConfigError(
            f"{path} is missing, and keys and bot tokens in this database open with it alone: put it back,"
            " set PARLEY_SECRET_KEYS, or start afresh with another --data-dir"
        )
    ring = generate_ring()
    write_private(path, ring + "\n")
    return ring


def write_private(path: Path, text: str) -> None:
    """The whole text or the old one, readable for its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


async def prepare_database(settings: Settings, say: Callable[[str], object]) -> None:
    """Migrations, where we have a role that may run them. Raises ConfigError when some are missing and we have not."""
    if settings.database_admin_url:
        await migrate(settings.database_admin_url, settings.database_url, say)
        return
    try:
        conn = await asyncpg.connect(settings.database_url, timeout=10)
        try:
            missing = await pending(conn)
        finally:
            await conn.close(timeout=5)
    except asyncpg.UndefinedTableError as error:
        raise ConfigError("the database is empty: run `parley migrate` with DATABASE_ADMIN_URL set") from error
    except (*AWAY, asyncpg.PostgresError, ValueError, TimeoutError) as error:
        raise ConfigError(f"DATABASE_URL: cannot use the database: {error}") from error
    if missing:
        raise ConfigError(f"{missing} migrations are missing: run `parley migrate` with DATABASE_ADMIN_URL set")


async def settle(settings: Settings, folder: Path, url: str) -> Owner:
    """Organization, workspace and owner's key, and the file that tells of them."""
    ring = KeyRing.parse(settings.secret_keys)
    path = folder / "credentials.json"
    kept = _read(path)

    def write(api_key: str) -> None:
        _write(path, {"url": url, "workspace": _WORKSPACE, "api_key": api_key})

    async with _opened(settings) as database:
        async with database.anywhere() as conn:
            known = await _works(conn, ring, kept)
        if known:
            _write(path, {**kept, "url": url})
            return Owner(kept["api_key"], "found")
        api_key, first = await _new_owner(database, ring, write)
    return Owner(api_key, "first" if first else "renewed")


async def make_owner(settings: Settings) -> str:
    """A new key for the owner of the default workspace, which is made when missing."""
    ring = KeyRing.parse(settings.secret_keys)
    async with _opened(settings) as database:
        return (await _new_owner(database, ring, lambda _: None))[0]


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = await Database.connect(settings.database_url, size=1, name="parley-installation")
    try:
        yield database
    finally:
        await database.close()


async def _new_owner(database: Database, ring: KeyRing, keep: Callable[[str], object]) -> tuple[str, bool]:
    """The key, and whether its workspace is new. `keep` is called before COMMIT.

    So a crash leaves at worst a kept key that does not work, which the next start replaces, never a lost one.
    """
    async with database.anywhere() as conn:
        workspace_id, new = await found(conn, _ORGANIZATION, _WORKSPACE, "Default")
    if workspace_id is None:
        raise ConfigError(f"the workspace {_WORKSPACE!r} of this database belongs to another organization")
    async with database.workspace(workspace_id) as conn:
        _, api_key = await keys.create(conn, ring, workspace_id, name="Owner", scopes=keys.OWNER_SCOPES)
        keep(api_key)
    return api_key, new


def _write(path: Path, credentials: dict[str, Any]) -> None:
    write_private(path, json.dumps(credentials, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


async def _works(conn: Connection, ring: KeyRing, kept: dict[str, Any]) -> bool:
    """Whether the kept key is one of this database and still in force."""
    api_key = str(kept.get("api_key", ""))
    public_id = keys.public_id_of(api_key)
    known = await keys.find(conn, public_id) if public_id else None
    if known is None or not known.in_force(datetime.now(UTC)):
        return False
    return hmac.compare_digest(keys.digest(keys.pepper(ring), api_key), known.secret_hash)
