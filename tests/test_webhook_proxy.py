"""Sends through an egress proxy: HTTP and SOCKS5, with exceptions; and whose fault it is when something fails there."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web

from kernel.errors import ConfigError
from kernel.settings import Settings, environment, table
from tests.certificates import authority, server_context
from webhooks.options import ClientCredentials, Options, Tls
from webhooks.proxy import Proxy, TunnelRefused, judge_connect, read_proxy
from webhooks.transport import Outcome, open_session, post, timeouts

LOOPBACK = (ip_network("127.0.0.0/8"),)
# What must never be told to a receiver's owner.
SECRET_NAME, SECRET_WORD = "egress-user", "egress-w%rd"


@dataclass
class Forwarder:
    """A proxy that speaks CONNECT and SOCKS5, takes one user, and sends every tunnel to one port of this machine."""

    to: int = 0
    port: int = 0
    user: tuple[str, str] | None = None
    refuse: bytes = b""  # answered instead of a tunnel
    asked: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            first = await reader.readexactly(1)
            opened = await (self._socks(reader, writer) if first == b"\x05" else self._connect(reader, writer))
            if opened:
                await self._pump(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.asked.append(head[0].split(" ")[1])
        word = base64.b64encode(":".join(self.user or ()).encode()).decode()
        if self.user and f"Proxy-Authorization: Basic {word}" not in head:
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=egress\r\n\r\n"
            )
            return False
        writer.write(self.refuse or b"HTTP/1.1 200 Connection established\r\n\r\n")
        return not self.refuse

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = b"\x02" if self.user else b"\x00"
        writer.write(b"\x05" + (wanted if wanted in methods else b"\xff"))
        if self.user and wanted in methods:
            await reader.readexactly(1)
            name = await reader.readexactly((await reader.readexactly(1))[0])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            good = (name.decode(), word.decode()) == self.user
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return False
        _, _, _, kind = await reader.readexactly(4)
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        address = await reader.readexactly(size)
        host = address.decode() if kind == 3 else ".".join(map(str, address))
        self.asked.append(f"{host}:{int.from_bytes(await reader.readexactly(2), 'big')}")
        writer.write(self.refuse or b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return not self.refuse

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
        there = asyncio.create_task(_copy(reader, up_writer))
        self.tasks.add(there)
        await _copy(up_reader, writer)
        up_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass


@asynccontextmanager
async def forwarding(to: int = 0, **given: object) -> AsyncIterator[Forwarder]:
    proxy = Forwarder(to, **given)  # type: ignore[arg-type]
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)


@asynccontextmanager
async def receiver(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and the Host of every request that it heard."""
    heard: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(f"{request.host} {(await request.read()).decode()}")
        if request.path == "/token":
            return web.json_response({"access_token": "t", "token_type": "bearer"})
        return web.Response(text="thanks")

    app = web.Application()
    app.router.add_post("/{path:.*}", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1], heard
    finally:
        await runner.cleanup()


async def send(proxy: Proxy, url: str, options: Options | None = None, total: float = 5.0) -> Outcome:
    async with open_session(LOOPBACK, proxy=proxy) as session:
        return await post(session, url, {}, b"{}", timeouts(total), options or Options())


def told_nothing_of(proxy: Forwarder, outcome: Outcome) -> bool:
    text = repr(outcome).lower()
    return not any(word in text for word in (str(proxy.port), "proxy-", "egress", "socks", "127.0.0.1", "realm"))


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("user", [None, (SECRET_NAME, SECRET_WORD)])
async def test_case_45_http_and_socks5_proxies_carry_every_delivery_but_the_exceptions(
    kind: str, user: tuple[str, str] | None
) -> None:
    async with receiver() as (port, heard), forwarding(port, user=user) as proxy:
        own = Proxy(kind, "127.0.0.1", proxy.port, *(user or ("", "")), ("127.0.0.1", ".example.net"))
        for host in ("name.example.com", "deep.example.net.example.com"):
            assert (await send(own, f"http://{host}/hook")).ok
        assert heard == ["name.example.com {}", "deep.example.net.example.com {}"]
        assert proxy.asked == ["name.example.com:80", "deep.example.net.example.com:80"]
        assert (await send(own, f"http://127.0.0.1:{port}/hook")).ok
        assert len(heard) == 3
        assert (await send(own, "http://below.example.net/")).error_code in ("dns_error", "resolver_error")
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_case_45_tls_goes_through_and_is_checked_at_its_end(kind: str, tmp_path: Path) -> None:
    servers = authority()
    context = server_context(tmp_path, servers.issue("r"))
    async with receiver(context) as (port, heard), forwarding(port) as proxy:
        own, url = Proxy(kind, "127.0.0.1", proxy.port), f"https://127.0.0.1:{port}/hook"
        assert (await send(own, url)).error_code == "tls_error"
        assert not heard
        assert (await send(own, url, Options(tls=Tls(ca=servers.certificate)))).ok
    assert proxy.asked == [f"127.0.0.1:{port}"] * 2


