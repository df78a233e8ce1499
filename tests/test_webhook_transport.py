"""One POST against receivers that misbehave: every failure is a bounded outcome with a code of its own."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from webhooks.options import Options, read_options
from webhooks.transport import MAX_BODY, OURS, Outcome, open_session, post, timeouts

LOOPBACK = (ip_network("127.0.0.0/8"),)
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(script: Script) -> AsyncIterator[str]:
    """A raw server that reads the head of a request and then does as the script says."""
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def says(*parts: bytes) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return script


async def send(url: str, *, total: float = 5.0) -> Outcome:
    async with open_session(LOOPBACK) as session:
        return await post(session, url, {"content-type": "application/json"}, b"{}", timeouts(total))


async def answer(script: Script, *, total: float = 5.0) -> Outcome:
    async with receiver(script) as url:
        return await send(url, total=total)


async def test_an_answer_is_kept_with_its_headers() -> None:
    outcome = await answer(says(b"HTTP/1.1 500 Oh\r\nX-Trace: 7\r\nSet-Cookie: a=b\r\nContent-Length: 4\r\n\r\noops"))
    assert (outcome.status, outcome.error_code, outcome.body) == (500, "http_status", b"oops")
    assert outcome.headers["x-trace"] == "7"
    assert outcome.headers["set-cookie"] == "(hidden)"
    assert not outcome.ok


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_case_1_redirects_are_failures_and_never_followed(status: int) -> None:
    visited: list[bytes] = []

    async def elsewhere(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.append(b"visited")

    async with receiver(elsewhere) as target:
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        outcome = await answer(says(head))
    assert (outcome.status, outcome.error_code) == (status, "redirect")
    assert outcome.headers["location"] == target
    assert not visited


async def test_a_gzip_bomb_is_cut_and_not_inflated() -> None:
    bomb = gzip.compress(b"\0" * 40_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    outcome = await answer(says(head, bomb))
    assert outcome.ok
    assert outcome.truncated
    assert outcome.body == bomb[:MAX_BODY]


async def test_an_endless_body_is_cut() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 4_096)
            await writer.drain()
            sent += 4_096

    outcome = await answer(endless)
    assert outcome.ok
    assert outcome.truncated
    assert len(outcome.body) == MAX_BODY
    assert sent < 50_000_000


@pytest.mark.parametrize("size", [0, 1, MAX_BODY - 1, MAX_BODY])
async def test_a_body_that_fits_is_whole(size: int) -> None:
    outcome = await answer(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size))
    assert outcome.ok
    assert (len(outcome.body), outcome.truncated) == (size, False)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
async def test_a_dripping_answer_ends_at_the_deadline(first: bytes) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.05)

    outcome = await answer(drip, total=0.4)
    assert outcome.error_code == "timeout"
    assert outcome.status == (200 if first.endswith(b"\r\n\r\n") else None)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (says(), "connection_reset"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "protocol_error"),
        (says(b"nonsense\r\n\r\n"), "protocol_error"),
    ],
)
async def test_broken_answers(script: Script, code: str) -> None:
    assert (await answer(script)).error_code == code


async def test_a_closed_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        outcome = await send(url)
    assert (outcome.status, outcome.error_code) == (None, "connection_refused")


async def test_a_connection_that_never_comes() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        async with open_session(LOOPBACK) as session:
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            outcome = await post(session, url, {}, b"{}", timeouts(5.0, 0.3))
        for filler in fillers:
            filler.close()
    assert outcome.error_code == "connect_timeout"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://name.invalid/", "dns_error"),
        ("ftp://example.com/", "invalid_url"),
        ("http:///", "invalid_url"),
        ("nonsense", "invalid_url"),
        ("http://" + "a" * 70 + ".example/", "invalid_url"),
    ],
)
async def test_urls_that_lead_nowhere(url: str, code: str) -> None:
    assert (await send(url)).error_code == code


async def test_plain_text_where_tls_is_expected() -> None:
    async with receiver(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        assert (await send(url.replace("http:", "https:"), total=2.0)).error_code in ("tls_error", "timeout")


async def test_headers_that_are_no_utf8_do_no_harm() -> None:
    outcome = await answer(says(b"HTTP/1.1 200 OK\r\nX-Odd: \xff\xfe\r\nContent-Length: 0\r\n\r\n"))
    assert outcome.ok
    assert outcome.headers["x-odd"].encode("utf-8")


async def test_one_connection_serves_several_sends() -> None:
    connections = 0

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        while await reader.readuntil(b"\r\n\r\n") and await reader.readexactly(2):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with receiver(keep) as url, open_session(LOOPBACK) as session:
        for _ in range(5):
            assert (await post(session, url, {}, b"{}", timeouts())).ok
    assert connections == 1


async def test_case_63_each_way_to_fail_has_a_code_of_its_own() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    found = [
        (await send("http://name.invalid/")).error_code,
        (await answer(hang_up)).error_code,
        (await answer(say_nothing, total=0.3)).error_code,
    ]

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as server:
        where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found.append((await send(f"https://{where}/")).error_code)
    found.append((await send(f"http://{where}/")).error_code)
    assert found == ["dns_error", "connection_reset", "timeout", "tls_error", "connection_refused"]
    assert not OURS & set(found)


async def test_case_32_headers_of_an_endpoint_reach_the_wire_as_they_are_written_and_below_ours() -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_session(LOOPBACK) as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        own = {"X-tEaM": "a  b", "X-API-Key": "secret", "Webhook-Id": "forged"}
        options = read_options({"headers": own, "auth": {"kind": "basic", "username": "ü", "password": "p:w"}})
        outcome = await post(session, url, {"webhook-id": "evt_1"}, b"{}", timeouts(), options)
    (head,) = heads
    lines = head.split("\r\n")
    assert {"X-tEaM: a  b", "X-API-Key: secret", "webhook-id: evt_1", "Authorization: Basic w7w6cDp3"} <= set(lines)
    assert "forged" not in head
    assert outcome.request == {
        "X-tEaM": "a  b", "X-API-Key": "(hidden)", "Authorization": "(hidden)", "webhook-id": "evt_1",
    }  # fmt: skip


def test_secrets_of_options_show_in_no_trace() -> None:
    options = read_options({"headers": {"X-Key": "hush"}, "auth": {"kind": "bearer", "token": "hush"}})
    assert ("Authorization", "Bearer hush") in options.headers
    assert "hush" not in repr(options)
    assert read_options({}) == Options()
