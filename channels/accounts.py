"""The door to channel accounts: bots installed for a workspace, their credentials sealed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kernel.db import Connection
from kernel.errors import NotFound
from kernel.events import publish
from kernel.ids import new_id
from kernel.secrets import KeyRing, place
from kernel.types import Account, Health, Json

_PUBLIC = "account_id, kind, name, mode, status, failure, settings, profile, health, last_inbound_at, created_at"


def _where(workspace_id: str, account_id: str) -> bytes:
    return place(workspace_id, "channel_accounts", "sealed_credentials", account_id)


def _account(row: Any, ring: KeyRing) -> Account:
    sealed = row["sealed_credentials"]
    opened = ring.open(sealed, _where(row["workspace_id"], row["account_id"])) if sealed else b"{}"
    return Account(
        workspace_id=row["workspace_id"],
        account_id=row["account_id"],
        kind=row["kind"],
        mode=row["mode"],
        credentials=orjson.loads(opened),
        settings=row["settings"],
        profile=row["profile"],
    )


async def find(conn: Connection, ring: KeyRing, account_id: str) -> Account | None:
    """The account that an inbound request names, in whatever workspace. Raises SealBroken."""
    row = await conn.fetchrow("SELECT * FROM find_account($1)", account_id)
    return _account(row, ring) if row else None


async def create(
    conn: Connection,
    ring: KeyRing,
    workspace_id: str,
    *,
    kind: str,
    name: str,
    mode: str,
    credentials: Json,
    settings: Json,
    profile: Json,
    account_id: str | None = None,
) -> str:
    """Installs a bot and publishes `channel.connected`. Returns the account's id."""
    account_id = account_id or new_id("acc")
    await conn.execute(
        """
        INSERT INTO channel_accounts (workspace_id, account_id, kind, name, mode, sealed_credentials, settings, profile)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        workspace_id,
        account_id,
        kind,
        name,
        mode,
        ring.seal(orjson.dumps(credentials), _where(workspace_id, account_id)),
        settings,
        profile,
    )
    await publish(conn, workspace_id, "channel.connected", {"account_id": account_id, "kind": kind, "name": name})
    return account_id


async def ensure_rest(conn: Connection, ring: KeyRing, workspace_id: str) -> str:
    """The account through which the workspace's own REST calls talk; made at first use."""
    existing: str | None = await conn.fetchval("SELECT account_id FROM channel_accounts WHERE kind = 'rest'")
    if existing:
        return existing
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"rest:{workspace_id}")
    existing = await conn.fetchval("SELECT account_id FROM channel_accounts WHERE kind = 'rest'")
    return existing or await create(
        conn, ring, workspace_id, kind="rest", name="REST", mode="api", credentials={}, settings={}, profile={}
    )


async def lock_bot(conn: Connection, workspace_id: str, kind: str, bot_id: str) -> None:
    """Until the transaction ends, nobody else connects or looks for this bot in this workspace."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{kind}:{workspace_id}:{bot_id}")


async def list_all(conn: Connection, limit: int, after: str) -> list[Json]:
    """The workspace's connected accounts by id, without credentials."""
    rows = await conn.fetch(
        f"SELECT {_PUBLIC} FROM channel_accounts WHERE status <> 'disconnected' AND account_id > $2 "  # noqa: S608
        "ORDER BY account_id LIMIT $1",
        limit,
        after,
    )
    return [dict(row) for row in rows]


