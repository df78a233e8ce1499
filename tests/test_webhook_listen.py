"""parley webhooks listen: what it believes, answers and prints; and events over REST where nothing can come in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.cli import UsageError
from gateway.client import Target, connect
from gateway.commands import listen
from gateway.commands.feed import Feed, floor_of
from gateway.commands.grammar import parser
from gateway.commands.receiver import Memory, Receiver, Script
from gateway.services import Ground
from kernel.db import Database
from kernel.events import publish
from kernel.types import Json
from tests.http_face import Server, client, served
from webhooks import signing

BODY = b'{"type": "ping", "data": {"n": 1}}'
Lines = Callable[[], list[Json]]


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def printed_by(lines: Lines) -> list[Json]:
    """What is printed, as soon as there is something."""
    while not (printed := lines()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return printed


def signed(secret: str, message_id: str, body: bytes = BODY) -> dict[str, str]:
    return signing.signed_headers([signing.signing_key(secret)], message_id, int(time.time()), body)


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[Callable[..., Any]]:
    async with listen._serving(receiver, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:

        async def post(headers: dict[str, str], body: bytes = BODY) -> tuple[int, Any]:
            async with session.post(url, data=body, headers=headers) as response:
                return response.status, response.headers

        yield post


async def test_only_what_is_signed_is_believed_and_a_forgery_is_no_try(lines: Lines) -> None:
    secret, private = signing.new_secret(), signing.new_private_key()
    receiver = Receiver([secret, signing.public_key(private)], Script((200, 500)), as_lines=True)
    async with receiving(receiver) as post:
        forged = {**signed(secret, "evt_1"), "webhook-signature": "v1,AAAA"}
        answered = [
            (await post(headers))[0]
            for headers in (forged, signed(secret, "evt_1"), signed(secret, "evt_1"), signed(private, "evt_2"), {})
        ]
    assert answered == [401, 200, 500, 200, 401]
    printed = lines()
    assert [line["signature"] for line in printed] == [
        "no signature matches",
        "verified",
        "verified",
        "verified",
        "header 'webhook-id' is missing",
    ]
    assert [line["repeated"] for line in printed] == [False, False, True, False, False]


async def test_each_events_tries_are_answered_in_turn_with_headers(lines: Lines) -> None:
    secret = signing.new_secret()
    script = Script((503, 500, 204), (0.0,), {"Retry-After": "7", "webhook-delivery": "abort-message"})
    async with receiving(Receiver([secret], script, as_lines=True)) as post:
        found = []
        for message_id in ("evt_1", "evt_2", "evt_1", "evt_1", "evt_2", "evt_1"):
            status, headers = await post(signed(secret, message_id))
            assert (headers["Retry-After"], headers["webhook-delivery"]) == ("7", "abort-message")
            found.append((message_id, status))
    assert found == [
        ("evt_1", 503), ("evt_2", 503), ("evt_1", 500), ("evt_1", 204), ("evt_2", 500), ("evt_1", 204),
    ]  # fmt: skip
    printed = lines()
    assert [line["try"] for line in printed] == [1, 1, 2, 3, 2, 4]
    # A repeat of what was refused has to be worked on; one of what was taken must not be.
    assert [line["duplicate"] for line in printed] == [False] * 5 + [True]


async def test_an_answer_waits_as_long_as_it_is_told(lines: Lines) -> None:
    async with receiving(Receiver([], Script((200,), (30.0, 0.0)), as_lines=True)) as post:
        slow = asyncio.create_task(post({"webhook-id": "evt_1"}))
        printed = await printed_by(lines)
        assert printed[0]["signature"] == "not checked"
        assert (await post({"webhook-id": "evt_1"}))[0] == 200
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_people_are_told_of_duplicates_and_see_the_data_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with receiving(Receiver([], Script(), as_lines=False)) as post:
        await post({"webhook-id": "evt_1"})
        await post({"webhook-id": "evt_1"})
        await post({"webhook-id": "evt_2"}, b"\x1b[2Jno JSON")
    printed = capsys.readouterr().out
    assert printed.count('"n": 1') == 1
    assert "evt_1  not checked  taken before: a duplicate -> 200" in printed
    assert "\x1b" not in printed


def test_the_oldest_ids_are_forgotten() -> None:
    memory = Memory(most=2)
    for message_id in ("a", "b", "a", "c"):
        memory.of(message_id).tries += 1
    assert (memory.of("a").tries, memory.of("b").tries) == (2, 0)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["--status", "99"], "--status: numbers from 200 to 599, separated by commas"),
        (["--status", ","], "--status: numbers from 200 to 599, separated by commas"),
        (["--delay", "-1"], "--delay: seconds, separated by commas"),
        (["--delay", "3601"], "--delay: an hour at most"),
        (["--header", "no colon"], "--header: 'no colon' is not `Name: value`"),
        (["--header", "X: a\r\nb: c"], r"--header: 'X: a\\r\\nb: c' is not `Name: value`"),
        (["--header", "two words: x"], "--header: 'two words: x' is not `Name: value`"),
        (["--secret", "whsec_AAAA"], "--secret: the secret holds 3 bytes"),
        (["--secret", "whpk_AAAA"], "whpk_… checks v1a"),
        (["--poll", "--register"], "--poll needs no endpoint"),
        (["--forward", "http://127.0.0.1:1"], "--forward goes with --poll"),
        (["--poll", "--forward", "http://127.0.0.1:1", "--secret", "whpk_AAAA"], "a secret starts with whsec_"),
    ],
)
async def test_wrong_usage_is_named(given: list[str], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        await listen.run(parser().parse_args(["webhooks", "listen", *given]))


async def events(database: Database, workspace_id: str, *kinds: str) -> list[str]:
    async with database.workspace(workspace_id) as conn:
        return [await publish(conn, workspace_id, kind, {"n": n}) for n, kind in enumerate(kinds)]


async def test_the_feed_tells_each_event_once_from_when_it_was_begun(
    server: Server, workspace_id: str, database: Database
) -> None:
    api = await client(server, workspace_id)
    async with connect(Target(server.url, api.api_key)) as rest:
        empty = Feed(rest, ["*"])
        await empty.begin()
        await events(database, workspace_id, "ping")
        assert [event["type"] for event in await empty.unseen()] == ["ping"]
        feed = Feed(rest, ["user.*"])
        await feed.begin()
        assert await feed.unseen() == []
        made = await events(database, workspace_id, "user.created", "ping", "user.erased")
        assert [event["id"] for event in await feed.unseen()] == sorted((made[0], made[2]))
        assert await feed.unseen() == []
        many = await events(database, workspace_id, *["user.created"] * 250)
        assert [event["id"] for event in await feed.unseen()] == sorted(many)


async def test_an_event_that_was_committed_late_is_told_too(
    server: Server, workspace_id: str, database: Database
) -> None:
    api = await client(server, workspace_id)
    async with connect(Target(server.url, api.api_key)) as rest:
        await events(database, workspace_id, "ping")
        feed = Feed(rest, ["*"])
        await feed.begin()
        async with database.workspace(workspace_id) as late:
            first = await publish(late, workspace_id, "ping", {})
            await asyncio.sleep(0.01)  # ids of one millisecond have no order
            (second,) = await events(database, workspace_id, "ping")
            assert [event["id"] for event in await feed.unseen()] == [second]
        assert first < second
        assert [event["id"] for event in await feed.unseen()] == [first]
        assert await feed.unseen() == []


def test_the_floor_lies_a_minute_below() -> None:
    assert floor_of("evt_00000001d4c0" + "f" * 20) == "evt_00000000ea60"
    assert floor_of("evt_000000000001" + "0" * 20) == "evt_000000000000"


async def test_polled_events_are_handed_on_signed(
    server: Server, workspace_id: str, database: Database, lines: Lines
) -> None:
    api, secret = await client(server, workspace_id), signing.new_secret()
    got: asyncio.Queue[Json] = asyncio.Queue()

    async def program(request: web.Request) -> web.Response:
        body = await request.read()
        signing.verify([secret], request.headers, body, time.time())
        got.put_nowait(json.loads(body))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hook", program)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    (before,) = await events(database, workspace_id, "ping")
    asked = ["--poll", "--forward", there, "--secret", secret, "--json", "--url", server.url, "--api-key", api.api_key]
    polling = asyncio.create_task(listen.run(parser().parse_args(["webhooks", "listen", *asked])))
    try:
        told: Json = {"id": before}
        while told["id"] == before:  # until the feed has begun, events are passed over
            (made,) = await events(database, workspace_id, "user.created")
            try:
                told = await asyncio.wait_for(got.get(), 0.5)
            except TimeoutError:
                continue
        assert told["type"] == "user.created"
        printed = await printed_by(lines)
        assert printed[0]["event"]["id"] == told["id"] <= made
        assert (printed[0]["answered"], printed[0]["signature"]) == (202, f"polled, signed for {there}")
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await runner.cleanup()
