"""The Bot API client: python-telegram-bot's Bot over an aiohttp request class of ours.

Its own HTTP client scans every pooled connection on each request and slows down as it gets busier. The calls of every
turn (sendMessage, sendChatAction, getUpdates) go through `TelegramClient.call`, which builds no library objects; the
rest uses the library's Bot. The bot's token is part of every address, so no address reaches a log or an exception.
"""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from telegram import Bot
from telegram.error import NetworkError, TelegramError
from telegram.request import BaseRequest, RequestData
from yarl import URL

from channels.wire import Sessions, open_sessions
from kernel.types import Account, Json, OutgoingFile

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
DOWNLOAD_SECONDS = 60.0
UPLOAD_SECONDS = 60.0
_HEADERS = {"Content-Type": "application/json"}
# What a proxy in front of the API answers before it: by these the message is surely not sent.
_PLAIN_REFUSALS = {413: "Request Entity Too Large", 429: "Too Many Requests"}


class NotConnected(NetworkError):
    """No connection came about, so the request surely did not leave."""


class NoAnswer(NetworkError):
    """The request may have left, and no usable answer came back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Bot API said: its `result` when `ok`, else why not. `parameters` are its hints on what to do instead."""

    status: int
    ok: bool
    result: Any = None
    description: str = ""
    parameters: Json = field(default_factory=dict)


class ApiError(TelegramError):
    """The Bot API refused a call that was made through the library's Bot."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.description)
        self.answer = answer


def open_client(account: Account, base_url: str, sessions: Sessions | None = None) -> TelegramClient:
    """A client for one bot. `base_url` is the API's root, to which `/bot<token>/…` is added.

    Without `sessions` the client opens its own on `start` and closes them on `close`.
    """
    return TelegramClient(str(account.credentials.get("token") or ""), base_url, sessions)


class TelegramClient:
    """One bot's door to the Bot API. Use between `start` and `close`."""

    def __init__(self, token: str, base_url: str, sessions: Sessions | None = None) -> None:
        quoted = quote(token, safe=":")  # a token that is none must not become another path
        self._root = f"{base_url.rstrip('/')}/bot{quoted}"
        self._files = f"{base_url.rstrip('/')}/file/bot{quoted}"
        self._token = token
        self._owned = sessions is None
        self._sessions = sessions
        self._urls: dict[str, URL] = {}
        self._bot: Bot | None = None

    async def start(self) -> None:
        _silence_addresses()
        if self._sessions is None:
            self._sessions = open_sessions()

    async def close(self) -> None:
        if self._owned and self._sessions is not None:
            await self._sessions.close()
            self._sessions = None
            self._bot = None

    @property
    def bot(self) -> Bot:
        """The library's bot, for calls outside a turn. Its errors are TelegramError; `ApiError` carries the answer."""
        if self._bot is None:
            request = AiohttpRequest(self.sessions.send)
            root, files = self._root, self._files
            self._bot = Bot(self._token, lambda _: root, lambda _: files, request=request, get_updates_request=request)
        return self._bot

    @property
    def sessions(self) -> Sessions:
        if self._sessions is None:
            raise RuntimeError("the client is not started")
        return self._sessions

    async def call(self, method: str, parameters: Json, read_seconds: float = READ_SECONDS) -> Answer:
        """One Bot API call. Raises NotConnected or NoAnswer, and nothing else for what a network may do."""
        url = self._urls.get(method)
        if url is None:
            url = self._urls[method] = URL(f"{self._root}/{method}", encoded=True)
        session = self.sessions.poll if method == "getUpdates" else self.sessions.send
        body = orjson.dumps(parameters)
        status, payload = await exchange(session, "POST", url, body, _HEADERS, read_seconds)
        return answer_of(status, payload)

    async def upload(self, method: str, parameters: Mapping[str, str], field: str, file: OutgoingFile) -> Answer:
        """A call with a file in it. Raises NotConnected or NoAnswer.

        Source: https://core.telegram.org/bots/api#sending-files
        """
        form = aiohttp.FormData(parameters, quote_fields=False)  # Telegram takes names in UTF-8, and as they stand
        form.add_field(field, io.BytesIO(file.data), filename=file.name, content_type=file.mime)
        url = URL(f"{self._root}/{method}", encoded=True)
        status, payload = await exchange(self.sessions.send, "POST", url, form, None, UPLOAD_SECONDS)
        return answer_of(status, payload)

    async def download(self, path: str, limit: int) -> tuple[int, bytes]:
        """Status and bytes of a file; one byte more than `limit` at most. Raises NotConnected or NoAnswer."""
        url = URL(f"{self._files}/{quote(path)}", encoded=True)
        return await exchange(self.sessions.send, "GET", url, None, None, DOWNLOAD_SECONDS, most=limit + 1)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    body: bytes | aiohttp.FormData | None,
    headers: dict[str, str] | None,
    read_seconds: float,
    connect_seconds: float = CONNECT_SECONDS,
    most: int | None = None,
) -> tuple[int, bytes]:
    """Status and body of one HTTP exchange, tried once (aiohttp repeats only idempotent methods by itself).

    `most`: no more than so many bytes of the body are read. Raises NotConnected or NoAnswer, raised outside the handler
    so that no exception with the address hangs on them.
    """
    timeout = _timeout(connect_seconds, read_seconds)
    failure: NetworkError
    try:
        async with session.request(
            method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            return response.status, await _body_of(response, most)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        failure = NotConnected(type(error).__name__)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = NoAnswer(type(error).__name__)
    raise failure


async def _body_of(response: aiohttp.ClientResponse, most: int | None) -> bytes:
    if most is None:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk[: most - len(body)]
        if len(body) >= most:
            break
    return bytes(body)


@functools.cache
def _timeout(connect_seconds: float, read_seconds: float) -> aiohttp.ClientTimeout:
    """One timer for the whole call: a timer for each read would have to be set again with every piece of an answer."""
    return aiohttp.ClientTimeout(
        total=connect_seconds + read_seconds, connect=connect_seconds, sock_connect=connect_seconds
    )


def answer_of(status: int, payload: bytes) -> Answer:
    """Reads the Bot API's envelope. Raises NoAnswer when the body is not one.

    Source: https://core.telegram.org/bots/api#making-requests
    """
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("ok"), bool):
        if status in _PLAIN_REFUSALS:
            return Answer(status, ok=False, description=_PLAIN_REFUSALS[status])
        raise NoAnswer(f"HTTP {status} without a Bot API answer")
    if data["ok"] and 200 <= status < 300:
        if "result" not in data:
            raise NoAnswer("an answer without a result")
        return Answer(status, True, data["result"])
    parameters, description = data.get("parameters"), data.get("description")
    return Answer(
        status,
        ok=False,
        description=description if isinstance(description, str) else f"HTTP {status}",
        parameters=parameters if isinstance(parameters, dict) else {},
    )


