"""Tokens by OAuth 2 client credentials: fetched once, kept until shortly before they end.

Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import orjson

from webhooks.options import ClientCredentials, basic

_TIMEOUT = aiohttp.ClientTimeout(total=10.0, connect=5.0, ceil_threshold=1_000.0)
_LARGEST = 16_384
_USUAL, _LONGEST = 300.0, 86_400.0  # seconds that a token lasts when nothing is said, and at most
_EARLY = 30.0
_SORRY = 5.0  # for so long a failure is given to all who ask, so that a broken token server is not stormed
_MOST = 10_000
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


class AuthFailed(Exception):
    """No token. `code` and `detail` are those of an Outcome; the detail may be shown to the endpoint's owner."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Token:
    """`expires_in` are seconds from when it was given."""

    value: str
    expires_in: float


Fetch = Callable[[ClientCredentials], Coroutine[Any, Any, Token]]


class Tokens:
    """The tokens at hand. Those who ask at once for the same one share one fetch, which outlives each of them."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._known: dict[ClientCredentials, tuple[asyncio.Task[Token], float]] = {}

    async def get(self, wanted: ClientCredentials) -> str:
        """Raises AuthFailed."""
        task, until = self._known.get(wanted, (None, 0.0))
        if task is None or (task.done() and self._clock() >= until):
            task = self._start(wanted)
        return (await asyncio.shield(task)).value

    def forget(self, wanted: ClientCredentials, value: str) -> None:
        """Drops a token that was not believed, unless another one is at hand by now."""
        task, _ = self._known.get(wanted, (None, 0.0))
        if task and task.done() and not task.cancelled() and not task.exception() and task.result().value == value:
            del self._known[wanted]

    def _start(self, wanted: ClientCredentials) -> asyncio.Task[Token]:
        if len(self._known) >= _MOST:
            self._known = {key: kept for key, kept in self._known.items() if not kept[0].done()}
        task = asyncio.create_task(self._fetch(wanted))
        self._known[wanted] = (task, float("inf"))
        task.add_done_callback(lambda done: self._fetched(wanted, done))
        return task

    def _fetched(self, wanted: ClientCredentials, task: asyncio.Task[Token]) -> None:
        if task.cancelled():
            self._known.pop(wanted, None)
            return
        lasts = _SORRY
        if not task.exception():
            given = task.result().expires_in
            lasts = given - min(_EARLY, given / 10)
        self._known[wanted] = (task, self._clock() + lasts)

    async def close(self) -> None:
        tasks = [task for task, _ in self._known.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def fetch_token(session: aiohttp.ClientSession, wanted: ClientCredentials) -> Token:
    """Asks the token server. Raises AuthFailed for an answer that is no token, and what aiohttp raises."""
    form = {"grant_type": "client_credentials"}
    headers = {"accept": "application/json"}
    if wanted.scopes:
        form["scope"] = " ".join(wanted.scopes)
    if wanted.audience:
        form["audience"] = wanted.audience
    if wanted.client_auth == "basic":
        headers["authorization"] = basic(quote_plus(wanted.client_id), quote_plus(wanted.client_secret))
    else:
        form |= {"client_id": wanted.client_id, "client_secret": wanted.client_secret}
    async with session.post(
        wanted.token_url, data=form, headers=headers, allow_redirects=False, timeout=_TIMEOUT
    ) as response:
        raw = bytearray()
        while part := await response.content.read(_LARGEST + 1 - len(raw)):
            raw += part
        if len(raw) > _LARGEST:
            response.close()
            raise AuthFailed("auth_error", "the token server's answer is too long")
        return read_token(response.status, bytes(raw))


def read_token(status: int, raw: bytes) -> Token:
    """The token in an answer (RFC 6749 section 5.1). Raises AuthFailed."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    body = body if isinstance(body, dict) else {}
    if status != 200:
        why = body.get("error")
        named = f" ({why})" if isinstance(why, str) and re.fullmatch(r"[a-z_]{1,40}", why) else ""
        raise AuthFailed("auth_error", f"the token server answered {status}{named}")
    value, kind, lasts = body.get("access_token"), body.get("token_type", "bearer"), body.get("expires_in", _USUAL)
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise AuthFailed("auth_error", "the token server's answer holds no usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthFailed("auth_error", "the token server gave a token that is no bearer token")
    try:
        seconds = float(lasts)
    except (TypeError, ValueError):
        seconds = _USUAL
    return Token(value, min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else _USUAL)
