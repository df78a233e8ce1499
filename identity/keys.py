"""API keys: `prl_<env>_<public id>_<secret>_<checksum>`, found by the public id, proven by a keyed hash of the whole.

The form follows GitHub's tokens (https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/): a
readable prefix for secret scanners, underscores, base62, and a CRC32 tail, so that a typo is refused without a query.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kernel.db import Connection
from kernel.ids import new_id
from kernel.secrets import KeyRing
from kernel.types import Json

SCOPES = ("read", "write", "admin")
OWNER_SCOPES = (*SCOPES, "owner")  # "owner" acts for the organization: its workspaces, and keys in any of them

# For secret scanners.
PATTERN = r"prl_[a-z]{2,8}_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}"

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(PATTERN, re.ASCII)
_SEES = "key_id, name, scopes, created_at, expires_at, last_used_at, revoked_at"


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of a key that somebody presents."""

    workspace_id: str
    key_id: str
    secret_hash: bytes = field(repr=False)
    scopes: frozenset[str]
    expires_at: datetime | None
    revoked_at: datetime | None

    def in_force(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def pepper(ring: KeyRing) -> bytes:
    return ring.derive("api-keys")


def digest(peppered: bytes, api_key: str) -> bytes:
    return hmac.digest(peppered, api_key.encode(), "sha256")


def public_id_of(api_key: str) -> str | None:
    """The look-up part of a well-formed key; None when the form or the checksum is wrong."""
    if not _KEY.fullmatch(api_key) or not hmac.compare_digest(_checksum(api_key[:-7]), api_key[-6:]):
        return None
    return api_key.split("_")[2]


def mint(env: str = "live") -> str:
    """A new key. Raises ValueError when `env` is not 2 to 8 lower-case letters."""
    head = f"prl_{env}_{_random(12)}_{_random(32)}"
    api_key = f"{head}_{_checksum(head)}"
    if not _KEY.fullmatch(api_key):
        raise ValueError("an environment is named by 2 to 8 lower-case letters")
    return api_key


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _checksum(head: str) -> str:
    rest, signs = zlib.crc32(head.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        signs = _DIGITS[digit] + signs
    return signs


async def create(
    conn: Connection,
    ring: KeyRing,
    workspace_id: str,
    *,
    name: str,
    scopes: Sequence[str] = SCOPES,
    expires_at: datetime | None = None,
    env: str = "live",
) -> tuple[str, str]:
    """Makes a key, inside this workspace's transaction. Returns its id and the key itself, shown this once only."""
    unknown = set(scopes) - set(OWNER_SCOPES)
    if unknown or not scopes:
        raise ValueError(f"scopes are taken from {', '.join(OWNER_SCOPES)}")
    api_key, key_id = mint(env), new_id("key")
    await conn.execute(
        """
        INSERT INTO api_keys (workspace_id, key_id, public_id, secret_hash, name, scopes, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        workspace_id,
        key_id,
        public_id_of(api_key),
        digest(pepper(ring), api_key),
        name,
        [scope for scope in OWNER_SCOPES if scope in scopes],
        expires_at,
    )
    return key_id, api_key


async def find(conn: Connection, public_id: str) -> Known | None:
    """The key with this public id, in whatever workspace, revoked and expired ones included."""
    row = await conn.fetchrow("SELECT * FROM find_api_key($1)", public_id)
    return Known(**{**row, "scopes": frozenset(row["scopes"])}) if row else None


async def list_keys(conn: Connection, *, cursor: str = "", limit: int = 50) -> tuple[list[Json], str | None]:
    """The workspace's keys without their secrets, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"SELECT {_SEES} FROM api_keys WHERE $1 = '' OR key_id < $1 ORDER BY key_id DESC LIMIT $2 + 1",  # noqa: S608
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["key_id"] if len(rows) > limit else None


async def revoke(conn: Connection, key_id: str) -> str | None:
    """Puts a key out of force for good. Returns its public id, None when there is no such key. May be repeated."""
    public_id: str | None = await conn.fetchval(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = $1 RETURNING public_id", key_id
    )
    return public_id


async def note_use(conn: Connection, key_id: str) -> None:
    """Writes when a key was used, at most once a minute."""
    await conn.execute(
        """
        UPDATE api_keys SET last_used_at = now()
        WHERE key_id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
        """,
        key_id,
    )
