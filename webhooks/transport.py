"""One POST to a receiver that we do not trust: bounded in time and size, and never raising."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from webhooks import tls
from webhooks.guard import BlockedAddress, NameServersAway
from webhooks.headers import masked
from webhooks.oauth import AuthFailed
from webhooks.options import NO_OPTIONS, Options
from webhooks.proxy import TunnelRefused
from webhooks.session import READ_SIZE as MAX_BODY
from webhooks.session import Session, open_session

__all__ = ["MAX_BODY", "OURS", "Outcome", "Session", "classify", "open_session", "post", "timeouts"]

# What is wrong on our side: no reason to think ill of the endpoint.
OURS = frozenset({"resolver_error", "proxy_error", "secret_unreadable", "interrupted", "unexpected_error"})
_RESETS = frozenset((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE))
_MAX_HEADERS, _MAX_HEADER = 24, 256
_NONE: Mapping[str, str] = {}
_WISHES = ("retry-after", "webhook-delivery")  # are heard, however many headers stand before them
_PRIVATE_HEADERS = frozenset({"set-cookie", "authorization", "proxy-authenticate", "www-authenticate"})


class Outcome(NamedTuple):
    """What came of one try. `status` is None when no answer came.

    `error_code` is '' for a 2xx, else one of: http_status, redirect, blocked_address, invalid_url, dns_error,
    resolver_error (ours: nobody could be asked for the name), proxy_error (ours: the egress proxy), auth_error (no
    token, or a client certificate that cannot be used), connection_refused, connection_reset, connect_timeout, timeout,
    tls_error, unreachable, protocol_error, unexpected_error; the sender adds secret_unreadable and interrupted.
    `started_at` is epoch seconds. `request` are the headers that we sent, without their secrets.
    """

    started_at: float
    duration_ms: int
    status: int | None = None
    error_code: str = ""
    detail: str = ""
    headers: Mapping[str, str] = _NONE
    body: bytes = b""
    truncated: bool = False
    request: Mapping[str, str] = _NONE

    @property
    def ok(self) -> bool:
        return not self.error_code

    @property
    def ours(self) -> bool:
        """Whether the failure is our own, so that it must not count against the endpoint."""
        return self.error_code in OURS


def timeouts(total: float = 15.0, connect: float = 5.0) -> aiohttp.ClientTimeout:
    """`total` covers name, dial, handshake, answer and the part of its body that we read."""
    return aiohttp.ClientTimeout(total=total, connect=connect, ceil_threshold=1_000.0)


async def post(
    session: Session,
    url: str | URL,
    headers: Mapping[str, str],
    body: bytes,
    timeout: aiohttp.ClientTimeout,
    options: Options = NO_OPTIONS,
) -> Outcome:
    """Sends `body` and reads at most 16 KiB of the answer. Every failure is an Outcome.

    `options` are the endpoint's own headers, credentials and TLS; `headers` are ours and stand above them. The time
    that a token takes is part of `timeout`.
    """
    started_at, begun = time.time(), time.perf_counter()
    if options is NO_OPTIONS:
        return await _send(session, url, headers, body, timeout, True, (started_at, begun, headers))
    ours = CIMultiDict(options.headers)
    ours.update(headers)
    told = {name: masked(name, value) for name, value in ours.items()}
    try:
        async with asyncio.timeout(timeout.total):
            token = await session.tokens.get(options.oauth) if options.oauth else ""
            context = await session.context(options.tls) if options.tls else True
    except Exception as error:
        return Outcome(started_at, _since(begun), None, *_unready(error), request=told)
    if token:
        ours["Authorization"], told["Authorization"] = f"Bearer {token}", masked("Authorization", "")
    left = timeouts(max(0.1, (timeout.total or 0) - _since(begun) / 1_000), timeout.connect or 5.0)
    outcome = await _send(session, url, ours, body, left, context, (started_at, begun, told))
    if options.oauth and outcome.status == 401:
        session.tokens.forget(options.oauth, token)
    return outcome


async def _send(
    session: Session,
    url: str | URL,
    headers: Mapping[str, str],
    body: bytes,
    timeout: aiohttp.ClientTimeout,
    context: ssl.SSLContext | bool,
    begun: tuple[float, float, Mapping[str, str]],
) -> Outcome:
    started_at, since, told = begun
    status: int | None = None
    try:
        async with session.to(url).post(
            url, data=body, headers=headers, allow_redirects=False, timeout=timeout, ssl=context
        ) as response:
            status = response.status
            content, truncated = await _read(response)
            return Outcome(
                started_at,
                _since(since),
                status,
                _judge(status),
                "",
                _excerpt(response),
                content,
                truncated,
                told,
            )
    except Exception as error:
        return Outcome(started_at, _since(since), status, *classify(error), request=told)


def _unready(error: Exception) -> tuple[str, str]:
    """Why a send could not even begin: a token that did not come, or TLS texts that cannot be used any more."""
    if isinstance(error, AuthFailed):
        return error.code, error.detail
    if isinstance(error, tls.Unusable):
        return "auth_error", f"the client certificate cannot be used: {error}"
    code, detail = classify(error)
    return code if code in OURS else "auth_error", detail.replace("the receiver", "the token server")


def _since(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1_000)


def _judge(status: int) -> str:
    if 200 <= status < 300:
        return ""
    return "redirect" if 300 <= status < 400 else "http_status"


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The first 16 KiB. A longer answer costs its connection, because draining it is what it is after."""
    content = await response.content.read(MAX_BODY + 1)
    if not response.content.at_eof():
        parts = [content]
        size = len(content)
        while size <= MAX_BODY and (part := await response.content.read(MAX_BODY + 1 - size)):
            parts.append(part)
            size += len(part)
        content = b"".join(parts)
    if len(content) <= MAX_BODY:
        return content, False
    response.close()
    return content[:MAX_BODY], True


