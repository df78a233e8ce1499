"""Which addresses may be called, and that every dial is held to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from webhooks.endpoints import url_fault
from webhooks.guard import BlockedAddress, GuardedResolver, address_verdict, refuse
from webhooks.transport import open_session, post, timeouts

LOOPBACK = (ip_network("127.0.0.0/8"),)

BAD = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:7f00:1",
    "::5efe:7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:808:808",
    "fe80::1%eth0",
    "127.1",
    "0x7f.1",
    "localhost",
    "2130706433",
]
GOOD = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.1",
    "169.253.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2400:cb00::1",
    "3ffe::1",
]


@pytest.mark.parametrize("address", BAD)
def test_refused(address: str) -> None:
    assert address_verdict(address)


@pytest.mark.parametrize("address", GOOD)
def test_public(address: str) -> None:
    assert address_verdict(address) is None


@given(st.integers(0, 2**32 - 1))
def test_embedded_addresses_inherit_the_verdict(number: int) -> None:
    plain = address_verdict(IPv4Address(number))
    assert address_verdict(IPv6Address((0xFFFF << 32) | number)) == plain
    assert address_verdict(IPv6Address((0x64FF9B << 96) | number)) == plain
    assert address_verdict(IPv6Address((0x2002 << 112) | (number << 80) | 1))
    assert address_verdict(IPv6Address(number))


@given(st.integers(0, 2**128 - 1))
def test_nothing_outside_the_public_range_passes(number: int) -> None:
    ip = IPv6Address(number)
    if ip not in ip_network("2000::/3") and not ip.ipv4_mapped and ip not in ip_network("64:ff9b::/96"):
        assert address_verdict(ip)


def test_the_operators_networks_are_allowed_and_nothing_else() -> None:
    assert address_verdict("127.0.0.1", LOOPBACK) is None
    assert address_verdict("::ffff:127.0.0.1", LOOPBACK) is None
    assert address_verdict("::1", LOOPBACK)
    assert address_verdict("64:ff9b::7f00:1", LOOPBACK)
    assert address_verdict("10.0.0.1", LOOPBACK)
    assert address_verdict("fd00::5", (ip_network("fd00::/8"),)) is None


def test_a_refusal_names_no_address() -> None:
    with pytest.raises(BlockedAddress) as caught:
        refuse("10.1.2.3", ())
    assert "10.1" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "//example.com/", "example.com", "", "http://", "https:///x",
        "http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/", "http://127.0.0.1/",
        "http://127.0.0.1:8080/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/",
        "http://169.254.169.254/latest/meta-data", "http://0x7f.1/", "http://0x7f000001/", "http://2130706433/",
        "http://127.1/", "http://0177.0.0.1/", "http://1.1.1.1.1/", "http://example.com:22/", "http://example.com:6379/",
        "http://example.com:0/", "http://example.com:99999/", "http://localhost/", "http://localhost./", "http://db/",
        "http://metadata.google.internal/", "http://printer.local/", "http://exa mple.com/", "http://example.com\\@x/",
        "http://example.com/\r\nx", "https://example.com/" + "x" * 2048, None, 5,
    ],
)  # fmt: skip
def test_urls_that_cannot_be_registered(url: object) -> None:
    assert url_fault(url)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/hook", "http://example.com:8080/a?b=c", "https://bücher.example/x", "https://8.8.8.8/",
     "https://[2606:4700::1111]:8443/", "https://example.com."],
)  # fmt: skip
def test_urls_that_can(url: str) -> None:
    assert url_fault(url) is None


def test_opened_networks_also_open_local_names() -> None:
    assert url_fault("http://127.0.0.1:9000/x", LOOPBACK) is None
    assert url_fault("http://localhost:9000/x", LOOPBACK) is None
    assert url_fault("http://receiver:8080/x", LOOPBACK) is None
    assert url_fault("http://10.0.0.1/x", LOOPBACK)


class Listener:
    """A server that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.accept, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    yield listener
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0x7f.1", "0x7f000001", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "127.1"],
)
async def test_nothing_private_is_dialled(listener: Listener, host: str) -> None:
    async with open_session() as session:
        outcome = await post(session, f"http://{host}:{listener.port}/", {}, b"{}", timeouts(5))
    assert outcome.error_code in ("blocked_address", "invalid_url", "dns_error")
    assert "127.0" not in outcome.detail
    assert listener.connections == 0


async def test_what_the_operator_opened_is_dialled(listener: Listener) -> None:
    async with open_session(LOOPBACK) as session:
        outcome = await post(session, f"http://127.0.0.1:{listener.port}/", {}, b"{}", timeouts(5))
    assert outcome.ok
    assert listener.connections == 1


async def test_one_bad_address_refuses_the_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = GuardedResolver(())
    with pytest.raises(BlockedAddress):
        await resolver.resolve("mixed.example", 443)
    await resolver.close()


class Rebinding(AbstractResolver):
    """A resolver that was fooled: the answer changed after the check."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


async def test_the_dial_itself_is_checked_whatever_the_resolver_said(listener: Listener) -> None:
    async with open_session() as session:
        assert session.connector is not None
        vars(session.connector)["_resolver"] = Rebinding()
        outcome = await post(session, f"http://rebound.example:{listener.port}/", {}, b"{}", timeouts(5))
    assert outcome.error_code == "blocked_address"
    assert listener.connections == 0


def test_every_network_in_the_allow_list_is_exact() -> None:
    assert address_verdict("10.0.1.1", (IPv4Network("10.0.0.0/24"),))
