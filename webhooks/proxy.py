"""Sends through an egress proxy (HTTP CONNECT or SOCKS5), so that a filter of the operator's sees every one of them.

A tunnel for http as well as https, because only so a proxy's refusal can be told from a receiver's answer. The proxy
looks names up. Sources: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6, https://www.rfc-editor.org/rfc/rfc1928,
https://www.rfc-editor.org/rfc/rfc1929, https://www.rfc-editor.org/rfc/rfc9209
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp
from aiohttp.client_exceptions import ClientConnectorError
from yarl import URL

from webhooks.bounded import bound
from webhooks.guard import BlockedAddress, Network, address_verdict, port_verdict
from webhooks.options import basic

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

_DIAL = 3.0  # seconds
_LONGEST_HEAD = 8_192
_KEEPALIVE = 4

OURS, REFUSED = "proxy_error", "blocked_address"
_OUT_OF_ORDER = (OURS, "the way out to receivers is out of order")
_NOT_ALLOWED = (REFUSED, "the host may not be called")
_UNREACHABLE = ("unreachable", "the receiver cannot be reached")
_DNS = ("dns_error", "the host name does not resolve")
_REFUSES = ("connection_refused", "the receiver refuses connections")
_LATE = ("connect_timeout", "no connection in time")
_RESET = ("connection_reset", "the receiver hung up before it had answered")
_TLS = ("tls_error", "no trusted TLS connection")
_SOCKS = {2: _NOT_ALLOWED, 3: _UNREACHABLE, 4: _UNREACHABLE, 5: _REFUSES, 6: _LATE}
# What a proxy says of itself is our fault; what it says of the way beyond it is the receiver's. A bare 502, 503 or 504
# is taken for the latter, since squid and Envoy answer so for hosts that are down.
_STATUSES = {502: _UNREACHABLE, 503: _UNREACHABLE, 504: _LATE}
_PROXY_STATUS = {
    "dns_timeout": _DNS, "dns_error": _DNS, "destination_not_found": _DNS, "destination_unavailable": _UNREACHABLE,
    "destination_ip_prohibited": _NOT_ALLOWED, "destination_ip_unroutable": _UNREACHABLE,
    "connection_refused": _REFUSES, "connection_terminated": _RESET, "connection_timeout": _LATE,
    "tls_protocol_error": _TLS, "tls_certificate_error": _TLS, "tls_alert_received": _TLS,
}  # fmt: skip


class TunnelRefused(aiohttp.ClientConnectionError):
    """No way to the receiver. `code` and `detail` are those of an Outcome, and never tell of the proxy."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Proxy:
    """`kind` is http or socks5. `direct` are hosts, or `.example.com` for all below it, that are called without it."""

    kind: str
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    direct: tuple[str, ...] = ()

    def serves(self, host: str) -> bool:
        low = host.rstrip(".").lower()
        return not any(low == name or (name.startswith(".") and low.endswith(name)) for name in self.direct)


def read_proxy(url: str, direct: Sequence[str] = ()) -> Proxy:
    """The proxy that `http://user:password@host:port` or `socks5://…` names. Raises ValueError."""
    parsed = URL(url)
    if parsed.scheme not in ("http", "socks5") or not parsed.host or not parsed.explicit_port:
        raise ValueError("must be http://host:port or socks5://host:port")
    username, password = unquote(parsed.raw_user or ""), unquote(parsed.raw_password or "")
    if max(len(username.encode()), len(password.encode())) > 255:
        raise ValueError("user name and password may have 255 bytes each")
    names = tuple(name.strip().lower() for name in direct if name.strip())
    return Proxy(parsed.scheme, parsed.host, parsed.explicit_port, username, password, names)


