"""The gateway socket, spoken by discord.py: hello, heartbeats, compression, identify and resume are its work.

Taken from it is `DiscordWebSocket` alone. Its Client would keep a picture of every guild in memory, reconnect in ways
that nobody is told of, and find the gateway by a global. Importing it costs a fifth of a second and some megabytes, so
this module is imported by `channels.discord.listen` when a bot listens, and by nobody else.

Source: https://docs.discord.com/developers/events/gateway
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import yarl

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # audioop, for voice
    import discord
    from discord.gateway import DiscordWebSocket, ReconnectWebSocket
    from discord.http import HTTPClient

from kernel.types import Disconnected

HANDSHAKE_SECONDS = 30.0
STEADY_SECONDS = 10.0  # a connection that held as long begins a new count
REFUSALS = {
    4004: "the bot token is not, or no longer, valid",
    4010: "Discord does not accept the shard",
    4011: "the bot is in so many servers that it needs several connections",
    4012: "Discord speaks this version of its gateway no more",
    4013: "Discord does not know one of the intents",
    4014: "the Message Content Intent is off: switch it on in the Developer Portal under Bot, "
    "or set the bot's setting message_content to false",
}
logging.getLogger("discord").setLevel(logging.ERROR)  # it tells of every reconnect, and at debug level of every message


def intents(*, message_content: bool) -> discord.Intents:
    """What Discord tells us of. Content is told without the privileged intent, too, in direct messages and where the
    bot is mentioned."""
    wanted = discord.Intents.none()
    wanted.guilds = wanted.messages = wanted.reactions = True
    wanted.message_content = message_content
    return wanted


class _Dialler(HTTPClient):
    """Opens sockets over a session of ours, and makes no other call."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession, token: str) -> None:
        super().__init__(loop)
        self.token = token
        self._dialling = session

    async def ws_connect(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        timeout = aiohttp.ClientWSTimeout(ws_close=2.0)
        return await self._dialling.ws_connect(
            url, max_msg_size=0, autoclose=False, timeout=timeout, headers={"User-Agent": self.user_agent}
        )


class _Bot(discord.Client):
    """What the socket asks for its token, intents and loop."""

    def __init__(self, session: aiohttp.ClientSession, token: str, wanted: discord.Intents) -> None:
        super().__init__(intents=wanted, max_messages=None, chunk_guilds_at_startup=False)
        self.loop = asyncio.get_running_loop()
        self.http = _Dialler(self.loop, session, token)
        self._connection.parsers.clear()  # which would build that picture

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Nobody listens to the library's events."""


class Connection:
    """One session with the gateway. `url` is where it begins; `frame` gets every payload, as text, in order; `room`
    is waited for before more is read."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        wanted: discord.Intents,
        frame: Callable[[str], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._bot = _Bot(session, token, wanted)
        self._room = room
        self._socket: DiscordWebSocket | None = None
        self._kind = _socket_class(yarl.URL(url), frame, self._made)

    @property
    def session_id(self) -> str:
        return (self._socket.session_id if self._socket else None) or ""

    def _made(self, socket: DiscordWebSocket) -> None:
        self._socket = socket

    async def run(self, resumes: int) -> None:
        """Resumes the session as long as Discord lets us, at most `resumes` times in a row, then raises Disconnected:
        what was said between two sessions is for the history to tell."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._read()
            except ReconnectWebSocket as again:
                if not again.resume:
                    raise Disconnected("away", "Discord ended the session", retry_after=5.0) from None
            except discord.ConnectionClosed as closed:
                raise _ended(closed.code) from None
            except (OSError, aiohttp.ClientError, TimeoutError) as error:
                if not self.session_id:
                    raise Disconnected("away", f"no connection to the gateway: {type(error).__name__}") from None
            await self._hang_up(4000)  # with 1000 Discord would forget the session
            failures = 1 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            if failures > resumes:
                raise Disconnected("away", "the gateway cannot be reached", retry_after=5.0)
            await asyncio.sleep(0 if failures == 1 else min(2.0**failures / 8, 5.0))

    async def _read(self) -> None:
        socket = await asyncio.wait_for(self._open(), HANDSHAKE_SECONDS)
        while True:
            await socket.poll_event()
            await self._room()

    async def _open(self) -> DiscordWebSocket:
        before = self._socket
        if before is None or not before.session_id:
            return await self._kind.from_client(self._bot, initial=True)
        return await self._kind.from_client(
            self._bot, gateway=before.gateway, session=before.session_id, sequence=before.sequence, resume=True
        )

    async def close(self) -> None:
        """Gives the session up, too."""
        await self._hang_up(1000)

    async def _hang_up(self, code: int) -> None:
        if self._socket is not None:  # even when it is closed: its heartbeat has a thread of its own
            with suppress(OSError, aiohttp.ClientError):
                await self._socket.close(code=code)


def _socket_class(
    url: yarl.URL, frame: Callable[[str], None], made: Callable[[DiscordWebSocket], None]
) -> type[DiscordWebSocket]:
    class Socket(DiscordWebSocket):
        DEFAULT_GATEWAY = url

        def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(socket, loop=loop)
            made(self)  # at once, so that it can be closed however far it gets

        def log_receive(self, data: Any, /) -> None:
            frame(data)

    return Socket


def _ended(code: int | None) -> Disconnected:
    if code in REFUSALS:
        return Disconnected("refused", REFUSALS[code])
    return Disconnected("away", f"the gateway closed the connection ({code})")
