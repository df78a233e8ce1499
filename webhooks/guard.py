"""Which addresses an outbound call may reach, and the connector that holds every dial to it.

Our own table: `ipaddress.is_global` calls NAT64 of the metadata address, 6to4 of loopback, multicast and others global,
and changes between patch releases. Sources: the IANA special-purpose registries, and the clouds' metadata pages.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from webhooks.bounded import bound

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LookUp = Callable[[str, int, int], Sequence[Any]]
"""Host, port and address family to entries like those of `socket.getaddrinfo`; may block. Raises socket.gaierror."""

_V4 = tuple(
    (ipaddress.IPv4Network(block), reason)
    for block, reason in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local and cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# What is left of IPv6 lies in 2000::/3 and, with the verdict of the IPv4 address inside, in NAT64. So loopback, unique
# local and link-local addresses, ::/8 with all that it embeds, local NAT64 (64:ff9b:1::/48) and multicast need no line.
_V6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_V6 = tuple(
    (ipaddress.IPv6Network(block), reason)
    for block, reason in (
        ("2001::/23", "protocol assignments and Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# An ISATAP interface id holds an IPv4 address under any prefix (RFC 5214 6.1); the second has the universal bit set.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})

# Services that speak something else and could be talked into mischief by a POST. Below 1024 only the web's are open.
_REFUSED_PORTS = frozenset(
    (1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5672, 5900, 5984)
) | frozenset(
    (6000, 6379, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6697, 9042, 9092, 9200, 9300, 10080, 10250, 11211, 27017)
)
_LOW_PORTS_ALLOWED = frozenset((80, 443))

# No name server answered, or ours is out of order. Only of these nobody can say that the name is the receiver's fault.
_OURS = frozenset((socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY))


class BlockedAddress(OSError):
    """A dial that must not happen. An OSError, because that is what connecting code expects to fail with."""


class NameServersAway(OSError):
    """Nobody could be asked for a name. Says nothing about our name servers: receivers' owners read it."""


def address_verdict(address: str | Address, allow: Sequence[Network] = ()) -> str | None:
    """Why this address must not be dialled, or None when it is public or inside one of the `allow` networks."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "no IP address"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id:
            return "bound to one link"
        ip = ip.ipv4_mapped or ip
    if any(ip in network for network in allow):
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return next((reason for block, reason in _V4 if ip in block), None)
    return _verdict_v6(ip)


def _verdict_v6(ip: ipaddress.IPv6Address) -> str | None:
    if ip in _NAT64:
        return address_verdict(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
    if ip not in _V6_GLOBAL:
        return "not in the public IPv6 range"
    if (int(ip) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return "ISATAP"
    return next((reason for block, reason in _V6 if ip in block), None)


def port_verdict(port: int) -> str | None:
    """Why this port is not for webhooks, or None."""
    if port in _REFUSED_PORTS or port > 65_535 or (port < 1024 and port not in _LOW_PORTS_ALLOWED):
        return f"port {port} is not for webhooks"
    return None


def refuse(address: str, allow: Sequence[Network]) -> None:
    """Raises BlockedAddress when the verdict is bad. It names no address: what our resolver sees is not for tenants."""
    reason = address_verdict(address, allow)
    if reason:
        raise BlockedAddress(reason)


def look_up(host: str, port: int, family: int) -> Sequence[Any]:
    """What the C library knows of a name; it also reads `0x7f.1` and the like as addresses."""
    return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class GuardedResolver(AbstractResolver):
    """Resolves a name once and refuses it when any of its addresses is bad. Raises NameServersAway as an error of ours.

    Has threads of its own: a dead name server must not hold the event loop's default executor. They are many, because a
    look-up that nobody answers keeps one for as long as the C library has patience.
    """

    def __init__(self, allow: Sequence[Network], ask: LookUp = look_up, threads: int = 64) -> None:
        self._allow = allow
        self._ask = ask
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="parley-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._ask, host, port, family)
        except socket.gaierror as error:
            if error.errno in _OURS:
                raise NameServersAway("no name server answers") from error
            raise
        for _, _, _, _, sockaddr in found:
            refuse(str(sockaddr[0]), self._allow)
        return [_result(host, entry) for entry in found]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, entry: Any) -> ResolveResult:
    family, _, proto, _, sockaddr = entry
    return ResolveResult(
        hostname=host,
        host=str(sockaddr[0]),
        port=int(sockaddr[1]),
        family=family,
        proto=proto,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def guarded_connector(
    allow: Sequence[Network] = (), *, limit: int = 200, ask: LookUp = look_up
) -> aiohttp.TCPConnector:
    """A connector that checks names when they resolve and, again, the exact address and port of every dial, and that
    takes bounded answers only.

    The second check covers what never passes a resolver: literals in a URL and whatever the C library reads as one. A
    name is asked for once and dialled by the answer, so there is no second answer that could differ.
    """

    def vetted_socket(info: Any) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        refuse(str(sockaddr[0]), allow)
        if reason := port_verdict(sockaddr[1]):
            raise BlockedAddress(reason)
        return socket.socket(family=family, type=kind, proto=proto)

    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(allow, ask),
        socket_factory=vetted_socket,
        limit=limit,
        keepalive_timeout=4,  # below the 5 s after which common servers hang up on an idle connection
    )
    bound(connector)
    return connector
