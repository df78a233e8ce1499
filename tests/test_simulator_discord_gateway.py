"""The gateway of the Discord simulator: sessions, intents, and what faults do to both."""

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from simulators.discord.faults import FaultBook, parse_fault
from simulators.discord.limits import Limits, Rate
from simulators.discord.server import WORLD, Simulator, create_app, run_simulator
from simulators.discord.state import Config
from tests.simulator_discord_kit import QUICK, Client, connected, discord, eventually, named, talking

ALL = discord.Intents.all().value


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Client]]:
    async with talking() as pair:
        yield pair


class Wire:
    """A socket spoken by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_json({"op": op, "d": data})

    async def read(self) -> dict[str, Any]:
        read: dict[str, Any] = await self.socket.receive_json(timeout=10)
        return read

    async def closed(self) -> int | None:
        """The close code that the server gives."""
        while (message := await self.socket.receive(timeout=10)).type is not aiohttp.WSMsgType.CLOSE:
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
        return self.socket.close_code

    async def identify(self, token: str, intents: Any = ALL, **more: Any) -> dict[str, Any]:
        await self.send(2, {"token": token, "intents": intents, "properties": {}, **more})
        return await self.read()


@asynccontextmanager
async def wire(sim: Simulator, query: str = "") -> AsyncIterator[Wire]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{sim.gateway_url}/?v=10&encoding=json{query}") as socket,
    ):
        yield Wire(socket)


async def greeted(sim: Simulator, one: Wire, intents: int = ALL) -> dict[str, Any]:
    """Identify; READY's data, with everything behind it read."""
    assert (await one.read())["op"] == 10
    ready = await one.identify(sim.bot.token, intents)
    assert ready["t"] == "READY" and ready["s"] == 1
    assert (await one.read())["t"] == "GUILD_CREATE"
    data: dict[str, Any] = ready["d"]
    return data


