"""Sending, polling and connecting over real sockets: what each ending of a call means, and that no token leaks."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict
from telegram.error import TelegramError
from yarl import URL

from channels.telegram import (
    CHANNEL,
    PollError,
    TelegramClient,
    connect,
    disconnect,
    get_updates,
    next_offset,
    open_client,
    open_sessions,
    render,
    send,
    typing,
)
from channels.telegram.client import Answer, NoAnswer, NotConnected, answer_of, exchange
from channels.telegram.send import outcome
from kernel.types import Account, InboundMessage, Json, NotSent, Refused, Reply, Sent, Unit, Unknown
from simulators.telegram import groups, people
from simulators.telegram.server import Simulator, run_simulator
from simulators.telegram.state import Chat, Config, User

TOKEN = "123456:AAE-very_secret"
ADDRESS = {"chat_id": 7, "thread_id": None, "reply_to": None, "private": True}
UNIT = Unit({"text": "<b>hi</b>", "parse_mode": "HTML"}, "hi")
OK = {"ok": True, "result": {"message_id": 5, "chat": {"id": 7}}}


def account(token: str = TOKEN) -> Account:
    return Account("ws_1", "acc_1", "telegram", "webhook", {"token": token, "webhook_secret": "s"}, {}, {})


class Wire:
    """A bare TCP server that remembers each request and leaves the answer to a handler."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    async def read(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")
        )
        body: dict[str, Any] = orjson.loads(await reader.readexactly(length))
        self.requests.append((head.split(" ")[1], body))
        return body

    @staticmethod
    def answer(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)


Handler = Callable[[Wire, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Wire]:
    wire = Wire()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(wire, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def opened(url: str, token: str = TOKEN) -> AsyncIterator[TelegramClient]:
    client = open_client(account(token), url)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def answering(status: int, body: Any) -> Handler:
    async def handler(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await wire.read(reader)
            wire.answer(writer, status, body)

    return handler


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST rather than a FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def test_an_accepted_message_gives_its_receipt() -> None:
    async with serving(answering(200, OK)) as wire, opened(wire.url + "/") as client:
        (unit,) = render(Reply("**hi**"), ADDRESS)
        assert await CHANNEL.send(client, {**ADDRESS, "thread_id": 9}, unit, False, "out_1") == Sent(
            {"message_id": 5, "chat_id": 7}
        )
        assert await send(client, ADDRESS, unit, True) == Sent({"message_id": 5, "chat_id": 7})
    quiet = {"is_disabled": True}
    assert wire.requests == [
        (
            f"/bot{TOKEN}/sendMessage",
            {
                "chat_id": 7,
                "text": "<b>hi</b>",
                "parse_mode": "HTML",
                "link_preview_options": quiet,
                "message_thread_id": 9,
            },
        ),
        (f"/bot{TOKEN}/sendMessage", {"chat_id": 7, "text": "hi", "link_preview_options": quiet}),
    ]


def bad(status: int, description: str, **parameters: Any) -> Answer:
    body = {"ok": False, "error_code": status, "description": description, "parameters": parameters}
    return answer_of(status, orjson.dumps(body))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (bad(429, "Too Many Requests: retry after 7", retry_after=7), NotSent("Too Many Requests: retry after 7", 7.0)),
        (bad(429, "Too Many Requests"), NotSent("Too Many Requests")),
        (bad(429, "slow", retry_after="soon"), NotSent("slow")),
        (answer_of(429, b"<html>"), NotSent("Too Many Requests")),
        (
            bad(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1009),
            Refused("moved", "Bad Request: group chat was upgraded to a supergroup chat", moved_to="-1009"),
        ),
        (
            bad(400, "Bad Request: can't parse entities: Unsupported start tag"),
            Refused("bad_request", "Bad Request: can't parse entities: Unsupported start tag", plainer=True),
        ),
        (
            bad(400, "Bad Request: message is too long"),
            Refused("bad_request", "Bad Request: message is too long", plainer=True),
        ),
        (bad(400, "Bad Request: chat not found"), Refused("chat_not_found", "Bad Request: chat not found")),
        (
            bad(403, "Forbidden: bot was blocked by the user"),
            Refused("blocked", "Forbidden: bot was blocked by the user", blocked=True),
        ),
        (bad(401, "Unauthorized"), Refused("unauthorized", "Unauthorized")),
        (bad(404, "Not Found"), Refused("unauthorized", "Not Found")),
        (bad(413, "Request Entity Too Large"), Refused("too_large", "Request Entity Too Large")),
        (bad(418, "Odd"), Refused("http_418", "Odd")),
        (bad(500, "Internal Server Error"), Unknown("Internal Server Error")),
        (bad(502, "Bad Gateway"), Unknown("Bad Gateway")),
        (bad(200, "what?"), Unknown("what?")),
        (answer_of(200, b'{"ok":true,"result":true}'), Unknown("an answer without a message id")),
    ],
)
def test_what_each_answer_means(answer: Answer, expected: Any) -> None:
    assert outcome(answer, plain=False) == expected


def test_a_plain_message_is_not_asked_to_be_plainer() -> None:
    assert outcome(bad(400, "Bad Request: message is too long"), plain=True) == Refused(
        "bad_request", "Bad Request: message is too long"
    )


@pytest.mark.parametrize("payload", [b"", b"garbage", b"[]", b"null", b'{"ok":1}', b'{"ok":true}', b"\xff"])
@pytest.mark.parametrize("status", [200, 302, 400, 403, 502])
def test_what_is_no_bot_api_answer_settles_nothing(status: int, payload: bytes) -> None:
    if payload == b'{"ok":true}' and status != 200:
        assert not answer_of(status, payload).ok
        return
    with pytest.raises(NoAnswer):
        answer_of(status, payload)


async def test_no_connection_means_not_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}") as client:
            assert await send(client, ADDRESS, UNIT, False) == NotSent("ClientConnectorError")
            assert isinstance(await get_updates(client, 0, 0), PollError)
            await typing(client, ADDRESS)
    async with opened("http://nowhere.invalid") as client:
        assert isinstance(await send(client, ADDRESS, UNIT, False), NotSent)