class AiohttpRequest(BaseRequest):
    """The library's transport over a session that somebody else opens and closes."""

    __slots__ = ("_session",)

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @property
    def read_timeout(self) -> float | None:
        return READ_SECONDS

    async def initialize(self) -> None:
        """Nothing to do: the session is open."""

    async def shutdown(self) -> None:
        """Nothing to do: the session belongs to the process."""

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """One exchange. Raises ApiError for every refusal, so that none is told apart by its wording."""
        body = _body(request_data)
        headers = _HEADERS if isinstance(body, bytes) else None
        read = read_timeout if isinstance(read_timeout, int | float) else READ_SECONDS
        connect = connect_timeout if isinstance(connect_timeout, int | float) else CONNECT_SECONDS
        address = URL(url, encoded=True)
        status, payload = await exchange(self._session, method, address, body, headers, read, connect)
        if method == "GET" and 200 <= status < 300:
            return status, payload
        answer = answer_of(status, payload)
        if not answer.ok:
            raise ApiError(answer)
        return status, payload


def _body(request_data: RequestData | None) -> bytes | aiohttp.FormData | None:
    if request_data is None:
        return None
    if not request_data.contains_files:
        return orjson.dumps(request_data.parameters)
    form = aiohttp.FormData(request_data.json_parameters)
    for name, (filename, content, mime) in request_data.multipart_data.items():
        form.add_field(name, content, filename=filename, content_type=mime)
    return form


def _silence_addresses() -> None:
    """The library logs the API's address, token and all, and every parameter at debug level: not on our watch."""
    logging.getLogger("telegram.Bot").addFilter(_above_debug)


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
