"""Bots that do not hear are seen: in readiness, in the metrics, in the list of channels, by doctor."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels import accounts
from gateway.routes import health
from gateway.services import Ground
from gateway.tend import look
from tests.gateway_parts import simulator, telegram_account, until
from tests.http_face import Client, client, served


@pytest.fixture
async def api(ground: Ground, workspace_id: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(health._Bots, "until", 0.0)
    async with simulator() as sim, served(ground, telegram_url=sim.url) as server:
        yield await client(server, workspace_id)


async def test_a_webhook_that_leads_elsewhere_is_found_and_told(api: Client, ground: Ground) -> None:
    account_id = await telegram_account(ground, api.workspace_id)
    before = (await api.get("/health/ready")).body["bots"]
    await look(api.server.services, every=0.0)
    (bot,) = [item for item in (await api.get("/api/v1/channels")).body["items"] if item["account_id"] == account_id]
    assert bot["health"]["ok"] is False
    assert "Telegram delivers to nowhere and not to" in bot["health"]["detail"]

    async def told() -> bool:
        health._Bots.until = 0.0
        unwell: int = (await api.get("/health/ready")).body["bots"]["unwell"]
        return unwell == int(before["unwell"]) + 1

    await until(told)
    metrics = (await api.get("/metrics")).raw.decode()
    assert f'parley_bot_up{{account="{account_id}",channel="telegram"}} 0.0' in metrics


async def test_a_probe_is_made_once_by_all_processes_together(api: Client, ground: Ground) -> None:
    account_id = await telegram_account(ground, api.workspace_id)
    kinds = ["telegram"]
    async with ground.database.anywhere() as conn:
        first = [due.account.account_id for due in await accounts.to_tend(conn, ground.ring, kinds, 60.0)]
        second = [due.account.account_id for due in await accounts.to_tend(conn, ground.ring, kinds, 60.0)]
    assert account_id in first
    assert account_id not in second


async def test_what_came_in_is_remembered(api: Client, ground: Ground) -> None:
    account_id = await telegram_account(ground, api.workspace_id)
    async with ground.database.anywhere() as conn:
        await accounts.note_inbound(conn, [account_id])
    shown = (await api.get(f"/api/v1/channels/{account_id}")).body
    assert shown["last_inbound_at"] is not None
