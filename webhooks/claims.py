"""The worker's door to deliveries: claim, record, release, sweep. It spans workspaces and is fenced by tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from kernel.db import Connection
from webhooks.decide import Decision, Delivered, DisableEndpoint, RetryAt
from webhooks.transport import Outcome


class Claim(NamedTuple):
    """One delivery that is ours to try while the token holds. `attempt` is the number of this try, from 1."""

    workspace_id: str
    delivery_id: str
    event_id: str
    webhook_id: str
    attempt: int
    url: str
    sealed_secrets: tuple[bytes, ...]
    body: bytes
    token: str


class Result(NamedTuple):
    claim: Claim
    outcome: Outcome
    decision: Decision


async def claim(
    conn: Connection, first_limit: int, retry_limit: int, per_endpoint: int, lease_seconds: float
) -> list[Claim]:
    """Leases up to so many due first tries and retries under one new token."""
    token = os.urandom(12).hex()
    rows = await conn.fetch(
        "SELECT * FROM claim_deliveries($1, $2, $3, $4, $5)",
        first_limit,
        retry_limit,
        per_endpoint,
        token,
        lease_seconds,
    )
    return [Claim._make((*row[:6], tuple(row[6]), row[7], token)) for row in rows]


async def record(conn: Connection, results: Sequence[Result]) -> list[bool]:
    """Settles a batch in one commit. False marks a result whose lease had passed on: it changed nothing."""
    rows = [_row(result) for result in results]
    applied = await conn.fetch(
        "SELECT delivery_id FROM record_deliveries($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)",
        *zip(*rows, strict=True),
    )
    known = {row[0] for row in applied}
    return [result.claim.delivery_id in known for result in results]


def _row(result: Result) -> tuple[object, ...]:
    claim, outcome, decision = result
    return (
        claim.workspace_id,
        claim.delivery_id,
        claim.token,
        _status(decision),
        decision.at if isinstance(decision, RetryAt) else None,
        outcome.started_at,
        outcome.duration_ms,
        outcome.status,
        outcome.error_code,
        outcome.detail,
        orjson.dumps(outcome.headers).decode(),
        outcome.body,
        outcome.truncated,
        _why_disable(decision),
    )


def _why_disable(decision: Decision) -> str:
    if isinstance(decision, Delivered):
        return decision.disable
    return decision.reason if isinstance(decision, DisableEndpoint) else ""


def _status(decision: Decision) -> str:
    if isinstance(decision, Delivered):
        return "delivered"
    return "pending" if isinstance(decision, RetryAt) else "exhausted"


async def release(conn: Connection, claims: Sequence[Claim]) -> int:
    """Hands back what was never sent. Returns how many were still ours."""
    count: int = await conn.fetchval(
        "SELECT release_deliveries($1, $2, $3)",
        [claim.workspace_id for claim in claims],
        [claim.delivery_id for claim in claims],
        [claim.token for claim in claims],
    )
    return count


async def sweep(conn: Connection, max_attempts: int) -> int:
    """Takes back leases that ran out. Returns how many."""
    count: int = await conn.fetchval("SELECT sweep_deliveries($1)", max_attempts)
    return count


async def next_due(conn: Connection) -> float | None:
    """Seconds until something can be claimed or taken back; None when nothing waits."""
    seconds: float | None = await conn.fetchval("SELECT next_due()")
    return seconds
