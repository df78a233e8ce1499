"""A message's journey through a real gateway, store and simulator: order, dedupe, bursts, commands, edits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from channels.telegram import connect
from gateway.services import Ground, Services
from simulators.telegram import groups, people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, Scripted, gateway, inbound_server, simulator, telegram_account, until

ANN, BEN = 1001, 1002


@dataclass
class Rig:
    ground: Ground
    workspace: str
    account: str
    sim: Simulator
    services: Services
    answer: Scripted
    url: str

    def seen(self, chat: int = ANN) -> list[str]:
        """What the chat's people saw of the bot, in order."""
        return [entry["text"] for entry in self.sim.sends(chat) if entry["method"] == "sendMessage"]

    async def shows(self, *texts: str, chat: int = ANN) -> None:
        async def there() -> bool:
            return len(self.seen(chat)) >= len(texts)

        await until(there)
        assert self.seen(chat) == list(texts)


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    answer = Scripted()
    async with simulator() as sim, gateway(ground, answer, telegram_url=sim.url) as services:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(services) as url:
            found = await services.directory.account(account)
            assert found
            client = await services.directory.client(found)
            profile = await connect(client, "webhook", f"{url}/channels/telegram/{account}", SECRET)
            assert isinstance(profile, dict), profile
            for user, name in ((ANN, "Ann"), (BEN, "Ben")):
                people.add_user(sim.world, user, name)
            yield Rig(ground, workspace_id, account, sim, services, answer, url)


async def test_a_message_is_answered_and_recorded(rig: Rig) -> None:
    rig.sim.say(ANN, "hello")
    await rig.shows("you said: hello")
    async with rig.ground.database.workspace(rig.workspace) as conn:
        rows = await conn.fetch("SELECT role, text FROM messages ORDER BY seq")
        events = await conn.fetch("SELECT type FROM events ORDER BY event_id")
    assert [tuple(row) for row in rows] == [("user", "hello"), ("assistant", "you said: hello")]
    types = {row["type"] for row in events}
    assert {"user.created", "session.started", "chat.message.received", "chat.response.generated"} <= types


async def test_a_burst_is_read_together_and_answered_once(rig: Rig) -> None:
    """Also what comes while the answer is being made: it is made anew, from all that was said."""
    never = asyncio.Event()

    async def wait(question: str) -> None:
        if "three" not in question:
            await never.wait()

    rig.answer.before = wait
    rig.sim.say(ANN, "one")

    async def asked() -> bool:
        return rig.answer.calls == ["one"]

    await until(asked)
    for text in ("two", "three"):
        rig.sim.say(ANN, text)
    await rig.shows("you said: one\ntwo\nthree")


async def test_messages_written_in_one_breath_are_one_question(rig: Rig) -> None:
    for text in ("one", "two", "three"):
        rig.sim.say(ANN, text)
    await rig.shows("you said: one\ntwo\nthree")
    assert rig.answer.calls == ["one\ntwo\nthree"]


async def test_other_conversations_go_on_while_one_waits(rig: Rig) -> None:
    release = asyncio.Event()

    async def wait(question: str) -> None:
        if question == "slow":
            await release.wait()

    rig.answer.before = wait
    rig.sim.say(ANN, "slow")
    rig.sim.say(BEN, "quick")
    await rig.shows("you said: quick", chat=BEN)
    assert rig.seen(ANN) == []
    release.set()
    await rig.shows("you said: slow")


async def test_commands_are_turns_of_their_own_and_new_closes_the_session(rig: Rig) -> None:
    rig.sim.say(ANN, "first")
    await rig.shows("you said: first")
    rig.sim.say(ANN, "/new")

    async def fresh() -> bool:
        return len(rig.seen()) == 2

    await until(fresh)
    assert "fresh start" in rig.seen()[1]
    async with rig.ground.database.workspace(rig.workspace) as conn:
        assert await conn.fetchval("SELECT outcome FROM sessions") == "resolved"
    rig.sim.say(ANN, "/help")

    async def helped() -> bool:
        return len(rig.seen()) == 3

    await until(helped)
    assert "Commands" in rig.seen()[2]
    assert rig.answer.calls == ["first"]


