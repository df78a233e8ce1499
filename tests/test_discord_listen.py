"""The gateway's socket by discord.py, against a local Discord: order, commits, resumes and every way it may end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from channels.discord import CHANNEL, DiscordClient
from channels.discord.lanes import Lanes
from channels.discord.listen import listen
from kernel.types import Account, Disconnected, InboundMessage, Json, Reply
from simulators.discord import people
from simulators.discord.limits import Limits, Rate
from simulators.discord.server import Simulator, run_simulator
from simulators.discord.state import Config
from tests.discord_kit import account_on, eventually, wired


@dataclass
class Taker:
    """Commits by remembering; `before` may fail or wait."""

    account: Account
    taken: list[Json] = field(default_factory=list)
    lives: int = 0
    before: Callable[[Json], Awaitable[None]] | None = None

    async def take(self, update: Json, payload: bytes) -> Json | None:
        if self.before:
            await self.before(update)
        assert orjson.loads(payload) == update
        self.taken.append(update)
        return CHANNEL.immediate(self.account, update) if CHANNEL.immediate else None

    def alive(self) -> None:
        self.lives += 1

    def heard(self) -> list[InboundMessage]:
        found = [message for update in self.taken for message in CHANNEL.parse(self.account, update)]
        return [message for message in found if isinstance(message, InboundMessage)]

    def texts(self) -> list[str]:
        return [message.text for message in self.heard()]


@asynccontextmanager
async def listening(
    sim: Simulator,
    before: Callable[[Json], Awaitable[None]] | None = None,
    tries: dict[str, int] | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[Taker, asyncio.Task[None], DiscordClient]]:
    account = account_on(sim, **settings)
    async with wired(sim) as wire:
        client = await CHANNEL.open(account, wire)
        taker = Taker(account, before=before)
        task = asyncio.create_task(listen(client, account, taker.take, taker.alive, **(tries or {})))
        try:
            await eventually(lambda: bool(client.places.known) or task.done())
            yield taker, task, client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with run_simulator(config=Config(seed=7)) as running:
        yield running


async def test_what_people_do_is_told_in_order(sim: Simulator) -> None:
    async with listening(sim) as (taker, _, _):
        said = sim.say("ada", "one")
        sim.say("ada", f"<@{sim.bot.id}> two", "general")
        sim.say("ada", "three")
        await eventually(lambda: len(taker.taken) == 3)
        private, public = sorted(taker.heard()[:2], key=lambda message: not message.private)
        assert private.private and private.addressed and private.text == "one"
        assert {message.text: message.addressed for message in taker.heard()} == {
            "one": True,
            "two": True,
            "three": True,
        }
        person = people.find_person(sim.world, "ada")
        where = people.find_channel(sim.world, person)
        people.edit(sim.world, where, person, int(said["id"]), "once")
        people.delete(sim.world, where, person, int(said["id"]))
        await eventually(lambda: len(taker.taken) == 5)
        assert [message.kind for message in taker.heard()[3:]] == ["edit", "deletion"]
        assert taker.heard()[3].external_id.startswith(f"{said['id']}:edit:")
        assert taker.lives > 5
        assert public.conversation_key


async def test_the_library_keeps_no_picture_of_the_world_and_no_global(sim: Simulator) -> None:
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

    async with listening(sim):
        assert "127.0.0.1" not in str(DiscordWebSocket.DEFAULT_GATEWAY)
        assert "127.0.0.1" not in Route.BASE


async def test_a_channel_waits_for_its_commits_and_others_do_not(sim: Simulator) -> None:
    gate = asyncio.Event()
    slow = str(people.find_channel(sim.world, people.find_person(sim.world, "ada"), "general").id)

    async def before(update: Json) -> None:
        if update["d"]["channel_id"] == slow and update["d"]["content"] == "0":
            await gate.wait()

    async with listening(sim, before) as (taker, _, _):
        for number in range(5):
            sim.say("ada", str(number), "general")
        sim.say("ada", "elsewhere")
        await eventually(lambda: taker.texts() == ["elsewhere"])
        gate.set()
        await eventually(lambda: len(taker.taken) == 6)
        assert taker.texts()[1:] == list("01234")


async def test_a_commit_that_fails_is_tried_again_and_nothing_overtakes(sim: Simulator) -> None:
    failures = iter([OSError("the database is away")] * 2)

    async def before(update: Json) -> None:
        if error := next(failures, None):
            raise error

    async with listening(sim, before) as (taker, _, _):
        sim.say("ada", "one")
        sim.say("ada", "two")
        await eventually(lambda: len(taker.taken) == 2)
        assert taker.texts() == ["one", "two"]


async def test_a_commit_that_goes_on_failing_ends_the_listening(sim: Simulator) -> None:
    async def before(update: Json) -> None:
        raise OSError("the database is away")

    async with listening(sim, before, {"commits": 1}) as (taker, task, _):
        sim.say("ada", "one")
        with pytest.raises(OSError, match="database"):
            await asyncio.wait_for(task, 10)
        assert taker.taken == []


@pytest.mark.parametrize("fault", [("close", {"code": 4000}), ("reconnect", {}), ("close", {"code": 1001})])
async def test_a_broken_connection_is_resumed_without_a_gap(sim: Simulator, fault: tuple[str, Json]) -> None:
    async with listening(sim) as (taker, task, _):
        sim.say("ada", "before")
        await eventually(lambda: len(taker.taken) == 1)
        sim.fault(fault[0], count=1, **fault[1])
        sim.say("ada", "meanwhile")
        await eventually(lambda: "resume" in sim.world.calls)
        sim.say("ada", "after")
        await eventually(lambda: len(taker.taken) == 3)
        assert taker.texts() == ["before", "meanwhile", "after"]
        assert not task.done() and sim.world.calls["identify"]["ok"] == 1


async def test_an_event_that_comes_twice_is_the_same_event(sim: Simulator) -> None:
    sim.fault("duplicate", "message_create", count=1)
    async with listening(sim) as (taker, _, _):
        sim.say("ada", "once")
        await eventually(lambda: len(taker.taken) == 2)
        first, second = taker.heard()
        assert first == second


async def test_a_session_that_is_gone_is_for_history_to_bridge(sim: Simulator) -> None:
    async with listening(sim) as (_, task, _):
        sim.fault("invalid_session", count=1)
        with pytest.raises(Disconnected) as ended:
            await asyncio.wait_for(task, 10)
        assert (ended.value.kind, ended.value.retry_after) == ("away", 5.0)


async def ends(sim: Simulator, account: Account) -> Disconnected:
    async with wired(sim) as wire:
        client = await CHANNEL.open(account, wire)
        taker = Taker(account)
        with pytest.raises(Disconnected) as ended:
            await asyncio.wait_for(listen(client, account, taker.take, taker.alive), 10)
    return ended.value


async def test_a_bad_token_is_refused(sim: Simulator) -> None:
    account = replace(account_on(sim), credentials={"bot_token": "nonsense"})
    assert (await ends(sim, account)).kind == "refused"
    async with listening(sim) as (_, task, _):
        sim.fault("close", count=1, code=4004)
        with pytest.raises(Disconnected, match="token") as ended:
            await asyncio.wait_for(task, 10)
    assert ended.value.kind == "refused"


async def test_content_that_the_portal_withholds() -> None:
    async with run_simulator(config=Config(seed=7, message_content=False)) as sim:
        refused = await ends(sim, account_on(sim))
        assert refused.kind == "refused" and "Message Content Intent" in refused.reason
        async with listening(sim, message_content=False) as (taker, _, _):
            sim.say("ada", "among ourselves", "general")
            sim.say("ada", f"<@{sim.bot.id}> hello", "general")
            sim.say("ada", "in private")
            await eventually(lambda: len(taker.taken) == 3)
            assert sorted(taker.texts()) == ["hello", "in private"]


async def test_a_days_connections_are_not_used_up() -> None:
    limits = Limits(identify=Rate(1, 3600.0))
    async with run_simulator(config=Config(seed=7, limits=limits)) as sim:
        async with listening(sim):
            pass
        token = sim.bot.token
        refused = await ends(sim, account_on(sim))
        assert refused.kind == "away" and refused.retry_after and refused.retry_after > 3000
        assert sim.bot.token == token


async def test_a_discord_that_is_away(sim: Simulator) -> None:
    sim.fault("outage")
    assert (await ends(sim, account_on(sim))).kind == "away"


async def test_an_outage_ends_in_away(sim: Simulator) -> None:
    async with listening(sim, None, {"resumes": 1}) as (_, task, _):
        sim.fault("outage")
        with pytest.raises(Disconnected) as ended:
            await asyncio.wait_for(task, 10)
        assert ended.value.kind == "away"


async def test_leaving_closes_the_session(sim: Simulator) -> None:
    async with listening(sim) as (_, task, _):
        assert len(sim.world.sessions) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: sim.world.sessions == {})


async def test_threads_and_forum_posts_know_where_they_are(sim: Simulator) -> None:
    from simulators.discord import threads
    from simulators.discord.params import Params

    ada = people.find_person(sim.world, "ada")
    general, forum = (people.find_channel(sim.world, ada, name) for name in ("general", "ideas"))
    old, _ = threads.person_opens(sim.world, ada, general, "Older", "first", 0, Params({}))
    async with listening(sim) as (taker, _, _):
        sim.say("ada", "in the thread", old.id)
        post, _ = threads.person_opens(sim.world, ada, forum, "Dark mode", "please", 0, Params({}))
        await eventually(lambda: len(taker.heard()) == 2)
        thread, first = sorted(taker.heard(), key=lambda message: message.sent_at)
        assert (thread.conversation_key, thread.chat, thread.thread) == (str(old.id), str(general.id), True)
        assert (first.conversation_key, first.chat) == (str(post.id), str(forum.id))
        assert first.text == "Dark mode\n\nplease"


async def test_reactions_are_told_apart_by_their_occasion(sim: Simulator) -> None:
    async with listening(sim) as (taker, _, client):
        address = {"channel_id": sim.say("ada", "hi")["channel_id"]}
        unit = CHANNEL.render(Reply("hello"), {**address, "private": True})[0]
        sent: Any = await CHANNEL.send(client, address, unit, False, "out_1")
        for remove in (False, True, False):
            assert sim.react("ada", sent.receipt["message_id"], "👍", remove=remove)
        await eventually(lambda: sum(m.kind == "feedback" for m in taker.heard()) == 3)
        found = [message for message in taker.heard() if message.kind == "feedback"]
        assert [message.detail for message in found] == ["up", "none", "up"]
        assert len({message.external_id for message in found}) == 3


async def test_lanes_hold_back_when_too_much_is_queued() -> None:
    gate = asyncio.Event()
    done: list[int] = []

    async def commit(update: Json) -> None:
        await gate.wait()
        done.append(update["n"])

    lanes = Lanes(commit, at_once=2, most=3)
    for number in range(3):
        lanes.put(str(number), {"n": number})
    waiting = asyncio.create_task(lanes.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    await asyncio.wait_for(waiting, 5)
    await lanes.close(5.0)
    assert sorted(done) == [0, 1, 2]


async def test_history_and_listening_tell_the_same_message(sim: Simulator) -> None:
    since = time.time() - 5
    async with listening(sim) as (taker, _, client):
        sim.say("ada", "one")
        sim.say("ada", f"<@{sim.bot.id}> two", "general")
        await eventually(lambda: len(taker.taken) == 2)
        assert CHANNEL.history is not None
        read = [update async for update in CHANNEL.history(client, taker.account, since, [])]
        again = [m for update in read for m in CHANNEL.parse(taker.account, update) if isinstance(m, InboundMessage)]
        key = lambda message: message.external_id  # noqa: E731
        assert sorted(again, key=key) == sorted(taker.heard(), key=key)


def test_who_has_no_discord_bot_does_not_pay_for_the_library() -> None:
    program = "import sys, channels.table; sys.exit('discord.gateway' in sys.modules or 'discord' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