class TunnelConnector(aiohttp.TCPConnector):
    """Dials nothing but the proxy. Literal addresses and ports are held to the guard's rules before it is asked."""

    def __init__(self, proxy: Proxy, allow: Sequence[Network] = (), *, limit: int = 200) -> None:
        super().__init__(limit=limit, keepalive_timeout=_KEEPALIVE)
        bound(self)
        self._egress = proxy
        self._allow = allow

    async def _create_direct_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,
        *,
        client_error: type[Exception] = ClientConnectorError,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port = (req.url.raw_host or "").rstrip("."), req.port or 0
        try:
            refuse_literal(host, port, self._allow)
        except BlockedAddress as error:
            raise ClientConnectorError(req.connection_key, error) from error
        context = self._get_ssl_context(req)
        sock = await open_tunnel(self._egress, host, port)
        try:
            return await self._wrap_existing_connection(
                self._factory,
                ssl=context,
                server_hostname=host if context else None,
                sock=sock,
                req=req,
                timeout=timeout,
                client_error=client_error,
            )
        except BaseException:
            sock.close()
            raise


def refuse_literal(host: str, port: int, allow: Sequence[Network]) -> None:
    """Raises BlockedAddress for an address, or a number that a C library would read as one, that must not be called."""
    reason = port_verdict(port)
    try:
        reason = reason or address_verdict(ipaddress.ip_address(host), allow)
    except ValueError:
        if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2].lower()):
            reason = reason or "a number in disguise"
    if reason:
        raise BlockedAddress(reason)


async def open_tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A socket that talks to the receiver. Raises TunnelRefused."""
    sock = await _dial(proxy)
    try:
        await (_connect if proxy.kind == "http" else _socks)(sock, proxy, host, port)
    except (OSError, asyncio.IncompleteReadError) as error:
        sock.close()
        raise TunnelRefused(*_OUT_OF_ORDER) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _dial(proxy: Proxy) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DIAL):
            found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
            return await _first(loop, found)
    except OSError as error:  # TimeoutError is one
        raise TunnelRefused(*_OUT_OF_ORDER) from error


async def _first(loop: asyncio.AbstractEventLoop, found: Sequence[Any]) -> socket.socket:
    """A connection to the first address that takes one. Raises OSError."""
    last: OSError = ConnectionRefusedError()
    for family, kind, proto, _, address in found:
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
    raise last


async def _connect(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n"
    if proxy.username:
        head += f"Proxy-Authorization: {basic(proxy.username, proxy.password)}\r\n"
    await loop.sock_sendall(sock, f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = await loop.sock_recv(sock, _LONGEST_HEAD)
        answer += part
        if not part or len(answer) > _LONGEST_HEAD:
            raise TunnelRefused(*_OUT_OF_ORDER)
    judge_connect(answer)


def judge_connect(answer: bytes) -> None:
    """Raises TunnelRefused unless the answer to CONNECT opens a tunnel. It may hold nothing beyond its head."""
    head, _, rest = answer.decode("latin-1").partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    match = re.match(r"HTTP/1\.[01] (\d{3})(?: |$)", line)
    status = int(match[1]) if match else 0
    if 200 <= status < 300 and not rest:
        return
    told = " ".join(value for name, _, value in (f.partition(":") for f in fields) if name.lower() == "proxy-status")
    named = re.search(r";\s*error=([a-z_]+)", told)
    known = _PROXY_STATUS.get(named[1]) if named else None
    raise TunnelRefused(*(known or _STATUSES.get(status, _OUT_OF_ORDER)))


async def _socks(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\x05\x01\x02" if proxy.username else b"\x05\x01\x00")
    version, method = await _exactly(sock, 2)
    if version != 5 or method != (2 if proxy.username else 0):
        raise TunnelRefused(*_OUT_OF_ORDER)
    if proxy.username:
        name, word = proxy.username.encode(), proxy.password.encode()
        await loop.sock_sendall(sock, b"\x01" + bytes([len(name)]) + name + bytes([len(word)]) + word)
        if (await _exactly(sock, 2))[1] != 0:
            raise TunnelRefused(*_OUT_OF_ORDER)
    await loop.sock_sendall(sock, b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = await _exactly(sock, 4)
    if reply != 0:
        raise TunnelRefused(*_SOCKS.get(reply, _OUT_OF_ORDER))
    size = {1: 4, 4: 16}.get(kind) or (await _exactly(sock, 1))[0]
    await _exactly(sock, size + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > 253:
            raise TunnelRefused(*_DNS) from None
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


async def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not part:
            raise asyncio.IncompleteReadError(data, size)
        data += part
    return data
