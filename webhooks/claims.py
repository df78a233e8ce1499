"""The worker's door to deliveries: claim, record, release, sweep. It spans workspaces and is fenced by tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from kernel.db import Connection
from webhooks.decide import Decision, Delivered, DisableEndpoint, RetryAt
from webhooks.transport import Outcome

LATE = 5  # from this try on a retry is a late one


class Terms(NamedTuple):
    """How an endpoint wants to be called, as it was when something of it was claimed."""

    url: str
    timeout_seconds: float
    sealed_secrets: tuple[bytes, ...]
    sealed_options: bytes | None
    rate_count: int | None
    rate_seconds: int


class Claim(NamedTuple):
    """One delivery that is ours to try while the token holds. `attempt` is the number of this try, from 1.

    `seq` counts the deliveries of its lane, and is None where there is no order. `schedule` holds the seconds between
    tries; None is the usual one. `body` is None or empty when the event is gone.
    """

    workspace_id: str
    delivery_id: str
    event_id: str
    event_type: str
    webhook_id: str
    attempt: int
    seq: int | None
    schedule: tuple[int, ...] | None
    body: bytes | None
    terms: Terms
    token: str

    @property
    def content(self) -> bytes:
        """The bytes to send, the same at every try. Raises ValueError when there are none."""
        if not self.body:
            raise ValueError("the event is gone")
        return self.body if self.seq is None else b'{"seq":%d,%b' % (self.seq, self.body[1:])


class Result(NamedTuple):
    claim: Claim
    outcome: Outcome
    decision: Decision


class Limits(NamedTuple):
    """How many first tries, retries and late retries to claim at most."""

    first: int
    retry: int
    late: int


async def claim(
    conn: Connection,
    limits: Limits,
    per_endpoint: int,
    margin: float,
    rooms: Mapping[str, int] = {},
    per_workspace: int | None = None,
) -> list[Claim]:
    """Leases due deliveries under one new token, each for its endpoint's timeout and `margin` seconds.

    `rooms` says of endpoints and workspaces how many of theirs may be claimed now; `per_workspace` goes for those that
    are not named.
    """
    token = os.urandom(12).hex()
    rows = await conn.fetch(
        "SELECT * FROM claim_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        max(0, limits.first),
        max(0, limits.retry),
        max(0, limits.late),
        per_endpoint,
        per_workspace,
        token,
        margin,
        list(rooms),
        list(rooms.values()),
    )
    if not rows:
        return []
    bodies = await conn.fetch(
        "SELECT body FROM delivery_bodies($1, $2, $3)",
        [row[0] for row in rows],
        [row[1] if row[8] else row[2] for row in rows],
        [row[8] for row in rows],
    )
    terms = {row[4]: Terms(row[9], row[10], tuple(row[11]), *row[12:]) for row in rows if row[9] is not None}
    return [
        Claim._make((*row[:7], row[7] if row[7] is None else tuple(row[7]), body[0], terms[row[4]], token))
        for row, body in zip(rows, bodies, strict=True)
    ]


async def record(conn: Connection, results: Sequence[Result]) -> list[bool]:
    """Settles a batch in one commit. False marks a result whose lease had passed on: it changed nothing."""
    rows = [_row(result) for result in results]
    applied = await conn.fetch(
        "SELECT delivery_id FROM record_deliveries($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)",
        *zip(*rows, strict=True),
    )
    known = {row[0] for row in applied}
    return [result.claim.delivery_id in known for result in results]


def _row(result: Result) -> tuple[object, ...]:
    claim, outcome, decision = result
    status, due, disable, remark = _settlement(decision)
    return (
        claim.workspace_id,
        claim.delivery_id,
        claim.token,
        status,
        due,
        outcome.started_at,
        outcome.duration_ms,
        outcome.status,
        outcome.error_code,
        outcome.detail or remark,
        orjson.dumps(outcome.headers).decode(),
        outcome.body,
        outcome.truncated,
        disable,
        claim.terms.url,
        orjson.dumps(outcome.request, option=orjson.OPT_NON_STR_KEYS).decode(),  # names are of a kind of str
    )


def _settlement(decision: Decision) -> tuple[str, float | None, str, str]:
    """The delivery's status, when it is due again, why its endpoint has to go, and what the log says of it."""
    if isinstance(decision, Delivered):
        return "delivered", None, decision.disable, ""
    if isinstance(decision, RetryAt):
        return "pending", decision.at, "", ""
    if isinstance(decision, DisableEndpoint):
        return "exhausted", None, decision.reason, ""
    return "exhausted", None, "", "the receiver asked for no more of this delivery" if decision.aborted else ""


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


async def unpark(conn: Connection) -> int:
    """Has another look at the first delivery of each lane that waits for one before it. Returns how many."""
    count: int = await conn.fetchval("SELECT unpark_deliveries()")
    return count


async def store_time(conn: Connection) -> float:
    """Epoch seconds by the database's clock."""
    seconds: float = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::double precision")
    return seconds


async def next_due(conn: Connection) -> float | None:
    """Seconds until something can be claimed or taken back; None when nothing waits."""
    seconds: float | None = await conn.fetchval("SELECT next_due()")
    return seconds
