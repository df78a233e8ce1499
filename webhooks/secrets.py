"""Keys that sign an endpoint's deliveries: the door to `webhook_secrets`. All that have not expired sign.

`whsec_` and `whsk_` texts lie sealed and are shown once at most; the public half of a `whsk_` key may be read again.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime

from kernel.db import Connection
from kernel.errors import Conflict, InvalidRequest, MalformedRequest, NotFound
from kernel.events import publish
from kernel.ids import new_id
from kernel.secrets import KeyRing, place
from kernel.types import Json
from webhooks.signing import SigningKey, kind_of, new_private_key, new_secret, public_key, signing_key

MOST_LIVE = 5
OVERLAP, LONGEST_OVERLAP = 86_400, 604_800  # seconds that a replaced key goes on signing
KINDS = {"v1": ("v1",), "v1a": ("v1a",), "v1+v1a": ("v1", "v1a")}


def open_keys(keyring: KeyRing, workspace_id: str, webhook_id: str, sealed: Sequence[bytes]) -> list[SigningKey]:
    """What signs, in the given order. Raises SealBroken, and ValueError for a text that is no key."""
    return [signing_key(_open(keyring, workspace_id, webhook_id, one)) for one in sealed]


def _open(keyring: KeyRing, workspace_id: str, webhook_id: str, sealed: bytes) -> str:
    return keyring.open(sealed, _place(workspace_id, webhook_id)).decode()


def _place(workspace_id: str, webhook_id: str) -> bytes:
    return place(workspace_id, "webhook_secrets", "sealed", webhook_id)


def _wrong(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", details=[{"field": field, "message": message}])


def fault(secret: str, kinds: Iterable[str] = ("v1", "v1a")) -> str | None:
    """Why this cannot be a secret of an endpoint that signs these kinds, or None."""
    try:
        signing_key(secret)
        kind, wanted = kind_of(secret), list(kinds)
    except ValueError as error:
        return str(error)
    return None if kind in wanted else f"this is a {kind} key; the endpoint signs {' and '.join(wanted)}"


def _kind(secret: str) -> str:
    if found := fault(secret):
        raise _wrong("secret", found)
    return kind_of(secret)


async def add(
    conn: Connection,
    keyring: KeyRing,
    workspace_id: str,
    webhook_id: str,
    kinds: Iterable[str],
    given: str | None = None,
) -> Json:
    """One key of each kind: the given one, which has no fault, and new ones for what is missing.

    Returns {"secret": the `whsec_` text or None, "public_key": the `whpk_` text or None}. Raises MalformedRequest when
    more would be live than may be.
    """
    kind, wanted = "" if given is None else kind_of(given), list(kinds)
    await _refuse_too_many(conn, workspace_id, webhook_id, len(wanted))
    shown: Json = {"secret": None, "public_key": None}
    for one in wanted:
        made = await _store(conn, keyring, workspace_id, webhook_id, given if kind == one else None, one)
        shown |= {name: made[name] for name in shown if made[name]}
    return shown


async def _refuse_too_many(conn: Connection, workspace_id: str, webhook_id: str, more: int) -> None:
    count = len(await _live(conn, workspace_id, webhook_id))
    if count + more > MOST_LIVE:
        message = f"an endpoint has at most {MOST_LIVE} live keys: revoke one, or wait until one expires"
        raise MalformedRequest(message, code="too_many_secrets", details=[{"field": "secret", "message": message}])


async def _store(
    conn: Connection, keyring: KeyRing, workspace_id: str, webhook_id: str, given: str | None, kind: str
) -> Json:
    text, secret_id = given or (new_secret() if kind == "v1" else new_private_key()), new_id("whs")
    created_at: datetime = await conn.fetchval(
        """
        INSERT INTO webhook_secrets (workspace_id, webhook_id, secret_id, sealed, kind, created_at)
        VALUES ($1, $2, $3, $4, $5, clock_timestamp()) RETURNING created_at
        """,
        workspace_id,
        webhook_id,
        secret_id,
        keyring.seal(text.encode(), _place(workspace_id, webhook_id)),
        kind,
    )
    return _made(secret_id, text, created_at)


def _made(secret_id: str, text: str, created_at: datetime) -> Json:
    kind = kind_of(text)
    return {
        "secret_id": secret_id,
        "kind": kind,
        "secret": text if kind == "v1" else None,
        "public_key": public_key(text) if kind == "v1a" else None,
        "created_at": created_at,
    }


async def list_live(conn: Connection, keyring: KeyRing, workspace_id: str, webhook_id: str) -> list[Json]:
    """The keys that sign now, newest first, without what is secret of them. Raises NotFound."""
    await _signing(conn, workspace_id, webhook_id)
    found = []
    for row in await _live(conn, workspace_id, webhook_id):
        sealed = row.pop("sealed")
        public = public_key(_open(keyring, workspace_id, webhook_id, sealed)) if row["kind"] == "v1a" else None
        found.append({**row, "public_key": public})
    return found


async def find_live(conn: Connection, keyring: KeyRing, workspace_id: str, webhook_id: str, secret: str) -> str | None:
    """The id under which this very secret signs now."""
    for row in await _live(conn, workspace_id, webhook_id):
        known = _open(keyring, workspace_id, webhook_id, row["sealed"])
        if hmac.compare_digest(known.encode(), secret.encode()):
            found: str = row["secret_id"]
            return found
    return None


async def _live(conn: Connection, workspace_id: str, webhook_id: str) -> list[Json]:
    rows = await conn.fetch(
        """
        SELECT secret_id, kind, sealed, created_at, expires_at FROM webhook_secrets
        WHERE workspace_id = $1 AND webhook_id = $2 AND (expires_at IS NULL OR expires_at > now())
        ORDER BY created_at DESC, secret_id DESC
        """,
        workspace_id,
        webhook_id,
    )
    return [dict(row) for row in rows]


async def _signing(conn: Connection, workspace_id: str, webhook_id: str) -> tuple[str, str]:
    """What an endpoint signs and its URL, locked: keys change one after the other. Raises NotFound."""
    row = await conn.fetchrow(
        "SELECT signing, url FROM webhooks WHERE workspace_id = $1 AND webhook_id = $2 FOR NO KEY UPDATE",
        workspace_id,
        webhook_id,
    )
    if row is None:
        raise NotFound("there is no such webhook")
    return row["signing"], row["url"]


async def rotate(
    conn: Connection,
    keyring: KeyRing,
    workspace_id: str,
    webhook_id: str,
    *,
    secret: str | None = None,
    kind: str | None = None,
    overlap: int = OVERLAP,
) -> Json:
    """A new key, the given one or a random one; those that it replaces expire after `overlap` seconds at the latest.

    It replaces keys of its own kind, and on an endpoint that signs another kind only those as well: it signs this kind
    from now on. A secret that still signs is made the current one again. Raises NotFound, InvalidRequest, and
    MalformedRequest when more keys would be live than may be.
    """
    signing, url = await _signing(conn, workspace_id, webhook_id)
    given = _kind(secret) if secret is not None else None
    if given and kind and kind != given:
        raise _wrong("kind", f"the secret is one of {given}")
    kind = given or kind or KINDS[signing][0]
    after = signing if kind in KINDS[signing] else kind
    kept = await find_live(conn, keyring, workspace_id, webhook_id, secret) if secret is not None else None
    beside = set(KINDS[after]) - {kind}
    until = await _end(conn, workspace_id, webhook_id, [k for k in ("v1", "v1a") if k not in beside], overlap, kept)
    if kept and secret is not None:
        made = _made(kept, secret, await _make_current(conn, workspace_id, webhook_id, kept))
    else:
        await _refuse_too_many(conn, workspace_id, webhook_id, 1)
        made = await _store(conn, keyring, workspace_id, webhook_id, secret, kind)
    if after != signing:
        await conn.execute(
            "UPDATE webhooks SET signing = $3, updated_at = now() WHERE workspace_id = $1 AND webhook_id = $2",
            workspace_id,
            webhook_id,
            after,
        )
    told = {"webhook_id": webhook_id, "url": url, "secret_id": made["secret_id"], "kind": kind}
    await publish(conn, workspace_id, "webhook.secret_rotated", {**told, "previous_expires_at": until})
    return {**made, "previous_expires_at": until}


async def _make_current(conn: Connection, workspace_id: str, webhook_id: str, secret_id: str) -> datetime:
    at: datetime = await conn.fetchval(
        """
        UPDATE webhook_secrets SET expires_at = NULL, created_at = clock_timestamp()
        WHERE workspace_id = $1 AND webhook_id = $2 AND secret_id = $3 RETURNING created_at
        """,
        workspace_id,
        webhook_id,
        secret_id,
    )
    return at


async def end(conn: Connection, workspace_id: str, webhook_id: str, kinds: Sequence[str]) -> None:
    """Keys of these kinds sign for the usual overlap, and then no more."""
    await _end(conn, workspace_id, webhook_id, kinds, OVERLAP, None)


async def _end(
    conn: Connection, workspace_id: str, webhook_id: str, kinds: Sequence[str], overlap: int, but: str | None
) -> datetime | None:
    """Lets keys of these kinds expire, none later than it would have; returns until when the last of them signs."""
    await conn.execute(
        """
        DELETE FROM webhook_secrets WHERE workspace_id = $1 AND webhook_id = $2 AND secret_id IS DISTINCT FROM $5
            AND (expires_at <= now() OR ($4 = 0 AND kind = ANY ($3)))
        """,
        workspace_id,
        webhook_id,
        kinds,
        overlap,
        but,
    )
    until: datetime | None = await conn.fetchval(
        """
        WITH ending AS (
            UPDATE webhook_secrets SET expires_at = least(expires_at, now() + make_interval(secs => $4))
            WHERE workspace_id = $1 AND webhook_id = $2 AND kind = ANY ($3) AND secret_id IS DISTINCT FROM $5
            RETURNING expires_at
        )
        SELECT max(expires_at) FROM ending
        """,
        workspace_id,
        webhook_id,
        kinds,
        overlap,
        but,
    )
    return until


async def revoke(conn: Connection, workspace_id: str, webhook_id: str, secret_id: str) -> None:
    """Ends a key at once. Raises NotFound, and Conflict for the only one that nothing has replaced."""
    await _signing(conn, workspace_id, webhook_id)
    live = await _live(conn, workspace_id, webhook_id)
    found = next((row for row in live if row["secret_id"] == secret_id), None)
    if found is None:
        raise NotFound("there is no such secret")
    current = [row for row in live if row["kind"] == found["kind"] and row["expires_at"] is None]
    if current == [found]:
        raise Conflict("this key is the current one: rotate it, without overlap if it has to end at once")
    await conn.execute(
        "DELETE FROM webhook_secrets WHERE workspace_id = $1 AND webhook_id = $2 AND secret_id = $3",
        workspace_id,
        webhook_id,
        secret_id,
    )