async def test_no_connection_in_time_means_not_sent() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def stuck(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.read(reader)
        arrived.set()
        await release.wait()
        wire.answer(writer, 200, OK)

    sessions = open_sessions(1)
    async with serving(stuck) as wire:
        client = open_client(account(), wire.url, sessions)
        await client.start()
        first = asyncio.create_task(send(client, ADDRESS, UNIT, False))
        await arrived.wait()
        with pytest.raises(NotConnected, match="ConnectionTimeoutError"):
            await exchange(sessions.send, "POST", URL(wire.url), b"{}", None, 1.0, connect_seconds=0.05)
        release.set()
        assert isinstance(await first, Sent)
        assert len(wire.requests) == 1
        await client.close()
        assert not sessions.send.closed
    await sessions.close()


async def lose_before_reading(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def lose_after_reading(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await wire.read(reader)
    reset(writer)


async def end_after_reading(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await wire.read(reader)


async def half_an_answer(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await wire.read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
    await writer.drain()


async def no_http(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await wire.read(reader)
    writer.write(b"220 smtp ready\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "handler", [lose_before_reading, lose_after_reading, end_after_reading, half_an_answer, no_http]
)
async def test_a_connection_lost_on_the_way_leaves_the_outcome_unknown(handler: Any) -> None:
    async with serving(handler) as wire, opened(wire.url) as client:
        result = await send(client, ADDRESS, UNIT, False)
        assert isinstance(result, Unknown)
        assert len(wire.requests) <= 1
        await typing(client, ADDRESS)
        polled = await get_updates(client, 0, 0)
        assert isinstance(polled, PollError)
        assert polled.kind == "network"


@pytest.mark.parametrize("body", [b"garbage", {"ok": True}, [], {"ok": True, "result": []}])
async def test_an_answer_that_makes_no_sense_leaves_the_outcome_unknown(body: Any) -> None:
    async with serving(answering(200, body)) as wire, opened(wire.url) as client:
        assert isinstance(await send(client, ADDRESS, UNIT, False), Unknown)


async def test_no_answer_in_time_leaves_the_outcome_unknown() -> None:
    async def hang(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.read(reader)
        await reader.read()

    async with serving(hang) as wire, opened(wire.url) as client:
        with pytest.raises(NoAnswer, match="TimeoutError"):
            await client.call("sendMessage", {"chat_id": 7}, 0.05)
        assert len(wire.requests) == 1


async def test_a_kept_connection_that_died_is_never_written_to_twice() -> None:
    async def once_then_gone(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.read(reader)
        wire.answer(writer, 200, OK)
        await wire.read(reader)
        reset(writer)

    async with serving(once_then_gone) as wire, opened(wire.url) as client:
        assert isinstance(await send(client, ADDRESS, UNIT, False), Sent)
        assert isinstance(await send(client, ADDRESS, UNIT, False), Unknown)
        assert len(wire.requests) == 2


async def test_a_redirect_is_not_followed() -> None:
    async with serving(answering(302, {"ok": False, "description": "elsewhere"})) as wire, opened(wire.url) as client:
        assert await send(client, ADDRESS, UNIT, False) == Refused("http_302", "elsewhere")


async def test_polling_asks_for_what_we_read_and_confirms_only_what_it_is_told() -> None:
    updates = [{"update_id": 11}, {"update_id": 12}]
    async with serving(answering(200, {"ok": True, "result": updates})) as wire, opened(wire.url) as client:
        got = await get_updates(client, 11, 3)
    assert got == updates
    assert next_offset(11, updates) == 13
    assert next_offset(11, []) == 11
    allowed = ["message", "edited_message", "my_chat_member", "callback_query", "message_reaction"]
    assert wire.requests == [
        (f"/bot{TOKEN}/getUpdates", {"offset": 11, "timeout": 3, "limit": 100, "allowed_updates": allowed})
    ]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, {"ok": False, "description": "Conflict: x"}, PollError("conflict", "Conflict: x")),
        (401, {"ok": False, "description": "Unauthorized"}, PollError("unauthorized", "Unauthorized")),
        (429, {"ok": False, "description": "slow", "parameters": {"retry_after": 3}}, PollError("retry", "slow", 3.0)),
        (500, {"ok": False}, PollError("network", "HTTP 500")),
        (200, {"ok": True, "result": [{"update_id": "x"}]}, PollError("network", "an answer without updates")),
        (200, {"ok": True, "result": {}}, PollError("network", "an answer without updates")),
    ],
)
async def test_why_a_poll_brought_nothing(status: int, body: Any, expected: PollError) -> None:
    async with serving(answering(status, body)) as wire, opened(wire.url) as client:
        assert await get_updates(client, 0, 0) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"ok": False, "description": "Unauthorized"}, Refused("unauthorized", "Unauthorized")),
        (404, {"ok": False, "description": "Not Found"}, Refused("unauthorized", "Not Found")),
        (429, {"ok": False, "description": "s", "parameters": {"retry_after": 3}}, NotSent("s", 3.0, "bot")),
        (500, {"ok": False, "description": "Oops"}, NotSent("Oops", scope="bot")),
        (200, {"ok": True, "result": True}, NotSent("an answer that describes no bot", scope="bot")),
        (200, b"garbage", NotSent("HTTP 200 without a Bot API answer", scope="bot")),
    ],
)
async def test_why_a_bot_cannot_be_connected(status: int, body: Any, expected: Any) -> None:
    async with serving(answering(status, body)) as wire, opened(wire.url) as client:
        assert await connect(client, "polling") == expected


async def test_a_webhook_that_is_refused_says_why() -> None:
    async def handler(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await wire.read(reader)
            if wire.requests[-1][0].endswith("getMe"):
                wire.answer(writer, 200, {"ok": True, "result": {"id": 1, "username": "b", "first_name": "B"}})
            else:
                wire.answer(writer, 400, {"ok": False, "description": "Bad Request: bad webhook: HTTPS url needed"})

    async with serving(handler) as wire, opened(wire.url) as client:
        refused = await connect(client, "webhook", "http://x.y/z", "secret")
        assert refused == Refused("bad_request", "Bad Request: bad webhook: HTTPS url needed")
        assert await disconnect(client) == refused
    assert all("drop_pending_updates" not in body for _, body in wire.requests)


async def test_no_token_reaches_a_log_or_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{closed.getsockname()[1]}") as client:
            for call in (client.call("getMe", {}), client.bot.get_me(), client.bot.set_my_commands([])):
                with pytest.raises(TelegramError) as caught:
                    await call
                error: BaseException | None = caught.value
                while error is not None:
                    assert "very_secret" not in repr(error) + str(error)
                    error = error.__cause__ or error.__context__
            assert "very_secret" not in repr(client)
    async with (
        serving(answering(401, {"ok": False, "description": "Unauthorized"})) as wire,
        opened(wire.url) as client,
    ):
        await connect(client, "webhook", "https://x.y", "hook_secret")
        await send(client, ADDRESS, UNIT, False)
    assert "very_secret" not in caplog.text
    assert "hook_secret" not in caplog.text


async def test_a_token_cannot_name_another_path() -> None:
    async with serving(answering(200, OK)) as wire, opened(wire.url, "1:a/../x\r\nHost: y?#") as client:
        assert isinstance(await send(client, ADDRESS, UNIT, False), Sent)
    assert [path for path, _ in wire.requests] == [
        "/bot1:a%2F..%2Fx%0D%0AHost%3A%20y%3F%23/sendMessage".replace("%3A", ":")
    ]


async def test_a_file_goes_up_as_a_form() -> None:
    seen: list[bytes] = []

    async def handler(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while b'name="document"' not in data or not data.rstrip().endswith(b"--"):
            data += await reader.read(65536)
        seen.append(data)
        wire.answer(writer, 400, {"ok": False, "description": "Bad Request: no"})
        await writer.drain()

    async with serving(handler) as wire, opened(wire.url) as client:
        with pytest.raises(TelegramError, match="No"):
            await client.bot.send_document(7, b"file content", filename="a.txt")
    assert b"file content" in seen[0]
    assert b'filename="a.txt"' in seen[0]


async def test_a_client_that_is_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await open_client(account(), "http://127.0.0.1").call("getMe", {})


# Against the simulator, which keeps the truth of what people saw.


@asynccontextmanager
async def simulated(**config: Any) -> AsyncIterator[tuple[Simulator, TelegramClient]]:
    async with run_simulator(config=Config(bot_token=TOKEN, **config)) as simulator, opened(simulator.url) as client:
        yield simulator, client


def dialogue(simulator: Simulator) -> tuple[User, Chat]:
    ann = people.add_user(simulator.world, 7, "Ann")
    chat = simulator.world.dialogue(simulator.bot, ann)
    people.write(simulator.world, chat, ann, {"text": "/start"}, {})
    return ann, chat


def seen_texts(chat: Chat) -> list[str]:
    return [seen.message["text"] for seen in chat.messages.values() if seen.message["from"]["is_bot"]]


async def test_a_long_rich_reply_is_seen_whole() -> None:
    async with simulated() as (simulator, client):
        _, chat = dialogue(simulator)
        prose = "## Part\n\n> quoted *text*\n\n- [x](https://a.b)\n\n"
        fixed = "```py\nif a < b & c: pass\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n"
        units = render(Reply((prose + fixed) * 120), ADDRESS)
        for unit in units:
            assert isinstance(await send(client, ADDRESS, unit, False), Sent)
        assert len(units) > 1
        assert seen_texts(chat) == [unit.plain.strip() for unit in units]


async def test_a_conversation_by_polling() -> None:
    async with simulated() as (simulator, client):
        ann, chat = dialogue(simulator)
        profile = await connect(client, "polling")
        assert isinstance(profile, dict)
        assert (profile["id"], profile["username"]) == (123456, "parley_demo_bot")
        assert [c["command"] for cs in simulator.bot.commands.values() for c in cs] == [
            "start",
            "help",
            "new",
            "link",
            "unlink",
        ]
        bot = Account("ws_1", "acc_1", "telegram", "polling", {"token": TOKEN}, {}, profile)

        first = await get_updates(client, 0, 0)
        again = await get_updates(client, 0, 0)
        assert isinstance(first, list)
        assert first == again
        people.write(simulator.world, chat, ann, {"text": "When?"}, {})
        second = await get_updates(client, next_offset(0, first), 5)
        assert isinstance(second, list)
        (inbound,) = [parsed for update in second for parsed in CHANNEL.parse(bot, update)]
        assert isinstance(inbound, InboundMessage)
        assert (inbound.kind, inbound.text, inbound.conversation_key) == ("text", "When?", "7")
        await typing(client, inbound.address)
        assert chat.action is not None
        assert isinstance(await send(client, inbound.address, UNIT, False), Sent)
        assert chat.messages[chat.last_message_id or max(chat.messages)].message["text"] == "hi"


async def test_a_forum_topic_is_answered_in_the_topic_and_to_the_message() -> None:
    async with simulated() as (simulator, client):
        ann = people.add_user(simulator.world, 7, "Ann")
        forum = groups.add_chat(simulator.world, "supergroup", "Team", True, [7], [simulator.bot], 7)
        topic = groups.add_topic(simulator.world, forum, ann, "Fares")
        text = f"@{simulator.bot.username} how much?"
        written = people.write(simulator.world, forum, ann, {"text": text, "message_thread_id": topic}, {})
        bot = Account("ws_1", "acc_1", "telegram", "polling", {}, {}, simulator.bot.profile())
        (inbound,) = CHANNEL.parse(bot, {"update_id": 1, "message": written["message"]})
        assert isinstance(inbound, InboundMessage)
        assert (inbound.text, inbound.conversation_key) == ("how much?", f"{forum.id}:{topic}")
        (unit,) = render(Reply("Six."), inbound.address)
        assert isinstance(await send(client, inbound.address, unit, False), Sent)
        shown = forum.messages[max(forum.messages)].message
        assert (shown["text"], shown["message_thread_id"]) == ("Six.", topic)
        assert shown["reply_to_message"]["message_id"] == written["message_id"]

        gone = {**inbound.address, "reply_to": 987_654}
        (unit,) = render(Reply("Still here."), gone)
        assert isinstance(await send(client, gone, unit, False), Sent)


async def test_blocked_moved_unknown_and_badly_formatted() -> None:
    async with simulated() as (simulator, client):
        ann, chat = dialogue(simulator)
        broken = Unit({"text": "<b>open", "parse_mode": "HTML"}, "open")
        refused = await send(client, ADDRESS, broken, False)
        assert isinstance(refused, Refused)
        assert refused.plainer
        assert isinstance(await send(client, ADDRESS, broken, True), Sent)

        nobody = await send(client, {"chat_id": 999_999}, UNIT, False)
        assert isinstance(nobody, Refused)
        assert (nobody.code, nobody.blocked) == ("chat_not_found", False)

        people.set_blocked(simulator.world, chat, ann, True)
        blocked = await send(client, ADDRESS, UNIT, False)
        assert isinstance(blocked, Refused)
        assert blocked.blocked
        await typing(client, ADDRESS)

        group = groups.add_chat(simulator.world, "group", "Old", False, [7], [simulator.bot], 7)
        upgraded, _ = groups.migrate(simulator.world, group, ann)
        moved = await send(client, {"chat_id": group.id}, UNIT, False)
        assert isinstance(moved, Refused)
        assert moved.moved_to == str(upgraded.id)


async def test_flood_control_asks_to_wait() -> None:
    async with simulated(flood=True) as (simulator, client):
        dialogue(simulator)
        outcomes = [await send(client, ADDRESS, UNIT, False) for _ in range(5)]
        slowed = next(each for each in outcomes if isinstance(each, NotSent))
        assert slowed.retry_after is not None
        assert slowed.retry_after >= 1
        assert slowed.scope == "chat"


@pytest.mark.parametrize(("kind", "shown"), [("drop_before", 0), ("drop_after", 1), ("status", 0)])
async def test_the_truth_behind_an_unknown_outcome_may_be_either(kind: str, shown: int) -> None:
    async with simulated() as (simulator, client):
        _, chat = dialogue(simulator)
        simulator.fault(kind, "sendMessage", count=1)
        assert isinstance(await send(client, ADDRESS, UNIT, False), Unknown)
        assert len(seen_texts(chat)) == shown
        assert isinstance(await send(client, ADDRESS, UNIT, False), Sent)


async def test_a_webhook_carries_the_secret_and_excludes_polling() -> None:
    async with simulated() as (simulator, client):
        dialogue(simulator)
        received: list[tuple[Json, bool]] = []
        arrived = asyncio.Event()
        hooked = Account("ws_1", "a", "telegram", "webhook", {"webhook_secret": "hook_secret"}, {}, {})

        async def handler(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
            headers = {name.title(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers["Content-Length"]))
            trusted = CHANNEL.verify(hooked, CIMultiDict(headers), body)
            received.append((orjson.loads(body), trusted))
            wire.answer(writer, 200, b"")
            await writer.drain()
            arrived.set()

        async with serving(handler) as wire:
            assert isinstance(await connect(client, "webhook", wire.url, "hook_secret"), dict)
            await asyncio.wait_for(arrived.wait(), 10)
            polled = await get_updates(client, 0, 0)
            assert isinstance(polled, PollError)
            assert polled.kind == "conflict"
            assert await disconnect(client) is None
            assert simulator.bot.webhook.url == ""
        (update, trusted) = received[0]
        assert trusted
        (inbound,) = CHANNEL.parse(hooked, update)
        assert isinstance(inbound, InboundMessage)
        assert inbound.command == "start"


async def test_a_wrong_token_is_refused() -> None:
    async with run_simulator() as simulator, opened(simulator.url, "1:wrong") as client:
        refused = await send(client, ADDRESS, UNIT, False)
        assert isinstance(refused, Refused)
        assert refused.code == "unauthorized"
        connected = await connect(client, "polling")
        assert isinstance(connected, Refused)
        assert connected.code == "unauthorized"
