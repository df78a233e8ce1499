"""Outbound budgets: one bucket per bot, chat and workspace for all processes, and pauses that platforms ask for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from arq.connections import ArqRedis

from channels.table import CHANNELS
from gateway.budget import Budget, chat_of
from kernel.ids import new_id
from kernel.platform import Pace
from kernel.queue import open_redis
from kernel.types import Account

TELEGRAM = replace(CHANNELS["telegram"], pace=lambda address: Pace(bot=1, bot_burst=6, chat=0.5, chat_burst=2))


def account(**settings: object) -> Account:
    return Account(new_id("ws"), new_id("acc"), "telegram", "polling", {}, dict(settings), {})


async def test_a_chat_takes_its_burst_and_then_waits(redis: ArqRedis) -> None:
    budget, bot = Budget(redis), account()
    waits = [await budget.take(bot, TELEGRAM, {"chat_id": 1}) for _ in range(3)]
    assert waits[:2] == [0, 0]
    assert 1.5 < waits[2] <= 2
    assert await budget.take(bot, TELEGRAM, {"chat_id": 2}) == 0


async def test_a_bot_has_one_budget_over_all_processes(redis: ArqRedis) -> None:
    one, other, bot = Budget(redis), Budget(redis), account()
    for chat in range(6):
        assert await (one, other)[chat % 2].take(bot, TELEGRAM, {"chat_id": chat}) == 0
    assert await one.take(bot, TELEGRAM, {"chat_id": 7}) > 0
    assert await other.take(bot, TELEGRAM, {"chat_id": 8}) > 0
    assert await other.take(account(), TELEGRAM, {"chat_id": 8}) == 0


async def test_what_one_bucket_refuses_is_taken_from_none(redis: ArqRedis) -> None:
    budget, bot = Budget(redis), account()
    for _ in range(2):
        assert await budget.take(bot, TELEGRAM, {"chat_id": 1}) == 0
    for _ in range(20):
        assert await budget.take(bot, TELEGRAM, {"chat_id": 1}) > 0
    assert [await budget.take(bot, TELEGRAM, {"chat_id": n}) for n in (2, 3, 4, 5)] == [0, 0, 0, 0]


async def test_previews_leave_room_for_answers(redis: ArqRedis) -> None:
    budget, bot = Budget(redis), account()
    shown = [await budget.spare(bot, TELEGRAM, {"chat_id": n}) for n in range(6)]
    assert shown == [True, True, True, False, False, False]
    assert [await budget.take(bot, TELEGRAM, {"chat_id": n}) for n in range(6, 9)] == [0, 0, 0]


async def test_a_pause_holds_the_chat_or_the_whole_bot_everywhere(redis: ArqRedis) -> None:
    one, other, bot = Budget(redis), Budget(redis), account()
    await one.pause(bot, {"chat_id": 1}, 30)
    assert 29 < await other.take(bot, TELEGRAM, {"chat_id": 1}) <= 30
    assert await other.take(bot, TELEGRAM, {"chat_id": 2}) == 0
    await one.pause(bot, None, 60)
    assert 59 < await other.take(bot, TELEGRAM, {"chat_id": 2}) <= 60


async def test_an_account_may_have_a_pace_of_its_own(redis: ArqRedis) -> None:
    budget, bot = Budget(redis), account(pace={"bot": 1000, "chat": 1000})
    waits = await asyncio.gather(*(budget.take(bot, TELEGRAM, {"chat_id": 1}) for _ in range(50)))
    assert set(waits) == {0.0}


async def test_a_workspace_shares_one_budget_among_its_bots(redis: ArqRedis) -> None:
    workspace = new_id("ws")
    pace = {"bot": 1000, "chat": 1000, "workspace": 3}
    bots = [replace(account(pace=pace), workspace_id=workspace) for _ in range(4)]
    budget = Budget(redis)
    waits = [await budget.take(bot, TELEGRAM, {"chat_id": 1}) for bot in bots]
    assert waits[:3] == [0, 0, 0]
    assert waits[3] > 0


async def test_without_redis_this_process_keeps_the_same_numbers() -> None:
    away = open_redis("redis://127.0.0.1:1")
    budget, bot = Budget(away), account()
    try:
        assert [await budget.take(bot, TELEGRAM, {"chat_id": 1}) for _ in range(2)] == [0, 0]
        assert await budget.take(bot, TELEGRAM, {"chat_id": 1}) > 0
        await budget.pause(bot, None, 30)
        assert await budget.take(bot, TELEGRAM, {"chat_id": 2}) > 29
    finally:
        await away.aclose()


def test_every_platform_names_its_chats() -> None:
    assert [chat_of(a) for a in ({"chat_id": 5}, {"channel": "C1", "team": "T"}, {"channel_id": "7"})] == [
        "5",
        "C1",
        "7",
    ]
