"""What all sends of a process share: guarded connections, the way through an egress proxy, tokens, TLS contexts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from webhooks import tls
from webhooks.guard import Network, guarded_connector
from webhooks.oauth import Token, Tokens, fetch_token
from webhooks.options import ClientCredentials, Tls
from webhooks.proxy import Proxy, TunnelConnector

READ_SIZE = 16_384
_MOST_CONTEXTS = 128  # each holds the authorities anew, about a megabyte


class Session:
    """Make it with `open_session`."""

    def __init__(
        self, direct: aiohttp.ClientSession, proxied: aiohttp.ClientSession | None, proxy: Proxy | None
    ) -> None:
        self._direct = direct
        self._proxied = proxied
        self._proxy = proxy
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self.tokens = Tokens(self._fetch)

    def to(self, url: str | URL) -> aiohttp.ClientSession:
        """The connections that lead to this URL: the proxy's, unless there is none or the host is an exception."""
        if self._proxy is None or self._proxied is None:
            return self._direct
        return self._proxied if self._proxy.serves(URL(url).raw_host or "") else self._direct

    async def context(self, wanted: Tls) -> ssl.SSLContext:
        """A TLS context for this endpoint's texts. Connections are shared by those who share a context."""
        found = self._contexts.get(wanted)
        if found is None:
            found = await asyncio.to_thread(tls.context, wanted)
            while len(self._contexts) >= _MOST_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            found = self._contexts.setdefault(wanted, found)
        return found

    async def _fetch(self, wanted: ClientCredentials) -> Token:
        return await fetch_token(self.to(wanted.token_url), wanted)


@asynccontextmanager
async def open_session(
    allow: Sequence[Network] = (), *, concurrency: int = 200, proxy: Proxy | None = None
) -> AsyncIterator[Session]:
    """Guarded dials, one kept connection per slot, no cookies, no inflating, no proxy but the given one."""
    proxied = _plain(TunnelConnector(proxy, allow, limit=concurrency)) if proxy else None
    async with _plain(guarded_connector(allow, limit=concurrency)) as direct:
        session = Session(direct, proxied, proxy)
        try:
            yield session
        finally:
            await session.tokens.close()
            if proxied:
                await proxied.close()


def _plain(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=READ_SIZE,
        headers={"User-Agent": "Parley-Webhooks/1", "Accept-Encoding": "identity"},
    )
