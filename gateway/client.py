"""The REST client of the commands, and where they find gateway and key."""

from __future__ import annotations

import asyncio
import json
import uuid
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.embedded.place import default_data_dir
from kernel.errors import ConfigError, ParleyError
from kernel.settings import Settings
from kernel.types import Json

_TRIES = 5
_LONGEST_WAIT = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
_GLANCE = aiohttp.ClientTimeout(total=3)
_CREDENTIALS = "credentials.json"


class CallFailed(ParleyError):
    """What the gateway refused, in its own words, or why it could not be asked."""

    def __init__(self, message: str, *, answered: int = 0, **more: Any) -> None:
        super().__init__(message, **more)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway and the key to talk to it with."""

    url: str
    api_key: str = field(repr=False)


def data_dir(options: Namespace, settings: Settings) -> Path:
    """--data-dir, else PARLEY_DATA_DIR, else the usual place."""
    if options.data_dir:
        return Path(options.data_dir).expanduser().resolve()
    if settings.data_dir != Settings().data_dir:
        return settings.data_dir.expanduser().resolve()
    return default_data_dir()


def find_target(options: Namespace) -> Target:
    """From the arguments, the environment, or the data directory's credentials. Raises ConfigError.

    The data directory's key is sent to the data directory's gateway only.
    """
    settings = Settings.read()
    url, key = options.url or settings.parley_url, options.api_key or settings.parley_api_key
    if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc):
        raise ConfigError(f"--url: {url!r} is not an http or https address")
    if url and key:
        return Target(url.rstrip("/"), key)
    folder = data_dir(options, settings)
    kept = credentials(folder)
    if kept is None:
        raise ConfigError(
            f"no gateway known: start one with `parley up`, or give --url and --api-key, or PARLEY_URL and"
            f" PARLEY_API_KEY ({folder / _CREDENTIALS} does not exist)"
        )
    if url and url.rstrip("/") != kept.url:
        raise ConfigError(f"no key for {url}: give --api-key or PARLEY_API_KEY (that of {folder} is for {kept.url})")
    return Target(kept.url, key or kept.api_key)


def credentials(folder: Path) -> Target | None:
    try:
        kept = json.loads((folder / _CREDENTIALS).read_text(encoding="utf-8"))
        return Target(str(kept["url"]), str(kept["api_key"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {folder / _CREDENTIALS}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / _CREDENTIALS} is damaged: delete it, and `parley up` makes a new key") from error


class Client:
    """Calls to one gateway. Make it with `connect`."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self.target = target

    async def get(self, path: str, **query: str | int) -> Any:
        return await self._call("GET", path, None, query)

    async def post(self, path: str, body: Any = None) -> Any:
        return await self._call("POST", path, body, {})

    async def put(self, path: str, body: Any) -> Any:
        return await self._call("PUT", path, body, {})

    async def patch(self, path: str, body: Any) -> Any:
        return await self._call("PATCH", path, body, {})

    async def delete(self, path: str) -> Any:
        return await self._call("DELETE", path, None, {})

    async def items(self, path: str, **query: str | int) -> list[dict[str, Any]]:
        """Every item of a list, over all its pages."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=100, **query, **cursor)
            found += page["items"]
            if not page["next_cursor"]:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def stream(self, path: str, body: Any) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events: name and data of each. Raises CallFailed."""
        try:
            async with self._session.post(self.target.url + path, data=orjson.dumps(body)) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                async for event in events(response.content):
                    yield event
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _call(self, method: str, path: str, body: Any, query: dict[str, str | int]) -> Any:
        """One call; when the gateway is busy it is tried again, under one Idempotency-Key, as it asks for."""
        headers = {} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}
        data = None if body is None else orjson.dumps(body)
        for left in reversed(range(_TRIES)):
            try:
                async with self._session.request(
                    method, self.target.url + path, params=query, data=data, headers=headers
                ) as response:
                    raw = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self._unreachable(error) from error
            if response.status < 400:
                return orjson.loads(raw) if raw else None
            refusal = _refusal(response.status, raw)
            wait = refusal.retry_after
            if left == 0 or response.status not in (429, 503) or wait is None or wait > _LONGEST_WAIT:
                raise refusal
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    def _unreachable(self, error: BaseException) -> CallFailed:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return CallFailed(f"cannot reach {self.target.url} ({why}): is it running? `parley up` starts it")


def _refusal(status: int, raw: bytes) -> CallFailed:
    try:
        body = orjson.loads(raw)
        return CallFailed(
            body["message"],
            answered=status,
            code=body["code"],
            details=body["details"],
            retry_after=body["retry_after"],
        )
    except (ValueError, KeyError, TypeError):
        return CallFailed(f"the answer was HTTP {status} and not Parley's: is this the right address?", answered=status)


async def events(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """The events of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html), data read as JSON."""
    name = "message"
    data: list[str] = []
    async for raw in lines:
        line = raw.decode().rstrip("\r\n")
        field_, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, orjson.loads("\n".join(data))
            name, data = "message", []
        elif field_ == "event":
            name = value
        elif field_ == "data":
            data.append(value)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    """A client for as long as the block lasts."""
    headers = {"X-API-Key": target.api_key, "Content-Type": "application/json", "User-Agent": "parley-cli"}
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers, read_bufsize=1 << 20) as session:
        yield Client(session, target)


async def fetch(url: str, key: str = "") -> tuple[int, dict[str, Any]]:
    """One look at an address: status, and the body where it is a JSON object. Raises CallFailed."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with aiohttp.ClientSession(timeout=_GLANCE) as session, session.get(url, headers=headers) as response:
            raw = await response.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise CallFailed(str(error) or type(error).__name__) from error
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = {}
    return response.status, body if isinstance(body, dict) else {}


async def put(url: str, body: Json) -> None:
    """Hands a program on this machine a JSON object. Raises CallFailed."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_GLANCE) as session,
            session.put(url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}) as response,
        ):
            if response.status >= 400:
                raise CallFailed(f"{url}: HTTP {response.status}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise CallFailed(str(error) or type(error).__name__) from error


async def hand_on(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Gives a message to somebody's program and returns its status. Raises CallFailed."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return response.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise CallFailed(str(error) or type(error).__name__) from error
