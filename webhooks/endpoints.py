"""Registered endpoints: the rules for what may be registered, and the door to `webhooks` and `webhook_secrets`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from yarl import URL

from kernel.db import Connection
from kernel.errors import InvalidRequest, NotFound
from kernel.events import pattern_fault
from kernel.ids import new_id
from kernel.secrets import KeyRing, place
from kernel.types import Json
from webhooks.guard import Network, address_verdict, port_verdict
from webhooks.signing import new_secret, secret_key

MAX_URL, MAX_PATTERNS, MAX_DESCRIPTION = 2_048, 64, 500
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp")
_SEES = "webhook_id, url, events, description, status, disabled_reason, failing_since, created_at, updated_at"


def url_fault(url: object, allow: Sequence[Network] = ()) -> str | None:
    """Why a URL cannot be registered, or None. Looks no name up: the guard judges addresses at every dial.

    `allow` are the networks that the operator has opened besides public addresses; with any of them open, names without
    a dot are fine too.
    """
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL:
        return f"a URL of at most {MAX_URL} characters is needed"
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return "the URL holds blanks, control characters or backslashes"
    try:
        parsed = URL(url)
        host, port = parsed.raw_host or "", parsed.port
    except (ValueError, UnicodeError):
        return "this is no URL"
    if parsed.scheme not in ("http", "https"):
        return "the scheme has to be https or http"
    if re.match(r"[a-z]+://[^/?#]*@", url, re.IGNORECASE):
        return "user names and passwords do not belong into the URL"
    if fault := port_verdict(port or 0):
        return fault
    return _host_fault(host.rstrip(".").lower(), allow)


def _host_fault(host: str, allow: Sequence[Network]) -> str | None:
    if not host:
        return "the URL names no host"
    try:
        address = ip_address(host)
    except ValueError:
        return _name_fault(host, allow)
    verdict = address_verdict(address, allow)
    return f"the address {host} may not be called: {verdict}" if verdict else None


def _name_fault(host: str, allow: Sequence[Network]) -> str | None:
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        return "the host is a number in disguise"
    if not allow and ("." not in host or last in _LOCAL_SUFFIXES):
        return f"the host {host} is not a public name"
    return None


def _faults(changes: Mapping[str, Any], allow: Sequence[Network]) -> list[Json]:
    found: list[tuple[str, str | None]] = [
        (name, "there is no such field") for name in changes.keys() - {"url", "events", "description", "status"}
    ]
    if "url" in changes:
        found.append(("url", url_fault(changes["url"], allow)))
    if "events" in changes:
        found.append(("events", _events_fault(changes["events"])))
    description = changes.get("description", "")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        found.append(("description", f"a text of at most {MAX_DESCRIPTION} characters"))
    if changes.get("status", "enabled") not in ("enabled", "disabled"):
        found.append(("status", "either enabled or disabled"))
    return [{"field": field, "message": message} for field, message in found if message]


def _events_fault(events: object) -> str | None:
    if not isinstance(events, list | tuple) or not all(isinstance(pattern, str) for pattern in events):
        return "a list of event types or patterns"
    if not 1 <= len(events) <= MAX_PATTERNS:
        return f"at least one and at most {MAX_PATTERNS} event types or patterns; ['*'] stands for all"
    return next((fault for fault in map(pattern_fault, events) if fault), None)


def _check(changes: Mapping[str, Any], allow: Sequence[Network]) -> None:
    faults = _faults(changes, allow)
    if faults:
        raise InvalidRequest("; ".join(f"{f['field']}: {f['message']}" for f in faults), details=faults)


async def register(
    conn: Connection,
    workspace_id: str,
    url: str,
    events: Sequence[str],
    *,
    keyring: KeyRing,
    allow: Sequence[Network] = (),
    description: str = "",
    secret: str | None = None,
) -> tuple[str, str]:
    """Makes an endpoint. Returns its id and its secret, which is shown this once only. Raises InvalidRequest."""
    _check({"url": url, "events": events, "description": description}, allow)
    secret = secret or new_secret()
    try:
        secret_key(secret)
    except ValueError as error:
        raise InvalidRequest(str(error), details=[{"field": "secret", "message": str(error)}]) from error
    webhook_id = new_id("wh")
    await conn.execute(
        "INSERT INTO webhooks (workspace_id, webhook_id, url, events, description) VALUES ($1, $2, $3, $4, $5)",
        workspace_id,
        webhook_id,
        url,
        list(dict.fromkeys(events)),
        description,
    )
    await conn.execute(
        "INSERT INTO webhook_secrets (workspace_id, webhook_id, secret_id, sealed) VALUES ($1, $2, $3, $4)",
        workspace_id,
        webhook_id,
        new_id("whs"),
        keyring.seal(secret.encode(), place(workspace_id, "webhook_secrets", "sealed", webhook_id)),
    )
    return webhook_id, secret


async def list_endpoints(
    conn: Connection, workspace_id: str, *, cursor: str = "", limit: int = 50
) -> tuple[list[Json], str | None]:
    """Endpoints, newest first, and the cursor of the next page."""
    rows = await conn.fetch(
        f"""
        SELECT {_SEES} FROM webhooks WHERE workspace_id = $1 AND ($2 = '' OR webhook_id < $2)
        ORDER BY webhook_id DESC LIMIT $3 + 1
        """,  # noqa: S608
        workspace_id,
        cursor,
        limit,
    )
    page = [dict(row) for row in rows[:limit]]
    return page, page[-1]["webhook_id"] if len(rows) > limit else None


async def get(conn: Connection, workspace_id: str, webhook_id: str) -> Json:
    """Raises NotFound."""
    row = await conn.fetchrow(
        f"SELECT {_SEES} FROM webhooks WHERE workspace_id = $1 AND webhook_id = $2",  # noqa: S608
        workspace_id,
        webhook_id,
    )
    if row is None:
        raise NotFound("there is no such webhook")
    return dict(row)


async def update(
    conn: Connection,
    workspace_id: str,
    webhook_id: str,
    changes: Mapping[str, Any],
    *,
    allow: Sequence[Network] = (),
) -> Json:
    """Changes url, events, description or status, whichever are given. Raises InvalidRequest and NotFound.

    What is owed to a disabled endpoint waits, and goes out when it is enabled again.
    """
    _check(changes, allow)
    row = await conn.fetchrow(
        f"""
        UPDATE webhooks SET
            url = coalesce($3, url), events = coalesce($4, events), description = coalesce($5, description),
            status = coalesce($6, status),
            disabled_reason = CASE $6 WHEN 'enabled' THEN '' WHEN 'disabled' THEN 'by request' ELSE disabled_reason END,
            failing_since = CASE WHEN $6 = 'enabled' OR $3 IS NOT NULL THEN NULL ELSE failing_since END,
            updated_at = now()
        WHERE workspace_id = $1 AND webhook_id = $2
        RETURNING {_SEES}
        """,  # noqa: S608
        workspace_id,
        webhook_id,
        changes.get("url"),
        list(dict.fromkeys(changes["events"])) if "events" in changes else None,
        changes.get("description"),
        changes.get("status"),
    )
    if row is None:
        raise NotFound("there is no such webhook")
    if changes.get("status") == "enabled":
        await conn.execute("SELECT pg_notify('parley_deliveries', '')")
    return dict(row)


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