async def get(conn: Connection, account_id: str) -> Json:
    """One account without credentials. Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_PUBLIC} FROM channel_accounts WHERE account_id = $1 AND status <> 'disconnected'",  # noqa: S608
        account_id,
    )
    if row is None:
        raise NotFound(f"no channel account {account_id}")
    return dict(row)


async def change(conn: Connection, account_id: str, *, name: str | None, settings: Json | None) -> Json:
    """Changes name and merges settings (a null value removes a setting). Raises NotFound."""
    await conn.execute(
        """
        UPDATE channel_accounts SET name = coalesce($2, name), version = version + 1,
            settings = jsonb_strip_nulls(settings || coalesce($3::jsonb, '{}'))
        WHERE account_id = $1 AND status <> 'disconnected'
        """,
        account_id,
        name,
        settings,
    )
    return await get(conn, account_id)


async def amend(conn: Connection, ring: KeyRing, account_id: str, change: Callable[[Json], Json]) -> None:
    """Puts what `change` makes of an account's credentials in their place, one caller after the other.

    Raises NotFound and SealBroken.
    """
    row = await conn.fetchrow(
        """
        SELECT workspace_id, sealed_credentials FROM channel_accounts
        WHERE account_id = $1 AND status <> 'disconnected' FOR UPDATE
        """,
        account_id,
    )
    if row is None:
        raise NotFound(f"no channel account {account_id}")
    where = _where(row["workspace_id"], account_id)
    credentials = orjson.loads(ring.open(row["sealed_credentials"], where))
    await conn.execute(
        "UPDATE channel_accounts SET sealed_credentials = $2, version = version + 1 WHERE account_id = $1",
        account_id,
        ring.seal(orjson.dumps(change(credentials)), where),
    )


async def disconnect(conn: Connection, account_id: str) -> None:
    """Takes a bot out of service and forgets its credentials; what was said stays. Raises NotFound."""
    row = await get(conn, account_id)
    await conn.execute(
        """
        UPDATE channel_accounts SET status = 'disconnected', sealed_credentials = NULL, version = version + 1,
            poll_lease_until = '-infinity', poll_token = ''
        WHERE account_id = $1
        """,
        row["account_id"],
    )


async def report(conn: Connection, workspace_id: str, account_id: str, failure: str) -> None:
    """Notes that the platform refuses this bot (or, with an empty failure, that it works again)."""
    changed = await conn.fetchrow(
        """
        UPDATE channel_accounts SET failure = $2, status = CASE WHEN $2 = '' THEN 'connected' ELSE 'failed' END
        WHERE account_id = $1 AND failure <> $2 AND status <> 'disconnected' RETURNING account_id, kind, name
        """,
        account_id,
        failure,
    )
    if changed and failure:
        await publish(conn, workspace_id, "channel.failed", {**changed, "reason": failure})


async def to_poll(conn: Connection, ring: KeyRing) -> list[Account]:
    """Polling accounts that nobody polls at the moment."""
    return [_account(row, ring) for row in await conn.fetch("SELECT * FROM accounts_to_poll()")]


async def to_listen(conn: Connection, ring: KeyRing) -> list[Account]:
    """Accounts whose connection nobody holds at the moment."""
    return [_account(row, ring) for row in await conn.fetch("SELECT * FROM accounts_to_listen()")]


@dataclass(frozen=True, slots=True)
class Due:
    """An account to look after. Epoch seconds: `listening_until`, how far hearing reaches; `probed_at` 0 when never."""

    account: Account
    listening_until: float | None
    probed_at: float


async def to_tend(conn: Connection, ring: KeyRing, kinds: Sequence[str], every: float) -> list[Due]:
    """Takes accounts of these kinds that nobody has looked after for `every` seconds."""
    rows = await conn.fetch("SELECT * FROM accounts_to_tend($1, $2)", list(kinds), every)
    return [
        Due(
            _account(row, ring),
            row["listening_until"].timestamp() if row["listening_until"] else None,
            row["health"].get("at", 0.0),
        )
        for row in rows
    ]


async def listening_until(conn: Connection, account_id: str) -> float | None:
    """Up to when (epoch seconds) everything that was said to this bot has reached us; None when it never listened."""
    until = await conn.fetchval("SELECT listening_until FROM find_account($1)", account_id)
    return until.timestamp() if until else None


async def note_listening(conn: Connection, account_id: str, until: float) -> None:
    """Moves that point on; it never moves back."""
    await conn.execute("SELECT note_listening($1, to_timestamp($2))", account_id, until)


async def note_health(conn: Connection, account_id: str, found: Health) -> None:
    """Keeps what a probe found."""
    health = {"ok": found.ok, "detail": found.detail, "at": round(time.time(), 3)}
    await conn.execute("SELECT note_health($1, $2)", account_id, health)


async def note_inbound(conn: Connection, account_ids: Sequence[str]) -> None:
    """Something came in for these bots just now."""
    await conn.execute("SELECT note_inbound($1)", list(account_ids))


async def bots_health(conn: Connection) -> list[Json]:
    """Every bot of every workspace: account_id, kind, status, failure, health, last_inbound_at, probed_at."""
    return [dict(row) for row in await conn.fetch("SELECT * FROM bots_health()")]


async def lease_poll(conn: Connection, account_id: str, token: str, seconds: float) -> int | None:
    """Takes or renews the right to poll a bot. Returns the next update offset, None when another process has it."""
    if not await conn.fetchval("SELECT lease_poll($1, $2, $3)", account_id, token, seconds):
        return None
    offset: int | None = await conn.fetchval("SELECT poll_offset FROM find_account($1)", account_id)
    return offset


async def advance_poll(conn: Connection, account_id: str, token: str, offset: int) -> None:
    """Moves the offset past updates that are committed."""
    await conn.execute("SELECT advance_poll($1, $2, $3)", account_id, token, offset)


async def release_poll(conn: Connection, account_id: str, token: str) -> None:
    await conn.execute("SELECT release_poll($1, $2)", account_id, token)