async def test_tokens_come_through_the_proxy_too() -> None:
    async with receiver() as (port, heard), forwarding(port) as proxy:
        wanted = ClientCredentials("http://token.example.com/token", "a", "b")
        own = Proxy("http", "127.0.0.1", proxy.port)
        assert (await send(own, "http://name.example.com/hook", Options(oauth=wanted))).ok
    assert proxy.asked == ["token.example.com:80", "name.example.com:80"]
    assert len(heard) == 2


async def test_a_connection_through_the_proxy_serves_several_sends() -> None:
    async with receiver() as (port, heard), forwarding(port) as proxy:
        own = Proxy("http", "127.0.0.1", proxy.port)
        async with open_session(LOOPBACK, proxy=own) as session:
            for _ in range(5):
                assert (await post(session, "http://name.example.com/", {}, b"{}", timeouts())).ok
    assert (len(proxy.asked), len(heard)) == (1, 5)


@pytest.mark.parametrize(
    ("kind", "answer", "code"),
    [
        ("http", b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED egress\r\n\r\n", "proxy_error"),
        ("http", b"HTTP/1.1 407 Request rejected by proxy\r\n\r\n", "proxy_error"),
        ("http", b"HTTP/1.1 429 Slow\r\n\r\n", "proxy_error"),
        ("http", b"HTTP/1.1 500 egress is broken\r\n\r\n", "proxy_error"),
        ("http", b"nonsense\r\n\r\n", "proxy_error"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "proxy_error"),
        ("http", b"HTTP/1.1 200 " + b"x" * 9_000, "proxy_error"),
        ("socks5", b"\x05\x01\x00\x01" + bytes(6), "proxy_error"),
        ("socks5", b"\x05\x07\x00\x01" + bytes(6), "proxy_error"),
        ("socks5", b"\x05", "proxy_error"),
    ],
)
async def test_case_64_what_is_wrong_with_the_proxy_is_ours_and_tells_nothing_of_it(
    kind: str, answer: bytes, code: str
) -> None:
    async with forwarding(refuse=answer) as proxy:
        outcome = await send(Proxy(kind, "127.0.0.1", proxy.port), "https://name.example.com/hook")
        assert (outcome.status, outcome.error_code, outcome.ours) == (None, code, True)
        assert told_nothing_of(proxy, outcome)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_case_64_a_wrong_user_or_a_proxy_that_is_away_is_ours(kind: str) -> None:
    async with forwarding(user=(SECRET_NAME, SECRET_WORD)) as proxy:
        for user in ((), ("egress-user", "wrong")):
            outcome = await send(Proxy(kind, "127.0.0.1", proxy.port, *user), "http://name.example.com/")
            assert (outcome.error_code, outcome.ours) == ("proxy_error", True)
            assert told_nothing_of(proxy, outcome)
    gone = await send(Proxy(kind, "127.0.0.1", proxy.port), "http://name.example.com/")
    assert (gone.error_code, gone.ours) == ("proxy_error", True)
    nameless = await send(Proxy(kind, "egress.invalid", 3128), "http://name.example.com/")
    assert (nameless.error_code, nameless.ours) == ("proxy_error", True)
    assert "egress" not in repr(nameless)


@pytest.mark.parametrize(
    ("kind", "answer", "code"),
    [
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "unreachable"),
        ("http", b"HTTP/1.1 503 egress says no\r\n\r\n", "unreachable"),
        ("http", b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "connect_timeout"),
        ("http", b"HTTP/1.1 502 x\r\nProxy-Status: egress; error=dns_error; rcode=3\r\n\r\n", "dns_error"),
        ("http", b"HTTP/1.1 502 x\r\nproxy-status: a, egress; error=connection_refused\r\n\r\n", "connection_refused"),
        ("http", b"HTTP/1.1 403 x\r\nProxy-Status: p; error=destination_ip_prohibited\r\n\r\n", "blocked_address"),
        ("http", b"HTTP/1.1 502 x\r\nProxy-Status: p; error=tls_certificate_error\r\n\r\n", "tls_error"),
        ("socks5", b"\x05\x02\x00\x01" + bytes(6), "blocked_address"),
        ("socks5", b"\x05\x03\x00\x01" + bytes(6), "unreachable"),
        ("socks5", b"\x05\x04\x00\x03\x02ab\x00\x00", "unreachable"),
        ("socks5", b"\x05\x05\x00\x01" + bytes(6), "connection_refused"),
        ("socks5", b"\x05\x06\x00\x01" + bytes(6), "connect_timeout"),
    ],
)
async def test_what_is_wrong_beyond_the_proxy_is_the_receivers(kind: str, answer: bytes, code: str) -> None:
    async with forwarding(refuse=answer) as proxy:
        outcome = await send(Proxy(kind, "127.0.0.1", proxy.port), "http://name.example.com/hook")
        assert (outcome.status, outcome.error_code, outcome.ours) == (None, code, False)
        assert told_nothing_of(proxy, outcome)


