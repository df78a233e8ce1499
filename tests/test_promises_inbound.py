"""Promises about what comes in: acknowledged means committed, once means once, poison is set aside and visible."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import orjson
import pytest

from channels.table import CHANNELS
from gateway.runner import Limits
from gateway.services import Ground
from kernel.db import Database
from kernel.types import Account, InboundMessage, Json, Parsed
from pipeline import turns
from simulators.telegram import people
from tests.conftest import Stores
from tests.gateway_parts import SECRET, Scripted, gateway, inbound_server, simulator, telegram_account, until
from tests.proxy import Proxy, proxy

HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET}


def update(number: int, text: str = "hello", user: int = 7) -> Json:
    who = {"id": user, "is_bot": False, "first_name": "Ann"}
    chat = {"id": user, "type": "private", "first_name": "Ann"}
    message = {"message_id": number, "date": 1_700_000_000, "from": who, "chat": chat, "text": text}
    return {"update_id": number, "message": message}


@pytest.fixture
async def faulty(ground: Ground, stores: Stores) -> AsyncIterator[tuple[Ground, Proxy]]:
    """The ground with a database behind a fault injector."""
    parts = urlsplit(stores.app_url)
    socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    async with proxy(socket) as (fault, port):
        url = f"postgresql://parley:test@127.0.0.1:{port}/parley?sslmode=disable"
        database = await Database.connect(url, size=4, name="faulty")
        try:
            yield dataclasses.replace(ground, database=database), fault
        finally:
            fault.mute = False
            fault.cut()
            await database.close()


async def test_d2_no_ack_before_the_commit_is_known(
    faulty: tuple[Ground, Proxy], ground: Ground, workspace_id: str
) -> None:
    """The connection dies between insert and answer: no 2xx; the platform's retry makes one row and one turn."""
    behind, fault = faulty
    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(behind, answer, telegram_url=sim.url) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        address = f"{url}/channels/telegram/{account}"
        await services.directory.account(account)
        fault.mute = True
        posting = asyncio.create_task(http.post(address, json=update(1)))
        await asyncio.sleep(0.3)
        assert not posting.done()
        fault.cut()
        response = await posting
        assert response.status >= 500
        fault.mute = False
        async with http.post(address, json=update(1)) as again:
            assert again.status == 200

        async def answered() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) = 1 FROM turns WHERE status = 'done'"))

        await until(answered)
        async with ground.database.workspace(workspace_id) as conn:
            assert await conn.fetchval("SELECT count(*) FROM inbound_updates") == 1
    assert answer.calls == ["hello"]


async def test_v1_the_same_event_many_times_over_two_gateways_is_one_turn(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(ground, answer, telegram_url=sim.url) as one,
        gateway(ground, answer, telegram_url=sim.url) as two,
        inbound_server(one) as url_one,
        inbound_server(two) as url_two,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):

        async def post(url: str, number: int) -> int:
            body = update(number, f"n{number}", user=100 + number)
            async with http.post(f"{url}/channels/telegram/{account}", json=body) as response:
                return response.status

        statuses = await asyncio.gather(
            *(post(url, number) for number in range(1, 11) for url in (url_one, url_two) for _ in range(5))
        )
        assert set(statuses) == {200}

        async def answered() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) = 10 FROM turns WHERE status = 'done'"))

        await until(answered)
        async with ground.database.workspace(workspace_id) as conn:
            assert await conn.fetchval("SELECT count(*) FROM turns") == 10
    assert sorted(answer.calls) == sorted(f"n{number}" for number in range(1, 11))


async def test_a1_unverified_requests_are_refused_before_they_are_read(ground: Ground, workspace_id: str) -> None:
    account = await telegram_account(ground, workspace_id)
    async with (
        gateway(ground, Scripted()) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession() as http,
    ):
        address = f"{url}/channels/telegram/{account}"
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": SECRET[:-1] + "t"}):
            async with http.post(address, data=b"this is not json", headers=headers) as response:
                assert response.status == 401
        async with http.post(address, data=b"this is not json", headers=HEADERS) as response:
            assert response.status == 400
        async with http.post(f"{url}/channels/telegram/acc_nobody", json=update(1), headers=HEADERS) as response:
            assert response.status == 404
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM inbound_updates") == 0


