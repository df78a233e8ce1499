"""Promises about turns: picked up when the holder dies, fenced when it comes back, never paid for twice."""

from __future__ import annotations

import asyncio
import dataclasses

import aiohttp
import asyncpg
import pytest

from channels.table import CHANNELS
from gateway.runner import Limits
from gateway.services import Ground
from kernel.types import InboundMessage, Json, Reply, Sender, Unit
from pipeline import turns
from pipeline.turns import Arrival, Busy, Finished, Place, Result, Turn
from tests.gateway_parts import Scripted, gateway, inbound_server, simulator, telegram_account, until
from tests.test_promises_inbound import HEADERS, update


def arrival(account: str, number: int, chat: str = "7", text: str = "hello") -> Arrival:
    message = InboundMessage(
        str(number), chat, "text", Sender("7", "Ann"), text, {"chat_id": int(chat)}, message_ref=str(number)
    )
    return Arrival(account, b"{}", message)


async def open_one(ground: Ground, place: Place, lease: float = 5.0) -> Turn | Busy | None:
    async with ground.database.anywhere() as conn:
        return (await turns.open_many(conn, [place], lease=lease, tries=5, memory=10))[0]


async def finish(ground: Ground, turn: Turn, text: str) -> Finished | None:
    result = Result(answer={"text": text, "citations": [], "retrieval": {}}, units=[Unit({}, text)])
    async with ground.database.anywhere() as conn:
        return (await turns.finish_many(conn, [(turn, result)], 5.0))[0]


async def test_d4_a_holder_that_wakes_late_changes_nothing(ground: Ground, workspace_id: str) -> None:
    account = await telegram_account(ground, workspace_id)
    async with ground.database.anywhere() as conn:
        await turns.accept_many(conn, [arrival(account, 1)])
    place = Place(account, "7")
    frozen = await open_one(ground, place, lease=0.05)
    assert isinstance(frozen, Turn)
    await asyncio.sleep(0.1)
    second = await open_one(ground, place)
    assert isinstance(second, Turn)
    assert (second.turn_id, second.attempt, second.message_ids) == (frozen.turn_id, 2, frozen.message_ids)
    assert isinstance(await finish(ground, second, "the second holder's"), Finished)
    assert await finish(ground, frozen, "the late one's") is None
    async with ground.database.workspace(workspace_id) as conn:
        texts = [row["text"] for row in await conn.fetch("SELECT text FROM messages WHERE role = 'assistant'")]
        assert texts == ["the second holder's"]
        assert await conn.fetchval("SELECT count(*) FROM outbound_messages") == 1
        assert await turns.renew(conn, [frozen], 5.0) == set()


async def test_a_heartbeat_waits_for_nobody(ground: Ground, workspace_id: str) -> None:
    """What is locked is about to end. Waiting for it with others in hand was a deadlock with a batch that ends them."""
    account = await telegram_account(ground, workspace_id)
    async with ground.database.anywhere() as conn:
        await turns.accept_many(conn, [arrival(account, n, chat=str(n)) for n in (1, 2)])
    held = [await open_one(ground, Place(account, chat), lease=1.0) for chat in ("1", "2")]
    ending, other = (turn for turn in held if isinstance(turn, Turn))
    async with ground.database.workspace(workspace_id) as writing:
        await writing.execute("SELECT FROM turns WHERE turn_id = $1 FOR UPDATE", ending.turn_id)
        async with ground.database.anywhere() as conn, asyncio.timeout(10):
            assert await turns.renew(conn, [ending, other], 60.0) == {ending.turn_id, other.turn_id}
    async with ground.database.workspace(workspace_id) as conn:
        left = "SELECT turn_id FROM turns WHERE lease_until > now() + interval '30 seconds'"
        assert [row["turn_id"] for row in await conn.fetch(left)] == [other.turn_id]
        assert await turns.renew(conn, [dataclasses.replace(other, token="another's")], 60.0) == set()


async def test_one_running_turn_a_conversation_whoever_asks(ground: Ground, workspace_id: str) -> None:
    account = await telegram_account(ground, workspace_id)
    async with ground.database.anywhere() as conn:
        await turns.accept_many(conn, [arrival(account, n, chat=str(n % 5)) for n in range(50)])
    places = [Place(account, str(n)) for n in range(5)]
    opened = await asyncio.gather(*(open_one(ground, place) for place in places for _ in range(8)))
    held = [turn for turn in opened if isinstance(turn, Turn)]
    assert sorted(turn.conversation_key for turn in held) == ["0", "1", "2", "3", "4"]


async def test_an_update_committed_while_a_turn_finishes_is_not_forgotten(ground: Ground, workspace_id: str) -> None:
    """Whoever holds the conversation looks again before letting go; whoever found it busy may rely on that."""
    account = await telegram_account(ground, workspace_id)
    place = Place(account, "7")
    for n in range(20):
        async with ground.database.anywhere() as conn:
            await turns.accept_many(conn, [arrival(account, 2 * n)])
        turn = await open_one(ground, place)
        assert isinstance(turn, Turn)

        async def late(number: int = 2 * n + 1) -> Turn | Busy | None:
            async with ground.database.anywhere() as conn:
                await turns.accept_many(conn, [arrival(account, number)])
            return await open_one(ground, place)

        finished, opened = await asyncio.gather(finish(ground, turn, "done"), late())
        assert isinstance(finished, Finished)
        if not isinstance(opened, Turn):
            assert finished.more
            opened = await open_one(ground, place)
        assert isinstance(opened, Turn)
        await finish(ground, opened, "done")