async def test_a_proxy_that_never_answers_ends_at_the_deadline() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        own = Proxy("http", "127.0.0.1", server.sockets[0].getsockname()[1])
        outcome = await send(own, "http://name.example.com/", total=0.3)
        await ended.wait()
    assert outcome.error_code == "timeout"


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/", "http://169.254.169.254/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://0x7f.1/",
        "http://2130706433/", "http://example.com:25/", "http://example.com:6379/",
    ],
)  # fmt: skip
async def test_the_guard_stands_before_the_proxy(url: str) -> None:
    async with forwarding() as proxy:
        outcome = await send(Proxy("http", "127.0.0.1", proxy.port), url)
    assert outcome.error_code == "blocked_address"
    assert not proxy.asked


def test_an_open_tunnel_has_no_fault() -> None:
    for answer in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200\r\nVia: x\r\n\r\n"):
        judge_connect(answer)
    with pytest.raises(TunnelRefused):
        judge_connect(b"HTTP/2 200\r\n\r\n")


def test_proxies_are_read_from_a_setting() -> None:
    assert read_proxy("http://proxy.local:3128") == Proxy("http", "proxy.local", 3128)
    own = read_proxy("socks5://u%40x:p%3A@10.0.0.1:1080", [" .Example.com", "", "b.example"])
    assert own == Proxy("socks5", "10.0.0.1", 1080, "u@x", "p:", (".example.com", "b.example"))
    assert "p:" not in repr(own)
    served = {
        "a.example.com": False,
        "A.EXAMPLE.com.": False,
        "example.com": True,
        "b.example": False,
        "c.b.example": True,
    }
    assert {host: own.serves(host) for host in served} == served
    for wrong in ("https://a:1", "http://a", "ftp://a:1", "a:1", "", "socks5://" + "u" * 300 + ":p@a:1"):
        with pytest.raises(ValueError, match=r"must be|255"):
            read_proxy(wrong)


def test_the_settings_name_what_is_wrong_with_them() -> None:
    given = {
        "EGRESS_PROXY": "socks5://u:p@proxy.local:1080",
        "EGRESS_DIRECT": "A.example, .b.example",
        "WEBHOOK_HTTPS_ONLY": "True",
    }
    found = Settings.read(given)
    assert (found.egress_proxy, found.egress_direct) == (given["EGRESS_PROXY"], ("a.example", ".b.example"))
    assert found.webhook_https_only is True
    assert Settings.read(environment(found)) == found
    assert not any("u:p" in row["value"] for row in table(found))
    assert read_proxy(found.egress_proxy, found.egress_direct).direct == found.egress_direct
    assert (Settings.read({}).egress_proxy, Settings.read({}).webhook_https_only) == ("", False)
    for name, wrong in (
        ("EGRESS_PROXY", "https://proxy:1"),
        ("EGRESS_PROXY", "http://proxy"),
        ("EGRESS_PROXY", "http://proxy:99999"),
        ("EGRESS_PROXY", "http://proxy:1/path"),
        ("WEBHOOK_HTTPS_ONLY", "maybe"),
    ):
        with pytest.raises(ConfigError, match=name):
            Settings.read({name: wrong})
