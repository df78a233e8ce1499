"""Deliveries live by the database's clock, whatever a worker's machine believes."""

from __future__ import annotations

import asyncio
import time

import pytest

from kernel.db import Database
from kernel.secrets import KeyRing
from tests.delivery_kit import LOOPBACK, add, emit, log
from tests.engine_kit import until
from webhooks.clock import StoreClock
from webhooks.engine import DeliveryEngine


def test_it_goes_on_by_the_steady_clock() -> None:
    steady = [100.0]
    clock = StoreClock(lambda: 5_000.0, lambda: steady[0])
    assert clock.now() == 5_000.0
    steady[0] = 102.0
    clock.set(1_001.0, 100.0)  # asked at 100 and answered at 102: it was 1,001 in between
    assert clock.now() == 1_002.0
    steady[0] = 112.0
    assert clock.now() == 1_012.0


@pytest.mark.parametrize("wrong", [3_600.0, -3_600.0])
async def test_a_retry_is_due_by_the_database_s_clock(
    database: Database, workspace_id: str, keyring: KeyRing, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    """A worker whose machine is an hour ahead neither holds a retry up for an hour, nor makes it at once."""
    right = time.time
    await add(database, workspace_id, keyring, "http://127.0.0.1:65534/")
    await emit(database, workspace_id, 1)
    monkeypatch.setattr("time.time", lambda: right() + wrong)
    engine, stop = DeliveryEngine(database, keyring, LOOPBACK, rand=lambda: 0.0), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    await until(lambda: engine.counts.recorded == 1)
    stop.set()
    await running
    [row] = await log(database, workspace_id)
    assert 0 < row["next_attempt_at"].timestamp() - right() <= 5