async def test_the_client_gets_a_guild_with_its_channels(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    guild = client.guilds[0]
    assert client.user and client.user.id == sim.bot.id == client.application_id
    assert [channel.name for channel in guild.text_channels] == ["general", "support", "staff"]
    assert [channel.name for channel in guild.forums] == ["ideas"]
    assert {member.name for member in guild.members} == {"ada", "ben", "chloe", "Parley"}
    assert named(client, "general").permissions_for(guild.me).send_messages
    assert not named(client, "staff").permissions_for(guild.default_role).view_channel
    assert len(await guild.query_members("ad")) == 1


async def test_events_reach_the_client(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    said = sim.say("ada", "hello", "general")
    async with aiohttp.ClientSession(base_url=f"{sim.url}/sim/") as session:
        place = {"user": "ada", "channel": "general"}
        for path, body in (
            ("edits", {**place, "message_id": said["id"], "content": "hello!"}),
            ("reactions", {**place, "message_id": said["id"], "emoji": "👍"}),
            ("reactions", {**place, "message_id": said["id"], "emoji": "👍", "remove": True}),
            ("typing", place),
            ("threads", {**place, "message_id": said["id"], "name": "Talk", "content": "here"}),
            ("deletions", {**place, "message_id": said["id"]}),
            ("channels", {"name": "new place"}),
        ):
            async with session.post(path, json=body) as answer:
                assert answer.status == 200, await answer.text()
    expected = [
        "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE", "TYPING_START",
        "THREAD_CREATE", "MESSAGE_UPDATE", "MESSAGE_CREATE", "MESSAGE_DELETE", "CHANNEL_CREATE",
    ]  # fmt: skip
    await eventually(lambda: client.events[-len(expected) :] == expected)
    assert named(client, "new-place")


async def test_without_the_intent_content_is_blank_but_where_the_bot_is_meant() -> None:
    intents = discord.Intents.default()
    async with run_simulator(config=QUICK) as sim, connected(sim, intents) as client:
        sim.say("ada", "not for you", "general")
        sim.say("ada", f"<@{sim.bot.id}> for you", "general")
        sim.say("ada", "private")
        await eventually(lambda: len(client.heard) == 3)
        assert client.texts() == ["", f"<@{sim.bot.id}> for you", "private"]
    async with run_simulator(config=Config(message_content=False)) as sim:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            async with Client(sim.url, discord.Intents.all()) as client:
                await client.start(sim.bot.token)
        async with connected(sim, intents) as client:
            sim.say("ada", "not for you", "general")
            assert [m.content async for m in named(client, "general").history()] == [""]


@pytest.mark.parametrize("kind", ["close", "reconnect"])
async def test_a_lost_socket_is_resumed_and_nothing_is_missed(both: tuple[Simulator, Client], kind: str) -> None:
    sim, client = both
    sim.say("ada", "one")
    await eventually(lambda: client.texts() == ["one"])
    sim.fault(kind, code=4000)
    sim.say("ada", "two")
    await eventually(lambda: "RESUMED" in client.events)
    sim.say("ada", "three")
    await eventually(lambda: client.texts() == ["one", "two", "three"])
    assert client.events.count("READY") == 1
    assert sim.world.missed == 0


async def test_an_invalid_session_starts_anew_and_misses_what_was_said(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    sim.fault("close", "message_create", code=4000, count=1)
    sim.fault("invalid_session", "resume", count=1)
    sim.say("ada", "lost on the gateway", "general")
    await eventually(lambda: client.events.count("READY") == 2)
    assert client.texts() == []
    sim.say("ada", "heard", "general")
    await eventually(lambda: client.texts() == ["heard"])
    history = [message.content async for message in named(client, "general").history(oldest_first=True)]
    assert history == ["lost on the gateway", "heard"]


async def test_deaf_is_connected_all_the_same(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    fault = sim.fault("deaf")
    sim.say("ada", "is anybody there?")
    async with wire(sim) as one:
        assert (await one.read())["op"] == 10
        await one.send(1, None)
        assert (await one.read())["op"] == 11
    assert sim.world.faults.remove(fault)
    sim.say("ada", "again")
    await eventually(lambda: client.texts() == ["again"])
    sim.fault("close", code=4000)
    await eventually(lambda: "RESUMED" in client.events)
    assert client.texts() == ["again"]


async def test_an_outage_ends_every_session(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    fault = sim.fault("outage")
    sim.say("ada", "into the void")
    async with aiohttp.ClientSession() as session, session.get(f"{sim.api_url}/gateway") as answer:
        assert answer.status == 503
    sim.world.faults.remove(fault)
    await eventually(lambda: client.events.count("READY") == 2)
    assert sim.world.missed == 1 and client.texts() == []


async def test_events_may_come_twice_or_out_of_order(both: tuple[Simulator, Client]) -> None:
    sim, client = both
    sim.fault("duplicate", "message_*", count=1)
    sim.say("ada", "twice")
    sim.fault("reorder", "message_create", count=1, ms=60_000)
    sim.say("ada", "late")
    sim.say("ada", "early")
    await eventually(lambda: client.texts() == ["twice", "twice", "early", "late"])
    assert client.heard[0].id == client.heard[1].id


async def test_the_protocol_by_hand() -> None:
    async with run_simulator(config=QUICK) as sim, wire(sim) as one:
        ready = await greeted(sim, one)
        assert ready["guilds"][0]["unavailable"] and ready["resume_gateway_url"] == sim.gateway_url
        sim.say("ada", "one")
        sim.say("ada", "two")
        assert [(await one.read())["s"] for _ in range(2)] == [3, 4]
        await one.socket.close(code=4000)
        await eventually(lambda: sim.world.sessions[ready["session_id"]].detached is not None)
        sim.say("ada", "three")
        async with aiohttp.ClientSession() as session, session.get(f"{sim.url}/sim/state") as answer:
            assert (await answer.json())["undelivered"] == {"events": 1, "missed": 0, "interactions": 0}
        resume = {"token": sim.bot.token, "session_id": ready["session_id"], "seq": 3}
        async with wire(sim) as two:
            await two.read()
            await two.send(6, resume)
            again = [await two.read() for _ in range(3)]
            assert [(event["t"], event["s"]) for event in again] == [
                ("MESSAGE_CREATE", 4), ("MESSAGE_CREATE", 5), ("RESUMED", 6),
            ]  # fmt: skip
            await two.socket.close(code=1000)
        await eventually(lambda: not sim.world.sessions)
        async with wire(sim) as three:
            await three.read()
            await three.send(6, resume)
            assert await three.read() == {"t": None, "s": None, "op": 9, "d": False}


async def test_a_session_has_one_socket_a_bot_may_have_several_sessions() -> None:
    async with run_simulator(config=QUICK) as sim, wire(sim) as one, wire(sim) as two, wire(sim) as other:
        ready = await greeted(sim, one)
        await greeted(sim, other)
        await two.read()
        await two.send(6, {"token": sim.bot.token, "session_id": ready["session_id"], "seq": 2})
        assert (await two.read())["t"] == "RESUMED"
        assert await one.closed() == 4000
        sim.say("ada", "hello")
        assert [(await each.read())["d"]["content"] for each in (two, other)] == ["hello", "hello"]


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (2, {"token": "wrong", "intents": 0}, 4004),
        (2, {"token": "", "intents": 1 << 30}, 4013),
        (2, {"token": "", "intents": ALL}, 4014),
        (2, {"token": "", "intents": 0, "shard": [1, 1]}, 4010),
        (2, "nonsense", 4002),
        (8, {}, 4003),
        (77, None, 4001),
        (None, None, 4002),
    ],
)
async def test_what_the_gateway_will_not_have(op: int, data: Any, code: int) -> None:
    async with run_simulator(config=Config(presences=False)) as sim, wire(sim) as one:
        if isinstance(data, dict) and data.get("token") == "":
            data = {**data, "token": sim.bot.token}
        await one.send(op, data)
        assert await one.closed() == code


async def test_a_client_is_asked_for_its_heartbeats() -> None:
    async with run_simulator(config=Config(heartbeat_ms=500)) as sim:
        async with wire(sim) as one:
            await greeted(sim, one)
            assert await one.closed() == 4009
        async with connected(sim) as client:
            await asyncio.sleep(1.2)
            assert client.events.count("READY") == 1 and "RESUMED" not in client.events


async def test_identifies_are_counted_and_too_many_cost_the_token() -> None:
    async with run_simulator(config=Config(limits=Limits(identify=Rate(2, 60.0)))) as sim:
        token = sim.bot.token
        headers = {"Authorization": f"Bot {token}"}
        for left in (2, 1):
            async with aiohttp.ClientSession(headers=headers) as s, s.get(f"{sim.api_url}/gateway/bot") as answer:
                assert (await answer.json())["session_start_limit"]["remaining"] == left
            async with wire(sim) as one:
                await greeted(sim, one)
        async with wire(sim) as one:
            await one.send(2, {"token": token, "intents": 0})
            assert await one.closed() == 4004
        assert sim.bot.token != token and sim.world.by_token == {sim.bot.token: sim.bot}


async def test_payloads_are_packed_as_asked() -> None:
    async with run_simulator(config=QUICK) as sim:
        async with wire(sim, "&compress=zlib-stream") as one:
            stream = zlib.decompressobj()
            hello = await one.socket.receive_bytes()
            assert hello.endswith(b"\x00\x00\xff\xff") and json.loads(stream.decompress(hello))["op"] == 10
            await one.send(2, {"token": sim.bot.token, "intents": ALL, "compress": True})
            assert json.loads(stream.decompress(await one.socket.receive_bytes()))["t"] == "READY"
        async with wire(sim) as one:
            await one.read()
            await one.send(2, {"token": sim.bot.token, "intents": ALL, "compress": True})
            ready = await one.socket.receive(timeout=10)
            assert json.loads(zlib.decompress(ready.data))["t"] == "READY"


async def test_it_works_behind_a_prefix() -> None:
    app = web.Application()
    inner = create_app(QUICK)
    app.add_subapp("/local/discord", inner)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sim = Simulator(f"http://127.0.0.1:{runner.addresses[0][1]}/local/discord", inner[WORLD])
        async with connected(sim) as client:
            shards, url, _ = await client.http.get_bot_gateway()
            assert (shards, url) == (1, sim.gateway_url)
            sent = await named(client, "general").send("hi", file=discord.File(__file__))
            assert sent.attachments[0].url.startswith(sim.url) and await sent.attachments[0].read()
            sim.fault("close", code=4000)
            await eventually(lambda: "RESUMED" in client.events)
    finally:
        await runner.cleanup()


def test_a_seed_repeats_what_goes_wrong() -> None:
    def run(seed: int) -> list[bool]:
        book = FaultBook(random.Random(seed), lambda: 0.0)
        book.add(parse_fault({"kind": "status", "probability": 0.5}))
        return [book.for_call("create_message", 1, 1).fault is not None for _ in range(50)]

    assert run(1) == run(1) != run(2)
    clock = [0.0]
    book = FaultBook(random.Random(1), lambda: clock[0])
    book.add(parse_fault({"kind": "deaf", "ms": 2000, "bot": 1}))
    assert book.lasts("deaf", 1) and not book.lasts("deaf", 2) and not book.lasts("outage", 1)
    clock[0] = 2.0
    assert not book.lasts("deaf", 1) and book.rules()[0]["left"] == 0
    book.add(parse_fault({"kind": "status", "method": "create_*", "skip": 1, "count": 1}))
    methods = ("create_message", "get_user", "create_message", "create_message")
    assert [book.for_call(m, 1, 1).fault is not None for m in methods] == [False, False, True, False]
    for wrong in ({"kind": "explode"}, {"kind": "delay", "ms": "long"}, {"kind": "delay", "wait": 1}):
        with pytest.raises(ValueError):
            parse_fault(wrong)
