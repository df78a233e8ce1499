"""Looks after bots that platforms call: catches up after a gap in our own running, and probes whether calls reach us.

One process at a time looks after a bot (the claim is the row's own time stamp). A bot whose platform says that it
cannot deliver, or a connection that is open and brings nothing, is reported: in `health`, in metrics, in /health/ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import asyncpg

from channels import accounts
from channels.accounts import Due
from channels.table import CHANNELS
from gateway.catchup import catch_up
from gateway.services import Services
from kernel import log
from kernel.db import AWAY
from kernel.types import Account, Disconnected, Health

_log = log.get("tend")

_EVERY = 10.0  # seconds between two looks after one bot
_GAP = 3 * _EVERY  # nobody has looked for this long: we were down, so history is read
_PROBE = 60.0


async def tend(services: Services) -> None:
    """Runs until cancelled. An unreachable database is waited for."""
    while True:
        try:
            await look(services)
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.warning("tend.failed", error=str(error))
        except Exception:  # whatever it was, bots must not go unwatched because of it
            _log.exception("tend.broken")
        await asyncio.sleep(_EVERY / 3 * (0.75 + random.random() / 2))


async def look(services: Services, every: float = _EVERY) -> None:
    """One look after those bots that nobody has looked after for `every` seconds."""
    kinds = [kind for kind, channel in CHANNELS.items() if channel.history or channel.probe]
    ground = services.ground
    heard = services.intake.heard_from()
    async with ground.database.anywhere() as conn:
        if heard:
            await accounts.note_inbound(conn, heard)
        due = await accounts.to_tend(conn, ground.ring, kinds, every)
    await asyncio.gather(*(_look_after(services, each) for each in due))


async def _look_after(services: Services, due: Due) -> None:
    account, channel = due.account, CHANNELS[due.account.kind]
    try:
        client = await services.directory.client(account)
        if account.mode == "webhook" and channel.history is not None:
            await _reach_back(services, account, client, due.listening_until)
        if channel.probe is not None and time.time() - due.probed_at > _PROBE:
            found = await channel.probe(client, account, services.inbound_url(account.kind, account.account_id))
            await _note(services, account, found)
    except Disconnected as error:
        await _note(services, account, Health(False, error.reason))
    except (*AWAY, asyncpg.PostgresError):
        raise
    except Exception as error:  # of one bot; the others are looked after all the same
        _log.exception("tend.bot_failed", account=account.account_id)
        await _note(services, account, Health(False, f"the probe failed: {type(error).__name__}"))


async def _reach_back(services: Services, account: Account, client: object, until: float | None) -> None:
    began = time.time()
    if until is not None and began - until > _GAP:
        await catch_up(services, client, account, until)
    async with services.ground.database.anywhere() as conn:
        await accounts.note_listening(conn, account.account_id, began)


async def _note(services: Services, account: Account, found: Health) -> None:
    async with services.ground.database.anywhere() as conn:
        await accounts.note_health(conn, account.account_id, found)
    if not found.ok:
        _log.warning("tend.unwell", account=account.account_id, kind=account.kind, detail=found.detail)


@contextlib.asynccontextmanager
async def tending(services: Services) -> AsyncIterator[None]:
    """Looks after bots in this process for as long as the block lasts."""
    task = asyncio.create_task(tend(services))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
