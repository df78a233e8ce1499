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
from webhooks.operations import Held

log = structlog.get_logger(__name__)

# What the next round may well find gone.
_PASSING = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.QueryCanceledError)


@dataclass(frozen=True, slots=True)
class Pace:
    """batch    deliveries of one transaction
    scan     deliveries or events that it looks at
    most_due deliveries that may be due at one endpoint before more are added
    busy     seconds between rounds while operations are held, so `batch / busy` bounds an operation's rate
    idle     seconds between looks for new ones
    held     operations that one worker holds at once
    lease    seconds after which an operation of a worker that died is taken over
    """

    batch: int = 200
    scan: int = 5_000
    most_due: int = 128
    busy: float = 0.25
    idle: float = 1.0
    held: int = 32
    lease: float = 30.0


async def work_operations(database: Database, stop: asyncio.Event, pace: Pace = Pace()) -> None:  # noqa: B008
    """Runs until `stop`; then hands back what it holds."""
    held: list[Held] = []
    trouble = 0
    while not stop.is_set():
        try:
            async with database.anywhere() as conn:
                await _round(conn, held, pace, stop)
            trouble, pause = 0, pace.busy if held else pace.idle
        except Exception as error:
            trouble += 1
            pause = exponential(trouble, base=0.1, cap=5.0, rand=random.random())
            if isinstance(error, (*AWAY, TimeoutError)):
                log.warning("operations.database_away", error=type(error).__name__, attempt=trouble)
            else:
                log.exception("operations.round_failed", attempt=trouble)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
    with contextlib.suppress(*AWAY, asyncpg.PostgresError):
        async with database.anywhere() as conn:
            await operations.release(conn, held)


async def _round(conn: Connection, held: list[Held], pace: Pace, stop: asyncio.Event) -> None:
    """One batch of each operation; those that have ended are let go of."""
    if len(held) < pace.held:
        held += await operations.claim(conn, pace.held - len(held), pace.lease)
    for one in held[:]:
        if not stop.is_set() and not await _batch(conn, one, pace):
            held.remove(one)


async def _batch(conn: Connection, held: Held, pace: Pace) -> bool:
    """Whether there is more to do. An operation whose batch the database refuses ends as failed."""
    limits = {"batch": pace.batch, "most_due": pace.most_due, "scan": pace.scan}
    try:
        state = await operations.advance(conn, held, **limits, lease_seconds=pace.lease)
    except AWAY:
        raise
    except _PASSING as error:
        log.warning("operations.batch_postponed", operation_id=held.operation_id, error=type(error).__name__)
        return True
    except asyncpg.PostgresError as error:
        log.exception("operations.batch_failed", operation_id=held.operation_id)
        await operations.fail(conn, held, f"a batch was refused by the database ({type(error).__name__})")
        return False
    if state != "working":
        log.info("operations.ended", operation_id=held.operation_id, state=state)
    return state == "working"