async def test_a_conversation_that_another_holder_just_finished_opens_no_empty_turn(
    ground: Ground, workspace_id: str
) -> None:
    """Many holders, few updates: every turn has something to answer, and nothing is left over."""
    account = await telegram_account(ground, workspace_id)
    number = 0
    for _ in range(30):
        for _ in range(2):
            number += 1
            async with ground.database.anywhere() as conn:
                await turns.accept_many(conn, [arrival(account, number)])

        async def hold() -> None:
            turn = await open_one(ground, Place(account, "7"))
            if isinstance(turn, Turn):
                assert turn.updates
                await finish(ground, turn, "done")

        await asyncio.gather(*(hold() for _ in range(8)))
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM inbound_updates WHERE status <> 'answered'") == 0
        assert await conn.fetchval("SELECT count(*) FROM turns WHERE status = 'running'") == 0


async def test_a_turn_whose_apology_fails_still_ends(
    ground: Ground, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(reply: Reply, address: Json) -> list[Unit]:
        raise RuntimeError("nothing can be rendered")

    monkeypatch.setitem(CHANNELS, "telegram", dataclasses.replace(CHANNELS["telegram"], render=broken))
    account = await telegram_account(ground, workspace_id)
    async with gateway(ground, Scripted(), limits=Limits(lease=2.0, tries=1)) as services:
        await services.intake.accept(arrival(account, 1))

        async def ended() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) FROM turns WHERE status = 'dead'"))

        await until(ended)
    async with ground.database.workspace(workspace_id) as conn:
        assert "apology" in await conn.fetchval("SELECT cause FROM inbound_updates")


async def test_d5_redis_emptied_under_load_costs_nothing_but_time(ground: Ground, workspace_id: str) -> None:
    answer = Scripted()

    async def wipe(question: str) -> None:
        await ground.redis.flushall()

    answer.before = wipe
    account = await telegram_account(ground, workspace_id)
    async with (
        gateway(ground, answer) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        for n in range(30):
            async with http.post(f"{url}/channels/telegram/{account}", json=update(n, f"n{n}", user=n % 6)) as response:
                assert response.status == 200

        async def done() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) = 30 FROM inbound_updates WHERE status = 'answered'"))

        await until(done)


async def test_d7_a_turn_is_resumed_after_its_last_recorded_step_and_never_run_again(
    ground: Ground, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has answered, then the result cannot be written: the next attempt does not ask it again."""
    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with simulator() as sim, gateway(ground, answer, telegram_url=sim.url, limits=Limits(lease=1.0)) as services:
        channel = CHANNELS["telegram"]
        falls = [RuntimeError("the process dies here")]

        def render(reply: Reply, address: Json) -> list[Unit]:
            if falls:
                raise falls.pop()
            return channel.render(reply, address)

        monkeypatch.setitem(CHANNELS, "telegram", dataclasses.replace(channel, render=render))
        await services.intake.accept(arrival(account, 1))

        async def done() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT attempt FROM turns WHERE status = 'done'"))

        await until(done)
        assert answer.calls == ["hello"]
        for _ in range(100):
            services.runner.wake(Place(account, "7"))
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
    assert answer.calls == ["hello"]
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT attempt FROM turns") == 2
        assert await conn.fetchval("SELECT count(*) FROM messages WHERE role = 'assistant'") == 1


async def test_d6_connections_killed_under_load_are_replaced(
    ground: Ground, workspace_id: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    answer = Scripted()
    account = await telegram_account(ground, workspace_id)
    async with (
        gateway(ground, answer) as services,
        inbound_server(services) as url,
        aiohttp.ClientSession(headers=HEADERS) as http,
    ):
        for n in range(20):
            if n % 5 == 4:
                await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'parley'")
            while True:
                async with http.post(f"{url}/channels/telegram/{account}", json=update(n, f"n{n}", user=n)) as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.05)

        async def done() -> bool:
            async with ground.database.workspace(workspace_id) as conn:
                return bool(await conn.fetchval("SELECT count(*) = 20 FROM inbound_updates WHERE status = 'answered'"))

        await until(done, 30)


async def test_d9_a_graceful_stop_hands_unfinished_turns_back_at_once(ground: Ground, workspace_id: str) -> None:
    """The stop waits for turns under way; what does not finish is taken over without waiting for its lease."""
    stuck = asyncio.Event()
    answer, second = Scripted(), Scripted()

    async def hang(question: str) -> None:
        if question == "slow":
            await stuck.wait()

    answer.before = hang
    account = await telegram_account(ground, workspace_id)
    async with gateway(ground, answer, limits=Limits(lease=60.0)) as services:
        await services.intake.accept(arrival(account, 1, chat="1", text="slow"))
        await services.intake.accept(arrival(account, 2, chat="2", text="quick"))

        async def quick_done() -> bool:
            return len(answer.calls) == 2 and services.runner.running == 1

        await until(quick_done)
        await services.runner.stop(patience=0.1)
        services.runner.wake(Place(account, "1"))
        assert services.runner.running == 0
    async with gateway(ground, second, limits=Limits(lease=60.0)):

        async def resumed() -> bool:
            return second.calls == ["slow"]

        await until(resumed)
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT max(attempt) FROM turns") == 1