async def test_unsupported_kinds_are_answered_kindly(rig: Rig) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{rig.sim.url}/sim/messages", json={"user_id": ANN, "location": {"latitude": 1.5, "longitude": 2.5}}
        ) as response,
    ):
        assert response.status == 200, await response.text()

    async def told() -> bool:
        return len(rig.seen()) == 1

    await until(told)
    assert "can't read" in rig.seen()[0]


async def test_an_edit_changes_the_record_and_is_not_answered_again(rig: Rig) -> None:
    said = rig.sim.say(ANN, "helo")
    await rig.shows("you said: helo")
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{rig.sim.url}/sim/edits", json={"user_id": ANN, "message_id": said["message_id"], "text": "hello"}
        ) as response,
    ):
        assert response.status == 200, await response.text()

    async def edited() -> bool:
        async with rig.ground.database.workspace(rig.workspace) as conn:
            return bool(
                await conn.fetchval(
                    "SELECT count(*) = 1 FROM messages WHERE text = 'hello' AND edited_at > '-infinity'"
                )
            )

    await until(edited)
    assert rig.seen() == ["you said: helo"]


async def test_a_group_is_heard_only_when_it_speaks_to_us(rig: Rig) -> None:
    group = groups.add_chat(rig.sim.world, "supergroup", "Team", False, [ANN, BEN], [rig.sim.bot], None)
    rig.sim.say(ANN, "just talking", group.id)
    rig.sim.say(ANN, "@parley_bot what now", group.id)
    await rig.shows("you said: what now", chat=group.id)
    assert rig.answer.calls == ["what now"]


async def test_a_migrated_group_keeps_its_conversation(rig: Rig) -> None:
    group = groups.add_chat(rig.sim.world, "group", "Team", False, [ANN], [rig.sim.bot], None)
    rig.sim.say(ANN, "@parley_bot before", group.id)
    await rig.shows("you said: before", chat=group.id)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{rig.sim.url}/sim/migrate", json={"chat_id": group.id, "user_id": ANN}) as response,
    ):
        moved = await response.json()
        assert response.status == 200, moved
    new = next(chat for chat in rig.sim.world.groups if chat not in (group.id,))

    async def rekeyed() -> bool:
        async with rig.ground.database.workspace(rig.workspace) as conn:
            return bool(await conn.fetchval("SELECT count(*) FROM conversations WHERE conversation_key = $1", str(new)))

    await until(rekeyed)
    rig.sim.say(ANN, "@parley_bot after", new)

    async def answered() -> bool:
        return "you said: after" in rig.seen(new)

    await until(answered)
    async with rig.ground.database.workspace(rig.workspace) as conn:
        assert await conn.fetchval("SELECT count(*) FROM conversations") == 1


async def test_a_blocked_bot_stops_and_says_so(rig: Rig) -> None:
    release = asyncio.Event()

    async def wait(question: str) -> None:
        await release.wait()

    rig.answer.before = wait
    rig.sim.say(ANN, "are you there")

    async def asked() -> bool:
        return bool(rig.answer.calls)

    await until(asked)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{rig.sim.url}/sim/block", json={"user_id": ANN}) as response,
    ):
        assert response.status == 200, await response.text()
    release.set()

    async def failed() -> bool:
        async with rig.ground.database.workspace(rig.workspace) as conn:
            return bool(await conn.fetchval("SELECT count(*) FROM outbound_messages WHERE state = 'failed'"))

    await until(failed)
    async with rig.ground.database.workspace(rig.workspace) as conn:
        assert "blocked" in await conn.fetchval("SELECT cause FROM outbound_messages")


async def test_v3_order_within_conversations_and_all_answered(rig: Rig) -> None:
    """Many conversations, several messages each: every message answered once, in order."""
    users = range(5000, 5040)
    for user in users:
        people.add_user(rig.sim.world, user, f"U{user}")
    for n in range(10):
        for user in users:
            rig.sim.say(user, f"m{n}")

    def words(user: int) -> list[str]:
        return [word for text in rig.seen(user) for word in text.removeprefix("you said: ").split("\n")]

    async def complete() -> bool:
        return all(len(words(user)) >= 10 for user in users)

    await until(complete, 40)
    assert all(words(user) == [f"m{n}" for n in range(10)] for user in users)