def _excerpt(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    kept = {
        (low := name.lower()): "(hidden)" if low in _PRIVATE_HEADERS else _clean(value)
        for name, value in islice(response.headers.items(), _MAX_HEADERS)
    }
    for name in _WISHES:
        if wish := response.headers.get(name):
            kept[name] = _clean(wish)
    return kept


def _clean(value: str) -> str:
    """Bytes that are not UTF-8 arrive as surrogates, which no database takes."""
    return value[:_MAX_HEADER] if value.isascii() else value[:_MAX_HEADER].encode("utf-8", "replace").decode()


def classify(error: Exception) -> tuple[str, str]:
    """The error code and a sentence for the receiver's owner; nothing about our own network."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, BlockedAddress):
        return "blocked_address", f"the host has an address that may not be called: {cause}"
    if isinstance(error, TunnelRefused):
        return error.code, error.detail
    if isinstance(cause, OSError) and (cause.errno in _RESETS or isinstance(cause.__cause__, ConnectionResetError)):
        cause = ConnectionResetError()  # which aiohttp's own class for it is not
    for kinds, code, detail in _KINDS:
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return code, detail
    return "unexpected_error", type(error).__name__


# The first match counts, so a subclass stands before its base.
_KINDS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError), "invalid_url", "the URL cannot be used"),
    ((NameServersAway,), "resolver_error", "the host name could not be looked up"),
    ((aiohttp.ClientConnectorDNSError,), "dns_error", "the host name does not resolve"),
    ((aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError), "tls_error", "no trusted TLS connection"),
    ((aiohttp.ConnectionTimeoutError,), "connect_timeout", "no connection in time"),
    ((TimeoutError, asyncio.TimeoutError), "timeout", "no complete answer in time"),
    ((ConnectionRefusedError,), "connection_refused", "the receiver refuses connections"),
    (
        (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError, ConnectionAbortedError),
        "connection_reset",
        "the receiver hung up before it had answered",
    ),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), "protocol_error", "the answer is not valid HTTP"),
    ((OSError,), "unreachable", "the receiver cannot be reached"),
)
