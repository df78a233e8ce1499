"""Registered endpoints: the door to `webhooks`. What may be registered is said in `webhooks.fields`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from kernel.db import Connection
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.events import publish
from kernel.ids import new_id
from kernel.secrets import KeyRing, SealBroken
from kernel.types import Json
from webhooks import secrets
from webhooks.fields import DEFAULTS, faults, merged
from webhooks.guard import Network
from webhooks.options import open_json
from webhooks.rows import COLUMNS, FROM, OPTIONS, SEES, slots, state_of, values_of, view_of
from webhooks.urls import MAX_URL as MAX_URL
from webhooks.urls import Rules as Rules
from webhooks.urls import url_fault as url_fault


async def create(
    conn: Connection,
    workspace_id: str,
    asked: Mapping[str, Any],
    *,
    keyring: KeyRing,
    rules: Rules,
    secret: str | None = None,
) -> Json:
    """Makes an endpoint. Returns it with `secret` and `public_key`; the former is shown this once only.

    Raises InvalidRequest naming each field at fault, and Conflict when the uid is taken.
    """
    wanted = _checked(merged({}, asked), asked, rules, secret)
    webhook_id = new_id("wh")
    names = ("workspace_id", "webhook_id", "status", *COLUMNS)
    try:
        async with conn.transaction():
            await conn.execute(
                f"INSERT INTO webhooks ({', '.join(names)}) VALUES ({slots(names)})",  # noqa: S608
                workspace_id,
                webhook_id,
                wanted.get("status", "enabled"),
                *values_of(wanted, keyring, workspace_id, webhook_id),
            )
    except asyncpg.UniqueViolationError as error:
        message = "another endpoint has this uid"
        raise Conflict(message, details=[{"field": "uid", "message": message}]) from error
    kinds = secrets.KINDS[wanted["signing"]]
    made = await secrets.add(conn, keyring, workspace_id, webhook_id, kinds, secret)
    return {**await get(conn, workspace_id, webhook_id), **made}


async def register(
    conn: Connection,
    workspace_id: str,
    url: str,
    events: Sequence[str],
    *,
    keyring: KeyRing,
    allow: Sequence[Network] = (),
    secret: str | None = None,
    **more: Any,
) -> tuple[str, str]:
    """`create` for those who want its id and its secret and no more."""
    asked = {"url": url, "events": events, **more}
    made = await create(conn, workspace_id, asked, keyring=keyring, rules=Rules(allow), secret=secret)
    return made["webhook_id"], made["secret"] or ""


async def put(
    conn: Connection,
    workspace_id: str,
    uid: str,
    asked: Mapping[str, Any],
    *,
    keyring: KeyRing,
    rules: Rules,
    secret: str | None = None,
) -> tuple[Json, bool]:
    """Makes the endpoint of this uid what is asked for, and whether there was none. Whoever asks twice changes nothing.

    What is not mentioned goes back to its default, except for `status`. `secret` counts when there was none.
    Raises like `create`.
    """
    if asked.get("uid", uid) != uid:
        raise _refusal([{"field": "uid", "message": "not the uid in the path"}])
    whole = {**DEFAULTS, **asked, "uid": uid}
    if await _find(conn, workspace_id, uid) is None:
        try:
            made = await create(conn, workspace_id, whole, keyring=keyring, rules=rules, secret=secret)
            return made, True
        except Conflict:
            pass  # somebody else made it at this very moment
    webhook_id = await _find(conn, workspace_id, uid)
    if webhook_id is None:
        raise Conflict("the endpoint of this uid is being removed", retry_after=1.0)
    if secret is not None:
        if fault := secrets.fault(secret):
            raise _refusal([{"field": "secret", "message": fault}])
        if await secrets.find_live(conn, keyring, workspace_id, webhook_id, secret) is None:
            raise _refusal([{"field": "secret", "message": "the endpoint has other secrets: rotate them"}])
    return await _change(conn, workspace_id, webhook_id, whole, keyring, rules, whole=True), False


async def _find(conn: Connection, workspace_id: str, uid: str) -> str | None:
    found: str | None = await conn.fetchval(
        "SELECT webhook_id FROM webhooks WHERE workspace_id = $1 AND uid = $2", workspace_id, uid
    )
    return found


async def list_endpoints(
    conn: Connection, workspace_id: str, *, uid: str = "", cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """Endpoints, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {SEES} FROM {FROM} WHERE w.workspace_id = $1 AND ($2 = '' OR w.webhook_id < $2)
            AND ($4 = '' OR w.uid = $4)
        ORDER BY w.webhook_id DESC LIMIT $3 + 1
        """,  # noqa: S608
        workspace_id,
        cursor,
        limit,
        uid,
    )
    page = [view_of(row) for row in rows[:limit]]
    return page, page[-1]["webhook_id"] if len(rows) > limit else None


async def get(conn: Connection, workspace_id: str, webhook_id: str) -> Json:
    """Raises NotFound."""
    return view_of(await _row(conn, workspace_id, webhook_id))


async def _row(conn: Connection, workspace_id: str, webhook_id: str, lock: str = "") -> Mapping[str, Any]:
    row: Mapping[str, Any] | None = await conn.fetchrow(
        f"SELECT {SEES} FROM {FROM} WHERE w.workspace_id = $1 AND w.webhook_id = $2 {lock}",  # noqa: S608
        workspace_id,
        webhook_id,
    )
    if row is None:
        raise NotFound("there is no such webhook")
    return row


async def update(
    conn: Connection,
    workspace_id: str,
    webhook_id: str,
    changes: Mapping[str, Any],
    *,
    keyring: KeyRing,
    allow: Sequence[Network] = (),
    rules: Rules | None = None,
) -> Json:
    """Changes what is mentioned; null takes a field back to its default. Returns the endpoint, with `secret` and
    `public_key` where a change of `signing` made new keys. Raises InvalidRequest, Conflict and NotFound.

    What is owed to a disabled endpoint waits, and goes out when it is enabled again.
    """
    return await _change(conn, workspace_id, webhook_id, changes, keyring, rules or Rules(allow))


async def _change(
    conn: Connection,
    workspace_id: str,
    webhook_id: str,
    changes: Mapping[str, Any],
    keyring: KeyRing,
    rules: Rules,
    *,
    whole: bool = False,
) -> Json:
    row = await _row(conn, workspace_id, webhook_id, "FOR NO KEY UPDATE OF w")
    before = state_of(row, _opened(row, changes, keyring, workspace_id))
    wanted = _checked(merged({} if whole else before, changes), changes, rules)
    status = wanted.pop("status", None)
    made: Json = {"secret": None, "public_key": None}
    if wanted != before:
        await _write(conn, workspace_id, webhook_id, wanted, keyring)
        if wanted["signing"] != before["signing"]:
            made = await _resign(conn, keyring, workspace_id, webhook_id, before["signing"], wanted["signing"])
        if wanted["url"] != before["url"]:
            await _forget_health(conn, workspace_id, webhook_id)
    if status is not None:
        await set_status(conn, workspace_id, webhook_id, status)
    return {**await get(conn, workspace_id, webhook_id), **made}


def _opened(row: Mapping[str, Any], changes: Mapping[str, Any], keyring: KeyRing, workspace_id: str) -> Json:
    try:
        return open_json(keyring, workspace_id, row["webhook_id"], row["sealed_options"])
    except SealBroken as error:
        if changes.keys() >= set(OPTIONS):
            return {}
        message = "what is sealed of this endpoint cannot be opened: give headers, auth and tls anew"
        raise Conflict(message) from error


def _checked(wanted: Json, changes: Mapping[str, Any], rules: Rules, secret: str | None = None) -> Json:
    found = faults(wanted, changes, rules)
    if secret is not None and (fault := secrets.fault(secret, secrets.KINDS.get(str(wanted["signing"]), ()))):
        found.append({"field": "secret", "message": fault})
    if found:
        raise _refusal(found)
    for name in ("events", "redact", "channels"):
        wanted[name] = None if wanted[name] is None else list(dict.fromkeys(wanted[name]))
    return wanted


def _refusal(found: list[Json]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{f['field']}: {f['message']}" for f in found[:3]), details=found)


async def _write(conn: Connection, workspace_id: str, webhook_id: str, wanted: Json, keyring: KeyRing) -> None:
    try:
        async with conn.transaction():
            await conn.execute(
                f"""
                UPDATE webhooks SET ({", ".join(COLUMNS)}) = ROW ({slots(COLUMNS, 3)}), updated_at = now()
                WHERE workspace_id = $1 AND webhook_id = $2
                """,  # noqa: S608
                workspace_id,
                webhook_id,
                *values_of(wanted, keyring, workspace_id, webhook_id),
            )
    except asyncpg.UniqueViolationError as error:
        message = "another endpoint has this uid"
        raise Conflict(message, details=[{"field": "uid", "message": message}]) from error


async def _resign(
    conn: Connection, keyring: KeyRing, workspace_id: str, webhook_id: str, before: str, after: str
) -> Json:
    """Keys for what is signed from now on; those of a kind that is signed no more go on for the usual overlap."""
    old, new = secrets.KINDS[before], secrets.KINDS[after]
    await secrets.end(conn, workspace_id, webhook_id, [kind for kind in old if kind not in new])
    return await secrets.add(conn, keyring, workspace_id, webhook_id, [kind for kind in new if kind not in old])


async def set_status(conn: Connection, workspace_id: str, webhook_id: str, status: str) -> Json:
    """Puts an endpoint in or out of use by request, and tells the others. Raises NotFound.

    Changes nothing when it is so already; but one that went out of use by itself stays so when that is asked for.
    """
    reason = "" if status == "enabled" else "by request"
    row = await _row(conn, workspace_id, webhook_id, "FOR NO KEY UPDATE OF w")
    if (row["status"], row["disabled_reason"]) == (status, reason):
        return view_of(row)
    told = {"webhook_id": webhook_id, "url": row["url"], "reason": "by request"}
    if status == "enabled":
        await publish(conn, workspace_id, "webhook.enabled", told)
        await _forget_health(conn, workspace_id, webhook_id)
    await conn.execute(
        """
        UPDATE webhooks SET status = $3, disabled_reason = $4, updated_at = now(),
            enabled_at = CASE $3 WHEN 'enabled' THEN now() ELSE enabled_at END
        WHERE workspace_id = $1 AND webhook_id = $2
        """,
        workspace_id,
        webhook_id,
        status,
        reason,
    )
    if status == "enabled":
        await conn.execute("SELECT pg_notify('parley_deliveries', '')")
    elif row["status"] == "enabled":
        await publish(conn, workspace_id, "webhook.disabled", told)
    return await get(conn, workspace_id, webhook_id)


async def _forget_health(conn: Connection, workspace_id: str, webhook_id: str) -> None:
    """What was found out about it is no longer true: a new address, or somebody has seen to it."""
    await conn.execute(
        "DELETE FROM webhook_health WHERE workspace_id = $1 AND webhook_id = $2", workspace_id, webhook_id
    )
    await conn.execute(
        "UPDATE webhooks SET failing_since = NULL WHERE workspace_id = $1 AND webhook_id = $2 "
        "AND failing_since IS NOT NULL",
        workspace_id,
        webhook_id,
    )


async def delete(conn: Connection, workspace_id: str, webhook_id: str) -> None:
    """Removes an endpoint and its secrets; nothing more is claimed for it. Its log stays. Raises NotFound.

    An event published at this very moment may still add a delivery; the sweep cancels those.
    """
    gone = await conn.fetchval(
        "DELETE FROM webhooks WHERE workspace_id = $1 AND webhook_id = $2 RETURNING 1", workspace_id, webhook_id
    )
    if gone is None:
        raise NotFound("there is no such webhook")
    await conn.execute(
        """
        UPDATE webhook_deliveries SET status = 'cancelled', settled_at = now()
        WHERE workspace_id = $1 AND webhook_id = $2 AND status = 'pending'
        """,
        workspace_id,
        webhook_id,
    )
