"""An answer while it is made: drafts in Telegram; how a preview that lasts is kept, replaced and found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from channels.telegram import connect
from gateway.live import AWAITED, Live
from gateway.services import Ground
from kernel.types import Json, Preview
from pipeline.machine import Emit
from simulators.telegram import people
from tests.gateway_parts import SECRET, Scripted, gateway, inbound_server, simulator, telegram_account, until

ANN = 1001


@dataclass
class Stage:
    """A platform whose previews last: what it was shown, in order."""

    shown: list[str] = field(default_factory=list)
    stored: list[Json] = field(default_factory=list)
    room: bool = True
    held: bool = True

    async def show(self, client: Any, address: Json, state: Json, markdown: str, key: str) -> Json | None:
        self.shown.append(markdown)
        return {"message_id": 7}

    async def recover(self, client: Any, address: Json, key: str, since: float) -> Json | None:
        return {"message_id": 7}

    async def store(self, receipt: Json) -> bool:
        self.stored.append(receipt)
        return self.held

    async def allowed(self) -> bool:
        return self.room

    def live(self, *, lasting: bool = True) -> Live:
        preview = Preview(self.show, self.recover, lambda address: 0.01, lasting)
        return Live(preview, None, {}, "turn_1", store=self.store, allowed=self.allowed, patience=0.01)


async def shown(stage: Stage, count: int = 1) -> None:
    async def there() -> bool:
        return len(stage.shown) >= count

    await until(there)


async def test_what_there_is_so_far_is_shown_and_its_place_kept_with_the_turn() -> None:
    stage = Stage()
    live = stage.live()
    live.add("**He")
    await shown(stage)
    live.add("llo** there")
    await shown(stage, 2)
    assert await live.stop() == {"message_id": 7}
    assert stage.shown == ["**He**", "**Hello** there"]
    assert stage.stored == [AWAITED, {"message_id": 7}]  # before the first word, and when it is there


async def test_an_answer_that_is_quick_is_not_shown_in_pieces() -> None:
    stage = Stage()
    preview = Preview(stage.show, stage.recover, lambda address: 0.01, lasting=True)
    live = Live(preview, None, {}, "turn_1", store=stage.store, allowed=stage.allowed, patience=60.0)
    live.add("all of it")
    await asyncio.sleep(0.05)
    assert await live.stop() is None
    assert (stage.shown, stage.stored) == ([], [])


async def test_a_turn_that_is_somebody_elses_shows_nothing() -> None:
    stage = Stage(held=False)
    live = stage.live()
    live.add("mine?")
    await asyncio.sleep(0.1)
    assert await live.stop() is None
    assert stage.shown == []


async def test_previews_wait_while_the_budget_is_tight() -> None:
    stage = Stage(room=False)
    live = stage.live()
    live.add("later")
    await asyncio.sleep(0.1)
    assert stage.shown == []
    stage.room = True
    await shown(stage)
    await live.stop()


async def test_a_preview_of_which_nobody_knows_is_looked_for_in_the_end() -> None:
    """The platform's answer broke off: there may be a message, and the turn goes on saying that it awaits one."""

    class Cut(Stage):
        async def show(self, client: Any, address: Json, state: Json, markdown: str, key: str) -> Json | None:
            self.shown.append(markdown)
            return {}

    stage = Cut()
    live = stage.live()
    live.add("is it there?")
    await shown(stage, 2)
    assert await live.stop() == {"message_id": 7}
    assert stage.stored == [AWAITED]


async def test_a_draft_leaves_nothing_to_replace() -> None:
    stage = Stage()
    live = stage.live(lasting=False)
    live.add("draft")
    await shown(stage)
    assert await live.stop() is None
    assert stage.stored == []


class Slow(Scripted):
    """An answerer that says its answer in pieces and waits for the test before the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def __call__(self, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        emit("Half an **ans")
        await self.go_on.wait()
        return {"text": "Half an **answer**", "citations": [], "grounded": True, "score": 1.0, "model": "slow"}


@pytest.fixture
async def answer() -> AsyncIterator[Slow]:
    slow = Slow()
    yield slow
    slow.go_on.set()


async def test_telegram_shows_a_draft_and_then_the_answer(ground: Ground, workspace_id: str, answer: Slow) -> None:
    async with simulator() as sim, gateway(ground, answer, telegram_url=sim.url) as services:
        account_id = await telegram_account(ground, workspace_id)
        async with inbound_server(services) as url:
            account = await services.directory.account(account_id)
            assert account
            client = await services.directory.client(account)
            assert isinstance(await connect(client, "webhook", f"{url}/channels/telegram/{account_id}", SECRET), dict)
            people.add_user(sim.world, ANN, "Ann")
            sim.say(ANN, "what is it?")

            chat = people.find_chat(sim.world, sim.bot, people.known_user(sim.world, ANN), None)

            async def drafted() -> bool:
                return chat.draft is not None and chat.draft["text"] == "Half an ans"

            await until(drafted)
            answer.go_on.set()

            async def answered() -> bool:
                return any(entry["method"] == "sendMessage" for entry in sim.sends(ANN))

            await until(answered)
    texts = [(entry["method"], entry["text"]) for entry in sim.sends(ANN) if "text" in entry]
    assert texts == [("sendMessage", "Half an answer")]