async def test_d8_poison_is_set_aside_visible_and_can_be_replayed(
    ground: Ground, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parser with a defect: the update is acknowledged and kept, others go on, and after the mend it is answered."""
    telegram = CHANNELS["telegram"]

    def defective(account: Account, body: Json) -> list[Parsed]:
        if body["update_id"] == 1:
            raise KeyError("defect")
        return telegram.parse(account, body)

    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(ground, answer, telegram_url=sim.url) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        monkeypatch.setitem(CHANNELS, "telegram", dataclasses.replace(telegram, parse=defective))
        for number in (1, 2):
            async with http.post(f"{url}/channels/telegram/{account}", json=update(number, f"n{number}")) as response:
                assert response.status == 200

        async def next_answered() -> bool:
            return answer.calls == ["n2"]

        await until(next_answered)
        async with ground.database.workspace(workspace_id) as conn:
            [dead] = await turns.list_updates(conn, "dead", 10, None)
            assert "KeyError" in dead["cause"]
            kept = await turns.dead_update(conn, dead["update_id"])
            assert kept
            found = await services.directory.account(account)
            assert found
            [message] = telegram.parse(found, orjson.loads(kept["payload"]))
            assert isinstance(message, InboundMessage)
            await turns.revive(conn, dead["update_id"], message)
        services.runner.wake(turns.Place(account, message.conversation_key))

        async def replayed() -> bool:
            return answer.calls == ["n2", "n1"]

        await until(replayed)


async def test_characters_that_the_store_cannot_hold_lose_no_message(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(ground, answer, telegram_url=sim.url) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        async with http.post(f"{url}/channels/telegram/{account}", json=update(1, "a\x00b")) as response:
            assert response.status == 200

        async def asked() -> bool:
            return answer.calls == ["ab"]

        await until(asked)


async def test_d8_a_turn_that_always_fails_ends_with_an_apology(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()

    async def fail(question: str) -> None:
        raise RuntimeError("the step is broken")

    answer.before = fail
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(ground, answer, telegram_url=sim.url, limits=Limits(lease=2.0, tries=2)) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        people.add_user(sim.world, 7, "Ann")
        sim.say(7, "/start")
        async with http.post(f"{url}/channels/telegram/{account}", json=update(1)) as response:
            assert response.status == 200

        async def told() -> bool:
            return any("something went wrong" in entry["text"] for entry in sim.sends(7))

        await until(told)
        async with ground.database.workspace(workspace_id) as conn:
            assert await conn.fetchval("SELECT status FROM turns") == "dead"
            assert await conn.fetchval("SELECT status FROM inbound_updates") == "dead"
            assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'chat.response.failed'") == 1
    assert answer.calls == ["hello"] * 2


async def test_d8_a_turn_that_died_can_be_tried_again_by_hand(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()

    async def fail(question: str) -> None:
        raise RuntimeError("the step is broken")

    answer.before = fail
    account = await telegram_account(ground, workspace_id)
    async with (
        simulator() as sim,
        gateway(ground, answer, telegram_url=sim.url, limits=Limits(lease=2.0, tries=1)) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        async with http.post(f"{url}/channels/telegram/{account}", json=update(1)) as response:
            assert response.status == 200

        async def died() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await turns.list_updates(conn, "dead", 10, None))

        await until(died)
        answer.before = None
        async with ground.database.workspace(workspace_id) as conn:
            [dead] = await turns.list_updates(conn, "dead", 10, None)
            kept = await turns.dead_update(conn, dead["update_id"])
            assert kept
            message = InboundMessage.from_json(kept["message"])
            await turns.revive(conn, dead["update_id"], message)
        services.runner.wake(turns.Place(account, message.conversation_key))

        async def answered() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) FROM inbound_updates WHERE status = 'answered'"))

        await until(answered)
        async with ground.database.workspace(workspace_id) as conn:
            assert await conn.fetchval("SELECT count(*) FROM messages WHERE role = 'user'") == 1
            assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'chat.message.received'") == 1
