"""How updates reach a bot: getUpdates, webhooks, and what faults do to both and to calls."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from telegram import Bot
from telegram.error import (
    BadRequest,
    Conflict,
    NetworkError,
    RetryAfter,
    TimedOut,
)

from simulators.telegram.faults import FaultBook, parse_fault
from simulators.telegram.server import Simulator
from simulators.telegram.state import JsonObject
from simulators.telegram.webhook import pause_after
from tests.simulator_telegram_kit import ANN, eventually, receiving, talking, texts


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Bot]]:
    async with talking() as pair:
        pair[0].say(ANN, "hello")
        yield pair


async def test_an_offset_confirms_and_negative_offsets_skip(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    for word in ("two", "three"):
        sim.say(ANN, word)
    first = await bot.get_updates(limit=2)
    assert texts(first) == ["hello", "two"]
    assert first[1].update_id == first[0].update_id + 1
    assert len(await bot.get_updates()) == 3
    rest = await bot.get_updates(offset=first[1].update_id + 1)
    assert texts(rest) == ["three"]
    assert len(await bot.get_updates(offset=-1)) == 1
    assert await bot.get_updates(offset=rest[0].update_id + 1) == ()


async def test_a_long_poll_wakes_up_and_a_second_one_ends_it(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    seen = (await bot.get_updates())[0].update_id
    old = asyncio.create_task(bot.get_updates(offset=seen + 1, timeout=20))
    await eventually(lambda: bool(sim.world.bots) and not sim.bot.mailbox)
    async with Bot(sim.bot.token, base_url=f"{sim.url}/bot") as other:
        new = asyncio.create_task(other.get_updates(offset=seen + 1, timeout=20))
        with pytest.raises(Conflict, match="other getUpdates request"):
            await old
        sim.say(ANN, "wake up")
        assert texts(await new) == ["wake up"]


async def test_unwanted_kinds_are_never_queued(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    await bot.get_updates(offset=-1, allowed_updates=["callback_query"])
    assert sim.say(ANN, "not wanted")["update_ids"] == []
    await bot.get_updates(allowed_updates=[])
    assert len(sim.say(ANN, "wanted")["update_ids"]) == 1


async def test_a_webhook_is_retried_in_order_with_its_secret(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    async with receiving() as receiver:
        receiver.statuses = [500, 503, 200]
        assert await bot.set_webhook(receiver.url, secret_token="s3cret_-", max_connections=5)
        for word in ("two", "three"):
            sim.say(ANN, word)
        await receiver.until(5)
        assert receiver.texts() == ["hello", "hello", "hello", "two", "three"]
        assert set(receiver.secrets) == {"s3cret_-"}
        info = await bot.get_webhook_info()
        assert info.last_error_message == "Wrong response from the webhook: 503 Service Unavailable"
        with pytest.raises(Conflict, match="webhook is active"):
            await bot.get_updates()
        await eventually(lambda: not sim.bot.mailbox)
        await bot.delete_webhook()
    sim.say(ANN, "polled")
    assert texts(await bot.get_updates()) == ["polled"]


async def test_chats_do_not_wait_for_each_other(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    async with receiving() as receiver:
        released = asyncio.Event()

        async def gate(update: JsonObject) -> None:
            if update["message"]["chat"]["id"] == ANN:
                await released.wait()

        receiver.gate = gate
        await bot.set_webhook(receiver.url, max_connections=2)
        sim.say(ANN, "two")
        sim.say(1002, "quick")
        await receiver.until(1)
        assert receiver.texts() == ["quick"]
        released.set()
        await receiver.until(3)
        assert receiver.texts() == ["quick", "hello", "two"]


async def test_a_call_may_be_the_answer(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    async with receiving() as receiver:
        receiver.answer = {"method": "sendMessage", "chat_id": ANN, "text": "at once"}
        await bot.set_webhook(receiver.url)
        await eventually(lambda: [entry["text"] for entry in sim.sends()] == ["at once"])


async def test_a_webhook_that_nobody_serves_is_reported(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    async with receiving() as receiver:
        gone = receiver.url
    await bot.set_webhook(gone)
    await eventually(lambda: bool(sim.bot.webhook.last_error_date))
    info = await bot.get_webhook_info()
    assert info.last_error_message == "Connection refused" and info.pending_update_count == 1
    for url, secret in (("http://example.com/", "x"), ("ftp://localhost/", "x"), ("https://example.com/", "a b")):
        with pytest.raises(BadRequest):
            await bot.set_webhook(url, secret_token=secret)


def test_pauses_grow_and_obey_retry_after() -> None:
    rng = random.Random(1)
    assert [pause_after(n, 0, 0.5, rng) for n in (1, 2, 3, 4)] == [0.0, 1.0, 2.0, 4.0]
    assert 60 <= pause_after(50, 0, 1.0, rng) <= 120
    assert pause_after(1, 9, 1.0, rng) == 9.0


@pytest.mark.parametrize(("kind", "accepted"), [("drop_before", 0), ("drop_after", 1)])
async def test_a_dropped_connection_tells_the_client_nothing(
    both: tuple[Simulator, Bot], kind: str, accepted: int
) -> None:
    sim, bot = both
    sim.fault(kind, "send*", count=1)
    with pytest.raises(NetworkError):
        await bot.send_message(ANN, "once")
    assert [entry["text"] for entry in sim.sends(ANN)] == ["once"] * accepted
    await bot.send_message(ANN, "again")
    assert sim.sends(ANN)[-1]["text"] == "again"


@pytest.mark.parametrize(("kind", "accepted"), [("hang", 0), ("hang_after", 1)])
async def test_a_call_may_never_be_answered(both: tuple[Simulator, Bot], kind: str, accepted: int) -> None:
    sim, bot = both
    sim.fault(kind, "sendMessage", chat=ANN)
    with pytest.raises(TimedOut):
        await bot.send_message(ANN, "slow", read_timeout=0.1)
    assert len(sim.sends()) == accepted


async def test_errors_and_delays_to_order(both: tuple[Simulator, Bot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
    sim, bot = both
    sim.fault("delay", ms=1)
    sim.fault("status", "sendmessage", code=429, retry_after=3, count=1)
    sim.fault("status", "sendMessage", code=502, description="Bad Gateway", count=1)
    with pytest.raises(RetryAfter, match="Retry in"):
        await bot.send_message(ANN, "one")
    with pytest.raises(NetworkError, match="Bad Gateway"):
        await bot.send_message(ANN, "two")
    await bot.send_message(ANN, "three")
    assert [entry["text"] for entry in sim.sends()] == ["three"]
    assert dict(sim.world.calls["sendMessage"]) == {"429": 1, "502": 1, "ok": 1}


async def test_updates_may_come_twice_or_out_of_order(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    sim.fault("duplicate", "message", count=1)
    sim.say(ANN, "twice")
    sim.fault("reorder", count=1, ms=60_000)
    sim.say(ANN, "late")
    sim.say(ANN, "early")
    updates = await bot.get_updates()
    assert texts(updates) == ["hello", "twice", "twice", "early", "late"]
    assert updates[1].update_id == updates[2].update_id
    assert updates[3].update_id > updates[4].update_id
    assert texts(await bot.get_updates(offset=updates[3].update_id)) == ["early"]
    async with receiving() as receiver:
        sim.fault("duplicate", count=1)
        sim.fault("reorder", count=1, ms=1)
        await bot.set_webhook(receiver.url, drop_pending_updates=True)
        for word in ("one", "two", "three"):
            sim.say(ANN, word)
        await receiver.until(4)
        assert receiver.texts() == ["one", "one", "three", "two"]


def test_a_seed_repeats_what_goes_wrong() -> None:
    def run(seed: int) -> list[bool]:
        book = FaultBook(random.Random(seed))
        book.add(parse_fault({"kind": "status", "probability": 0.5}))
        return [book.for_call("sendMessage", 1, 1).fault is not None for _ in range(50)]

    assert run(1) == run(1) != run(2)
    book = FaultBook(random.Random(1))
    book.add(parse_fault({"kind": "status", "method": "send*", "skip": 1, "count": 1}))
    methods = ("sendMessage", "getMe", "sendMessage", "sendMessage")
    assert [book.for_call(m, 1, 1).fault is not None for m in methods] == [False, False, True, False]
    for wrong in ({"kind": "explode"}, {"kind": "delay", "ms": "long"}, {"kind": "delay", "wait": 1}):
        with pytest.raises(ValueError):
            parse_fault(wrong)
