"""How long events, deliveries and attempts are kept: days are made ahead and dropped, payloads are expunged."""

from __future__ import annotations

import asyncio
import contextlib
import random

import asyncpg
import structlog

from kernel.db import AWAY, Connection, Database
from kernel.errors import NotFound

DAYS_AHEAD = 3
_EVERY, _AGAIN = 3_600.0, 60.0
_LONGEST = 600.0  # a day whose rows have to be moved out of the default partition takes its time
_STEPS = (
    ("dropped", "SELECT drop_next_partition($1)"),
    ("made", "SELECT make_next_partition($1)"),
    ("folded", "SELECT fold_minutes($1)"),
)

log = structlog.get_logger(__name__)


async def keep_days(database: Database, days: int, stop: asyncio.Event) -> None:
    """Runs until `stop`: at once, and then every hour, or soon again when something was in the way."""
    while not stop.is_set():
        done = await tidy(database, days)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), (_EVERY if done else _AGAIN) * (0.9 + random.random() / 5))


async def tidy(database: Database, days: int) -> bool:
    """Drops what is older than `days`, makes the days ahead. Returns whether all of it could be done.

    Every step is a transaction of its own and gives up quickly when a lock is not to be had, so that nobody who
    publishes or delivers waits behind it.
    """
    done = True
    for name, statement in _STEPS:
        given = DAYS_AHEAD if name == "made" else days
        try:
            async with database.anywhere() as conn:
                while what := await conn.fetchval(statement, given, timeout=_LONGEST):
                    log.info(f"retention.{name}", what=what)
        except (*AWAY, asyncpg.PostgresError, TimeoutError) as error:
            log.warning("retention.postponed", step=name, error=type(error).__name__)
            done = False
    return done


async def expunge_event(conn: Connection, event_id: str) -> None:
    """Takes an event's payload away for good and cancels what is still owed of it. The log of its deliveries stays.

    In a transaction of its workspace. Raises NotFound. May be repeated.
    """
    if not await conn.fetchval("SELECT expunge_event($1)", event_id):
        raise NotFound("there is no such event")


async def expunge_response(conn: Connection, workspace_id: str, delivery_id: str, attempt: int) -> None:
    """Takes away what a receiver answered to one attempt. Raises NotFound. May be repeated."""
    found = await conn.fetchval(
        """
        UPDATE webhook_attempts SET response = '', expunged_at = coalesce(expunged_at, now())
        WHERE workspace_id = $1 AND delivery_id = $2 AND attempt = $3 RETURNING 1
        """,
        workspace_id,
        delivery_id,
        attempt,
    )
    if not found:
        raise NotFound("there is no such attempt")
