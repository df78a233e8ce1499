"""The one-write 200: a real client reads it, connections live on or end as HTTP says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from aiohttp import web

from gateway.acknowledgement import acknowledge
from gateway.requests import request_id_of

PATIENCE = 20.0


@dataclass
class Server:
    url: str
    port: int
    go: asyncio.Event
    peers: list[object]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Answers when `go` is set, which it is at first."""
    go, peers = asyncio.Event(), list[object]()
    go.set()

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport
        peers.append(request.transport.get_extra_info("peername"))
        await go.wait()
        return acknowledge(request, request_id_of(request))

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    yield Server(f"http://127.0.0.1:{port}/hook", port, go, peers)
    await runner.cleanup()


async def raw(server: Server, data: bytes) -> bytes:
    """Everything that the server sends until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_client_reads_answer_after_answer_on_one_connection(server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        for n in range(5):
            async with session.post(server.url, data=b"x" * n, headers={"X-Request-ID": f"mine-{n}"}) as response:
                assert (response.status, await response.read()) == (200, b"")
                assert response.headers["X-Request-ID"] == f"mine-{n}"
                assert parsedate_to_datetime(response.headers["Date"])
    assert len(server.peers) == 5
    assert len(set(server.peers)) == 1


async def test_what_follows_in_the_pipe_is_answered_in_order(server: Server) -> None:
    first = b"POST /hook HTTP/1.1\r\nHost: h\r\nX-Request-ID: first\r\nContent-Length: 2\r\n\r\n{}"
    last = b"POST /hook HTTP/1.1\r\nHost: h\r\nX-Request-ID: last\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    answer = await raw(server, first + last)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert 0 < answer.index(b"X-Request-ID: first\r\n\r\n") < answer.index(b"X-Request-ID: last\r\n")


@pytest.mark.parametrize(
    ("version", "header", "said"),
    [
        (b"HTTP/1.1", b"Connection: close", b"Connection: close"),
        (b"HTTP/1.0", b"X-None: 0", b"HTTP/1.0 200 OK"),
    ],
)
async def test_a_connection_that_is_to_end_ends(server: Server, version: bytes, header: bytes, said: bytes) -> None:
    request = b"POST /hook " + version + b"\r\nHost: h\r\n" + header + b"\r\nContent-Length: 2\r\n\r\n{}"
    answer = await raw(server, request)
    assert said in answer
    assert b"X-Request-ID: req_" in answer


async def test_a_sender_that_hung_up_is_no_error(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.go.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /hook HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
    async with asyncio.timeout(PATIENCE):
        while not server.peers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.sleep(0.05)
        server.go.set()
        async with aiohttp.ClientSession() as session, session.post(server.url) as response:
            assert response.status == 200
    assert caplog.records == []
