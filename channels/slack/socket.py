"""Socket Mode over slack_sdk's aiohttp client. https://docs.slack.dev/apis/events-api/using-socket-mode

Slack asks for a new connection every few hours. slack_sdk would close the old one before it opens the new one, and
acknowledge on the new one what came over the old one. Commands and button presses are not sent again, so here the new
connection is open before the old one is given up, and each envelope is acknowledged where it came from.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from channels.slack.client import CONNECT_SECONDS, SDK_SECONDS, SlackClient
from kernel import log
from kernel.types import Disconnected, Json, Take

_log = log.get("slack.socket")

PING_SECONDS = 5.0
LOOK_SECONDS = 1.0
HELLO_SECONDS = 10.0
DRAIN_SECONDS = 3.0  # for envelopes that are being committed when a connection is given up
_QUIET = logging.getLogger("slack_sdk.socket_mode.parley")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False  # it logs each retry with a traceback, and addresses that are as good as a token
_BUSY = ("ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout")


class Link(SocketModeClient):
    """One connection. It never makes another by itself: `ended` tells that one is wanted, or that this one is gone."""

    def __init__(self, app_token: str, web: AsyncWebClient, take: Take, alive: Callable[[], None]) -> None:
        super().__init__(app_token, logger=_QUIET, web_client=web, ping_interval=PING_SECONDS)
        self.ended = asyncio.Event()
        self.greeted = asyncio.Event()
        self.connections = 0
        self.reason = ""
        self._take, self._alive = take, alive
        self._busy: set[asyncio.Future[Any]] = set()
        self.message_listeners.append(self._heard)
        self.socket_mode_request_listeners.append(self._envelope)

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """slack_sdk calls this when Slack asks for a new connection (`force`), and when it finds this one gone."""
        self.ended.set()

    async def run_message_listeners(self, message: Json, raw_message: str) -> None:
        if message.get("type") == "disconnect":
            self.reason = str(message.get("reason") or "")
        await super().run_message_listeners(message, raw_message)

    async def _heard(self, _: AsyncBaseSocketModeClient, message: Json, raw: str | None = None) -> None:
        self._alive()
        if message.get("type") == "hello":
            self.connections = int(message.get("num_connections") or 1)
            self.greeted.set()

    async def _envelope(self, _: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Commits, then acknowledges. What could not be committed is not acknowledged: Slack sends events again."""
        task = asyncio.ensure_future(self._take(request.payload, json.dumps(request.payload).encode()))
        self._busy.add(task)
        try:
            answer = await task
            await self.send_socket_mode_response(SocketModeResponse(request.envelope_id, answer))
        except Exception as error:
            _log.warning("slack.socket.not_acknowledged", kind=request.type, error=repr(error))
        finally:
            self._busy.discard(task)

    async def leave(self) -> None:
        """Gives the connection up, when what is being committed has been acknowledged."""
        if self._busy:
            await asyncio.wait(self._busy, timeout=DRAIN_SECONDS)
            await asyncio.sleep(0)  # for the acknowledgements to leave
        await self.close()  # type: ignore[no-untyped-call]


async def run(client: SlackClient, take: Take, alive: Callable[[], None]) -> None:
    """Holds a connection, a new one whenever Slack asks for it. Runs until cancelled, or raises Disconnected."""
    web = AsyncWebClient(base_url=client.base_url, timeout=SDK_SECONDS)
    link = await _connected(client, web, take, alive, ours=1)
    leaving: set[asyncio.Task[None]] = set()
    try:
        while True:
            await _until_ended(link, alive)
            if link.reason == "link_disabled":
                raise Disconnected("refused", "Socket Mode is switched off in the app's settings")
            if link.reason == "too_many_websockets":
                raise Disconnected("conflict", "the app has as many connections as Slack allows")
            if not link.reason:
                raise Disconnected("away", "the connection is gone")
            before, link = link, await _connected(client, web, take, alive, ours=2)
            going = asyncio.create_task(before.leave())
            leaving.add(going)
            going.add_done_callback(leaving.discard)
    finally:
        await asyncio.shield(asyncio.gather(link.leave(), *leaving, return_exceptions=True))


async def _until_ended(link: Link, alive: Callable[[], None]) -> None:
    """Returns when another connection is wanted. Pongs are a sign of life: slack_sdk notes the last one."""
    ponged = link.last_ping_pong_time
    while not link.ended.is_set() and link.current_session is not None and not link.current_session.closed:
        try:
            await asyncio.wait_for(link.ended.wait(), LOOK_SECONDS)
        except TimeoutError:
            if link.last_ping_pong_time not in (None, ponged):
                ponged = link.last_ping_pong_time
                alive()


async def _connected(
    client: SlackClient, web: AsyncWebClient, take: Take, alive: Callable[[], None], ours: int
) -> Link:
    """A connection that Slack has greeted. `ours` is how many we hold then. Raises Disconnected."""
    address = await _address(client, web)
    link = Link(client.app_token, web, take, alive)
    link.wss_uri = address
    try:
        async with asyncio.timeout(CONNECT_SECONDS + HELLO_SECONDS):
            await link.connect()  # type: ignore[no-untyped-call]
            greeting = asyncio.ensure_future(link.greeted.wait())
            ending = asyncio.ensure_future(link.ended.wait())
            try:
                await asyncio.wait((greeting, ending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                greeting.cancel()
                ending.cancel()
    except TimeoutError:
        await link.leave()
        raise Disconnected("away", "no connection came about") from None
    except BaseException:
        await link.leave()
        raise
    if link.connections > ours:
        _log.warning("slack.socket.shared", account=client.account.account_id, connections=link.connections)
    return link


async def _address(client: SlackClient, web: AsyncWebClient) -> str:
    """Where to connect, good once. Raises Disconnected."""
    failure: Disconnected
    try:
        opened = await web.apps_connections_open(app_token=client.app_token)
        return str(opened["url"])
    except SlackApiError as error:
        failure = _refusal(error)
    except (aiohttp.ClientError, SlackClientError, TimeoutError, OSError) as error:
        failure = Disconnected("away", type(error).__name__)
    raise failure


def _refusal(error: SlackApiError) -> Disconnected:
    said: Any = error.response
    data = getattr(said, "data", None)
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    headers = getattr(said, "headers", None) or {}
    if code and code not in _BUSY and getattr(said, "status_code", 200) < 500:
        return Disconnected("refused", code)
    after = str(headers.get("Retry-After", ""))
    return Disconnected("away", code or "no answer that makes sense", float(after) if after.isdecimal() else None)
