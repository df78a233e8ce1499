"""A gateway with more to do than it can says so to whoever waits, keeps the message, and answers it in its turn."""

from __future__ import annotations

import asyncio

from channels.telegram import connect
from gateway.runner import Limits
from gateway.services import Ground
from simulators.telegram import people
from tests.gateway_parts import SECRET, Scripted, gateway, inbound_server, simulator, telegram_account, until

ANN, BEN = 1001, 1002


async def test_who_has_to_wait_is_told_once_and_answered_afterwards(ground: Ground, workspace_id: str) -> None:
    answer, free = Scripted(), asyncio.Event()

    async def wait(question: str) -> None:
        await free.wait()

    answer.before = wait
    async with simulator() as sim, gateway(ground, answer, telegram_url=sim.url, limits=Limits(at_once=1)) as services:
        account_id = await telegram_account(ground, workspace_id)

        def seen(chat: int) -> list[str]:
            return [entry["text"] for entry in sim.sends(chat) if entry["method"] == "sendMessage"]

        async with inbound_server(services) as url:
            account = await services.directory.account(account_id)
            assert account
            bot = await services.directory.client(account)
            assert isinstance(await connect(bot, "webhook", f"{url}/channels/telegram/{account_id}", SECRET), dict)
            for user, name in ((ANN, "Ann"), (BEN, "Ben")):
                people.add_user(sim.world, user, name)
            sim.say(ANN, "first")

            async def begun() -> bool:
                return answer.calls == ["first"]

            await until(begun)
            sim.say(BEN, "second")

            async def told() -> bool:
                return bool(seen(BEN))

            await until(told)
            assert "Your message is kept" in seen(BEN)[0]
            assert seen(ANN) == []
            free.set()

            async def answered() -> bool:
                return len(seen(BEN)) == 2

            await until(answered)
    assert seen(ANN) == ["you said: first"]
    assert seen(BEN)[1] == "you said: second"
