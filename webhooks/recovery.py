"""The loop that works off bulk operations, a batch of each in turn. Any number of workers share them.

Live traffic goes first: a batch is small, an endpoint is given no more than it drains, and all operations of a worker
share one connection. A worker that dies leaves operations whose leases run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass

import asyncpg
import structlog

from kernel.backoff import exponential
from kernel.db import AWAY, Connection, Database
from webhooks import operations
from webhooks.operations import Held, State

log = structlog.get_logger(__name__)

# What the next round may well find gone: a lock, above all. Not for ever, though.
_PASSING = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.QueryCanceledError, TimeoutError)
_POSTPONED = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """batch    deliveries of one transaction
    scan     deliveries or events that it looks at
    most_due deliveries that may be due at one endpoint before more are added
    busy     seconds between rounds while there is something to do, so `batch / busy` bounds an operation's rate
    idle     seconds between rounds while all wait, and between looks for new ones
    held     operations that one worker holds at once
    lease    seconds after which an operation of a worker that died is taken over
    """

    batch: int = 25
    scan: int = 5_000
    most_due: int = 128
    busy: float = 0.05
    idle: float = 1.0
    held: int = 32
    lease: float = 30.0


async def work_operations(database: Database, stop: asyncio.Event, pace: Pace = Pace()) -> None:  # noqa: B008
    """Runs until `stop`; then hands back what it holds."""
    held: dict[Held, int] = {}
    trouble = 0
    while not stop.is_set():
        try:
            async with database.anywhere() as conn:
                more = await _round(conn, held, pace, stop)
            trouble, pause = 0, pace.busy if more else pace.idle
        except Exception as error:
            trouble += 1
            pause = exponential(trouble, base=0.1, cap=5.0, rand=random.random())
            if isinstance(error, AWAY):
                log.warning("operations.database_away", error=type(error).__name__, attempt=trouble)
            else:
                log.exception("operations.round_failed", attempt=trouble)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
    with contextlib.suppress(*AWAY, asyncpg.PostgresError):
        async with database.anywhere() as conn:
            await operations.release(conn, [*held])


async def _round(conn: Connection, held: dict[Held, int], pace: Pace, stop: asyncio.Event) -> bool:
    """One batch of each operation. Returns whether any of them did something.

    `held` counts how often in a row an operation was postponed; what has ended leaves it.
    """
    states = []
    if len(held) < pace.held:
        held |= dict.fromkeys(await operations.claim(conn, pace.held - len(held), pace.lease), 0)
    for one in [*held]:
        if stop.is_set():
            break
        state = await _batch(conn, one, pace)
        states.append(state)
        held[one] = 0 if state else held[one] + 1
        if state in ("settled", "lost"):
            log.info("operations.ended", operation_id=one.operation_id, state=state)
            del held[one]
        elif held[one] > _POSTPONED:
            await operations.fail(conn, one, "its batches took too long, or found what they needed locked")
            del held[one]
    return "working" in states


async def _batch(conn: Connection, held: Held, pace: Pace) -> State | None:
    """What came of it; None when it has to be tried again. An operation whose batch the database refuses is failed."""
    limits = {"batch": pace.batch, "most_due": pace.most_due, "scan": pace.scan}
    try:
        return await operations.advance(conn, held, **limits, lease_seconds=pace.lease)
    except _PASSING as error:
        log.warning("operations.batch_postponed", operation_id=held.operation_id, error=type(error).__name__)
        return None
    except AWAY:
        raise
    except asyncpg.PostgresError as error:
        log.exception("operations.batch_failed", operation_id=held.operation_id)
        await operations.fail(conn, held, f"a batch was refused by the database ({type(error).__name__})")
        return "settled"
