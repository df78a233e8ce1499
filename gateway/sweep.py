"""Finds what lost its wake-up: turns whose holder is gone, updates nobody opened, sends nobody made."""

from __future__ import annotations

import asyncio
import random

from gateway.outbound import Sender
from gateway.runner import TurnRunner
from kernel import log
from kernel.db import AWAY, Database
from pipeline import turns

_log = log.get("sweep")

_EVERY = 1.0
_AGE = 2.0  # younger updates and sends are in the hands of whoever accepted them
_MOST = 500


async def sweep(runner: TurnRunner, sender: Sender, database: Database) -> None:
    """Runs until cancelled, about once a second. An unreachable database is waited for."""
    while True:
        await asyncio.sleep(_EVERY * (0.75 + random.random() / 2))
        try:
            async with database.anywhere() as conn:
                places = await turns.forgotten(conn, age=_AGE, most=_MOST)
            for place in places:
                runner.wake(place)
            await sender.sweep(age=_AGE, most=_MOST)
        except AWAY as error:
            _log.warning("sweep.failed", error=str(error))
        except Exception:  # whatever it was, without sweeps lost wake-ups would stay lost
            _log.exception("sweep.broken")
