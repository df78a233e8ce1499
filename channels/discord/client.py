"""The REST client: plain HTTP over the process's sessions.

discord.py has one of its own, which serves a socket's bot well and a gateway badly: it takes its address from a global,
sleeps through 429s and repeats after every 5xx without telling (so that a send has no end that we could time), and
does not tell a connection that never came about from an answer that never came. So only the socket is discord.py's.

The bot's token stands in a header, an interaction's in the path; neither reaches a log or an exception.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from yarl import URL

from channels.discord.limits import Limits, invalid_of
from channels.discord.places import Places
from channels.wire import Wire
from kernel.types import Account, Json, OutgoingFile

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
UNAUTHORIZED_SECONDS = 60.0  # for which a refused token is not tried again
_AGENT = "DiscordBot (https://docs.discord.com/developers/reference, 1.0)"
_TIMEOUT = aiohttp.ClientTimeout(
    total=CONNECT_SECONDS + READ_SECONDS, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS
)
_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=65.0, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS)
_UNNAMED_WAIT = 5.0  # seconds after a 429 that does not say how long, as Cloudflare's


class NotConnected(Exception):
    """No connection came about, so the request surely did not leave."""


class NoAnswer(Exception):
    """The request may have left, and no usable answer came back."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A body with a file. https://docs.discord.com/developers/reference#uploading-files"""

    message: Json
    file: OutgoingFile

    def form(self) -> aiohttp.FormData:
        form = aiohttp.FormData({"payload_json": orjson.dumps(self.message).decode()}, quote_fields=False)
        name, mime = self.file.name, self.file.mime
        form.add_field("files[0]", io.BytesIO(self.file.data), filename=name, content_type=mime)
        return form


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said. `data` is its JSON, None when there is none.

    retry_after  seconds that a 429 asks us to wait; `bot` when it is the whole bot that has to
    code         Discord's own number for what is wrong, 0 when it gives none
    """

    status: int
    data: Any = None
    retry_after: float | None = None
    bot: bool = False

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> int:
        code = self.data.get("code") if isinstance(self.data, dict) else None
        return code if type(code) is int else 0

    @property
    def reason(self) -> str:
        message = self.data.get("message") if isinstance(self.data, dict) else None
        return message if isinstance(message, str) else f"HTTP {self.status}"


class DiscordClient:
    """One bot's door to Discord. The sessions belong to the process, so closing it closes nothing."""

    def __init__(self, account: Account, wire: Wire) -> None:
        self.token = str(account.credentials.get("bot_token") or "").strip()
        self.bot_id = str(account.profile.get("id") or "")
        self.application_id = str(
            account.profile.get("application_id") or account.credentials.get("application_id") or ""
        )
        self.gateway_url = wire.settings.discord_gateway_url
        self.sessions = wire.sessions
        self.places = Places(self.bot_id)
        self._root = wire.settings.discord_api_base_url.rstrip("/")
        self._limits = Limits()
        self._invalid = invalid_of(self._root)
        self._refused_until = 0.0
        self._headers = {"Authorization": f"Bot {self.token}", "User-Agent": _AGENT}

    async def close(self) -> None:
        """Nothing to do: the sessions are the process's."""

    async def call(
        self, method: str, path: str, body: Any = None, *, as_bot: bool = True, patience: float = 0.0
    ) -> Answer:
        """One call. `patience`: seconds that may be spent waiting for a rate limit; what would take longer is
        answered 429 without asking. `as_bot` False leaves the bot's token out, for calls that carry another in `path`.

        Raises NotConnected or NoAnswer, and nothing else for what a network may do.
        """
        deadline = time.monotonic() + patience
        while True:
            answer = self._held_back(method, path, as_bot=as_bot)
            if answer is None:
                answer = await self._ask(method, path, body, as_bot=as_bot)
            if answer.status != 429 or answer.retry_after is None or time.monotonic() + answer.retry_after > deadline:
                return answer
            await asyncio.sleep(answer.retry_after)

    def _held_back(self, method: str, path: str, *, as_bot: bool) -> Answer | None:
        """The answer that we know beforehand."""
        now = time.monotonic()
        if (wait := self._invalid.wait(now)) > 0:
            return Answer(429, {"message": "too many invalid requests; paused before Discord bans us"}, wait, bot=True)
        if as_bot and self._refused_until > now:
            return Answer(401, {"message": "401: Unauthorized"})
        wait, whole = self._limits.wait(method, path, now)
        if wait > 0:
            return Answer(429, {"message": "rate limited"}, wait, bot=whole)
        self._limits.leaves(method, path, now)
        return None

    async def _ask(self, method: str, path: str, body: Any, *, as_bot: bool) -> Answer:
        headers = self._headers if as_bot else {"User-Agent": _AGENT}
        data: bytes | aiohttp.FormData | None = None
        timeout = _TIMEOUT
        if isinstance(body, Parts):
            data, timeout = body.form(), _UPLOAD_TIMEOUT
        elif body is not None:
            data, headers = orjson.dumps(body), {**headers, "Content-Type": "application/json"}
        url = URL(f"{self._root}{path}", encoded=True)
        status, found, payload = await exchange(self.sessions.send, method, url, data, headers, timeout)
        answer = _answer(status, found, payload)
        self._learn(method, path, answer, found, as_bot=as_bot)
        return answer

    def _learn(self, method: str, path: str, answer: Answer, headers: Mapping[str, str], *, as_bot: bool) -> None:
        now = time.monotonic()
        self._invalid.note(answer.status, headers.get("X-RateLimit-Scope", ""), now)
        if answer.status == 429 and answer.retry_after is not None:
            self._limits.refused(method, path, answer.retry_after, now, whole=answer.bot)
        else:
            self._limits.learn(method, path, headers, now)
        if as_bot and answer.status == 401:
            self._refused_until = now + UNAUTHORIZED_SECONDS


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    data: bytes | aiohttp.FormData | None,
    headers: dict[str, str],
    timeout: aiohttp.ClientTimeout = _TIMEOUT,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of one HTTP exchange, tried once.

    Raises NotConnected or NoAnswer, raised outside the handler so that no exception with the address hangs on them.
    """
    failure: Exception
    try:
        async with session.request(
            method, url, data=data, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            return response.status, response.headers, await response.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        failure = NotConnected(type(error).__name__)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = NoAnswer(type(error).__name__)
    raise failure


def _answer(status: int, headers: Mapping[str, str], payload: bytes) -> Answer:
    """Raises NoAnswer when an accepted call comes without the JSON that it should have."""
    try:
        data = orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        if 200 <= status < 300:
            raise NoAnswer(f"HTTP {status} without JSON") from None
        data = None
    if status != 429:
        return Answer(status, data)
    told = data.get("retry_after") if isinstance(data, dict) else None
    wait = float(told) if isinstance(told, int | float) else _seconds(headers.get("Retry-After"))
    whole = not isinstance(data, dict) or data.get("global") is True  # without JSON it is Cloudflare who speaks
    return Answer(status, data, wait, bot=whole)


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text)) if text else _UNNAMED_WAIT
    except ValueError:
        return _UNNAMED_WAIT
