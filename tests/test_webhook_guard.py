"""Which addresses may be called, and that every dial is held to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from webhooks.guard import _V4, BlockedAddress, LookUp, Network, address_verdict, guarded_connector, refuse
from webhooks.transport import Outcome, classify, open_session, post, timeouts
from webhooks.urls import url_fault

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
    "2606:4700::1111%eth0",
    "::1%lo",
    "100.64.0.1",
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
def test_case_35_73_special_addresses_are_refused(address: str) -> None:
    assert address_verdict(address)


@pytest.mark.parametrize("address", GOOD)
def test_public(address: str) -> None:
    assert address_verdict(address) is None


# Every IPv4 address, with those at the edges of our table among them for certain.
EDGES = sorted(
    number
    for block, _ in _V4
    for edge in (int(block[0]), int(block[-1]))
    for number in (edge - 1, edge, edge + 1)
    if 0 <= number < 2**32
)
NUMBERS = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**32 - 1))


@given(NUMBERS)
def test_case_71_nat64_and_mapped_addresses_inherit_the_verdict(number: int) -> None:
    plain = address_verdict(IPv4Address(number))
    assert address_verdict(IPv6Address((0xFFFF << 32) | number)) == plain
    assert address_verdict(IPv6Address((0x64FF9B << 96) | number)) == plain


@given(NUMBERS, st.integers(0, 2**80 - 1))
def test_case_71_every_6to4_teredo_and_isatap_address_is_refused(number: int, rest: int) -> None:
    assert address_verdict(IPv6Address((0x2002 << 112) | (number << 80) | rest))
    assert address_verdict(IPv6Address((0x20010000 << 96) | (number << 64) | rest & (2**64 - 1)))
    for interface in (0x5EFE, 0x2005EFE):  # under a prefix that is public otherwise
        assert address_verdict(IPv6Address((0x26064700 << 96) | (interface << 32) | number)) == "ISATAP"


@given(NUMBERS, st.integers(0, 2**120 - 1))
def test_case_71_every_address_in_the_first_eighth_bits_is_refused_but_nat64_and_mapped(number: int, low: int) -> None:
    for embedded in (number, (0xFFFF << 48) | number, (0x64FF9B0001 << 80) | number, low):
        ip = IPv6Address(embedded)
        if ip not in ip_network("64:ff9b::/96") and not ip.ipv4_mapped:
            assert address_verdict(ip)


@given(st.integers(0, 2**128 - 1))
def test_nothing_outside_the_public_range_passes(number: int) -> None:
    ip = IPv6Address(number)
    if ip not in ip_network("2000::/3") and not ip.ipv4_mapped and ip not in ip_network("64:ff9b::/96"):
        assert address_verdict(ip)


@given(NUMBERS)
def test_what_is_public_for_us_is_no_private_address_for_anybody(number: int) -> None:
    """A second opinion, from a table that others keep; ours may be stricter, never laxer."""
    ip = IPv4Address(number)
    if address_verdict(ip) is None:
        assert not (ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved)


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


@pytest.mark.parametrize("address", [ip for ip in BAD if "%" not in ip])
def test_case_35_special_addresses_cannot_be_registered_with_port_or_userinfo_either(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    for url in (f"http://{host}/", f"https://{host}:8443/x", f"http://user:pw@{host}/", f"http://{host}./"):
        assert url_fault(url), url


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


DIALS: list[object] = []


def _note_dial(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        DIALS.append(arguments[1])


sys.addaudithook(_note_dial)  # the interpreter tells of every connect, wherever it would have led


@dataclass
class Listener:
    """A server on every address of this machine that counts who connects."""

    connections: int = 0
    port: int = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    def dialled(self) -> int:
        """How often a socket was connected or asked to connect, here or anywhere else."""
        return self.connections + len(DIALS)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    with socket.create_server(("0.0.0.0", 0)) as four:
        listener.port = four.getsockname()[1]
        servers = [await asyncio.start_server(listener.accept, sock=four)]
        with contextlib.suppress(OSError):  # a machine without IPv6
            servers.append(await asyncio.start_server(listener.accept, "::1", listener.port))
        DIALS.clear()
        yield listener
        for server in servers:
            server.close()
            await server.wait_closed()


async def send(url: str, *, allow: Sequence[Network] = (), seconds: float = 5.0) -> Outcome:
    async with open_session(allow) as session:
        return await post(session, url, {}, b"{}", timeouts(seconds))


async def reach(url: str, ask: LookUp, *, allow: Sequence[Network] = (), connect: float = 5.0) -> tuple[str, str]:
    """Error code and detail of a send whose names are looked up by `ask`."""
    async with aiohttp.ClientSession(connector=guarded_connector(allow, ask=ask)) as http:
        return await reach_by(http, url, connect)


async def reach_by(http: aiohttp.ClientSession, url: str, connect: float = 30.0) -> tuple[str, str]:
    try:
        async with http.post(url, data=b"{}", allow_redirects=False, timeout=timeouts(60.0, connect)) as response:
            return str(response.status), ""
    except Exception as error:
        return classify(error)


def answering(*answers: str | socket.gaierror) -> LookUp:
    """A resolver of ours: says one thing after the other, the last one for ever; several addresses with blanks."""
    left = list(answers)

    def ask(host: str, port: int, family: int) -> list[Any]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, socket.gaierror):
            raise answer
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in answer.split()
        ]

    return ask


TRICKS = [
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "0.0.0.0", "127.255.255.254", "127.0.0.1.",
    "0", "0x0", "127.1", "127.0.1", "0x7f.1", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "00000177.0.0.1",
    "017700000001",
    "2130706433", "0x7f.0x0.0x0.0x1", "127.0x0.0.1", "4294967295", "425510585", "１２７.0.0.1", "127。0。0。1",
    "ⓛocalhost",
    "①②⑦.0.0.1", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2606:4700::5efe:7f00:1]", "[2606:4700::200:5efe:7f00:1]",
    "[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]",
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0xa9fea9fe", "10.0.0.1",
    "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "example.com@127.0.0.1",
    "8.8.8.8@127.0.0.1", "user:pass@127.0.0.1", "127.0.0.1%00.example.com", socket.gethostname(),
]  # fmt: skip


@pytest.mark.parametrize("host", TRICKS)
async def test_case_35_36_73_nothing_private_is_dialled_in_any_notation(listener: Listener, host: str) -> None:
    outcome = await send(f"http://{host}:{listener.port}/")
    assert outcome.error_code in ("blocked_address", "invalid_url", "dns_error", "resolver_error")
    assert outcome.status is None
    assert "127.0" not in outcome.detail and "::1" not in outcome.detail
    assert listener.dialled() == 0


REBOUND = [
    "127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.0", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2001::1", "fd00:ec2::254", "8.8.8.8 127.0.0.1", "127.0.0.1 8.8.8.8", "8.8.8.8 ::1",
    "2606:4700::1111 10.0.0.1", "0.0.0.0",
]  # fmt: skip


@pytest.mark.parametrize("answer", REBOUND)
async def test_case_71_one_bad_address_refuses_the_whole_name(listener: Listener, answer: str) -> None:
    code, _ = await reach(f"http://mixed.example:{listener.port}/", answering(answer))
    assert code == "blocked_address"
    assert listener.dialled() == 0


async def test_a_name_that_flips_between_check_and_dial_is_dialled_by_the_answer_that_was_checked(
    listener: Listener,
) -> None:
    """127.0.0.1 stands for a public address, and 127.9.9.9, where the listener hears as well, for a private one."""
    public, url = [ip_network("127.0.0.1/32")], f"http://flip.example:{listener.port}/"
    assert await reach(url, answering("127.0.0.1", "127.9.9.9"), allow=public) == ("200", "")
    connector = guarded_connector(public, ask=answering("127.0.0.1", "127.9.9.9"))
    codes = []
    async with aiohttp.ClientSession(connector=connector) as http:
        for _ in range(3):  # each with a look-up and a dial of its own
            codes.append((await reach_by(http, url))[0])
            connector.clear_dns_cache()
    assert codes == ["200", "blocked_address", "blocked_address"]
    assert [("127.0.0.1", listener.port)] * 2 == DIALS


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["::1", "169.254.169.254"]])
async def test_the_dial_itself_is_checked_whatever_a_resolver_said(listener: Listener, addresses: list[str]) -> None:
    class Fooled(AbstractResolver):
        """The answer changed after the check."""

        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
            return [
                {"hostname": host, "host": ip, "port": port, "family": socket.AF_INET6 if ":" in ip else socket.AF_INET,
                 "proto": 0, "flags": 0}
                for ip in addresses
            ]  # fmt: skip

        async def close(self) -> None: ...

    connector = guarded_connector()
    await vars(connector)["_resolver"].close()
    vars(connector)["_resolver"] = Fooled()
    async with aiohttp.ClientSession(connector=connector) as http:
        code, detail = await reach_by(http, f"http://rebound.example:{listener.port}/")
    assert code in ("blocked_address", "unreachable")
    assert not any(ip in detail for ip in addresses)
    assert listener.dialled() == 0


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/", "http://[::1]/", "http://0x7f.1/", "//10.0.0.1/"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_dials_nothing_more(listener: Listener, target: str, status: int) -> None:
    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(moved, "127.0.0.1", 0) as server:
        here = server.sockets[0].getsockname()
        outcome = await send(f"http://127.0.0.1:{here[1]}/", allow=LOOPBACK)
    assert (outcome.status, outcome.error_code) == (status, "redirect")
    assert [here] == DIALS


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 443 + 2, 1023, 2375, 3306, 5432, 6379, 9200, 10250, 11211, 27017])
async def test_ports_of_other_services_are_not_dialled(listener: Listener, port: int) -> None:
    outcome = await send(f"http://127.0.0.1:{port}/", allow=LOOPBACK)
    code, _ = await reach(f"http://ours.example:{port}/", answering("127.0.0.1"), allow=LOOPBACK)
    assert (outcome.error_code, code) == ("blocked_address", "blocked_address")
    assert listener.dialled() == 0


@pytest.mark.parametrize(
    "url", ["ftp://{}/", "file:///etc/passwd", "gopher://{}/x", "unix:///run/x.sock", "ws+unix://x"]
)
async def test_other_schemes_are_not_dialled(listener: Listener, url: str) -> None:
    outcome = await send(url.format(f"127.0.0.1:{listener.port}"), allow=LOOPBACK)
    assert outcome.error_code == "invalid_url"
    assert listener.dialled() == 0


async def test_what_the_operator_opened_is_dialled(listener: Listener) -> None:
    outcome = await send(f"http://127.0.0.1:{listener.port}/", allow=LOOPBACK)
    assert outcome.ok
    assert listener.connections == 1
    assert [("127.0.0.1", listener.port)] == DIALS


@pytest.mark.parametrize("fault", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
async def test_case_72_a_resolver_outage_is_our_error_and_shows_nothing_of_it(listener: Listener, fault: int) -> None:
    outage = socket.gaierror(fault, "timed out asking 10.0.0.53")
    code, detail = await reach(f"http://away.example:{listener.port}/", answering(outage))
    assert code == "resolver_error"
    assert "10.0.0.53" not in detail and "timed out" not in detail
    unknown = socket.gaierror(socket.EAI_NONAME, "no such name")
    assert (await reach("http://none.example/", answering(unknown)))[0] == "dns_error"
    assert listener.dialled() == 0


async def test_look_ups_that_nobody_answers_hold_up_nobody_else(listener: Listener) -> None:
    released = threading.Event()

    def ask(host: str, port: int, family: int) -> list[Any]:
        if host.startswith("dead"):
            released.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with aiohttp.ClientSession(connector=guarded_connector(LOOPBACK, ask=ask)) as http:
        dead = [asyncio.create_task(reach_by(http, f"http://dead{n}.example:{listener.port}/")) for n in range(40)]
        await asyncio.sleep(0)
        assert await reach_by(http, f"http://live.example:{listener.port}/") == ("200", "")
        assert not any(task.done() for task in dead)
        released.set()
        assert set(await asyncio.gather(*dead)) == {("200", "")}


async def test_case_73_a_name_that_is_not_looked_up_in_time_ends_at_the_deadline(listener: Listener) -> None:
    released = threading.Event()

    def ask(host: str, port: int, family: int) -> list[Any]:
        released.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    code, _ = await reach(f"http://dead.example:{listener.port}/", ask, allow=LOOPBACK, connect=0.2)
    released.set()
    assert code == "connect_timeout"
    assert listener.dialled() == 0


async def test_case_73_a_sender_does_not_call_itself(listener: Listener) -> None:
    """By any private address of this machine."""
    cards = psutil.net_if_addrs().values()
    own = {a.address.partition("%")[0] for card in cards for a in card if a.family in (socket.AF_INET, socket.AF_INET6)}
    for address in {"127.0.0.1", "::", *(ip for ip in own if not ip_address(ip).is_global)}:
        host = f"[{address}]" if ":" in address else address
        assert (await send(f"http://{host}:{listener.port}/")).error_code == "blocked_address"
    assert listener.dialled() == 0


def test_every_network_in_the_allow_list_is_exact() -> None:
    assert address_verdict("10.0.1.1", (IPv4Network("10.0.0.0/24"),))
