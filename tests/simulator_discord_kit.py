"""What the Discord simulator's tests share: the real client pointed at it, without touching what other clients use."""

import asyncio
import struct
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from simulators.discord.server import Simulator, run_simulator
from simulators.discord.state import Config

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 drops; nothing here speaks.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord as discord

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 3, 2) + b"\x08\x02\0\0\0"
QUICK = Config(seed=7)
DISCORD = frozenset({"discord.com", "gateway.discord.gg"})


class Elsewhere(aiohttp.TCPConnector):
    """Connects to a simulator whenever Discord is meant: handed to one client, it leaves all others alone."""

    def __init__(self, root: str) -> None:
        super().__init__(limit=0)
        self._root = URL(root)

    async def connect(self, req: ClientRequest, traces: Any, timeout: Any) -> Any:
        if req.url.host in DISCORD:
            path = "/gateway" if req.url.host == "gateway.discord.gg" else req.url.raw_path
            prefix = self._root.raw_path.rstrip("/")
            scheme = {"https": "http", "wss": "ws"}.get(req.url.scheme, req.url.scheme)
            moved = self._root.with_scheme(scheme).with_path(prefix + path, encoded=True)
            req.url = moved.with_query(req.url.raw_query_string or None)
            req.headers["Host"] = f"{moved.host}:{moved.port}"
        return await super().connect(req, traces, timeout)


class Client(discord.Client):
    """The real client, which remembers the messages it was told of."""

    def __init__(self, root: str, intents: discord.Intents | None = None, **options: Any) -> None:
        super().__init__(intents=intents or discord.Intents.all(), connector=Elsewhere(root), **options)
        self.heard: list[discord.Message] = []
        self.events: list[str] = []
        self.failures: list[Any] = []

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """The real one waits five seconds before every identify but the first."""

    async def on_message(self, message: discord.Message) -> None:
        if message.author != self.user:
            self.heard.append(message)

    async def on_socket_event_type(self, name: str) -> None:
        self.events.append(name)

    def texts(self) -> list[str]:
        return [message.content for message in self.heard]


@asynccontextmanager
async def connected(
    sim: Simulator, intents: discord.Intents | None = None, token: str = "", **options: Any
) -> AsyncIterator[Client]:
    """A client that is logged in and ready."""
    async with Client(sim.url, intents, guild_ready_timeout=0.1, **options) as client:
        await client.login(token or sim.bot.token)
        running = asyncio.create_task(client.connect())
        try:
            async with asyncio.timeout(10):
                await client.wait_until_ready()
            yield client
        finally:
            await client.close()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def talking(config: Config = QUICK) -> AsyncIterator[tuple[Simulator, Client]]:
    """A simulator, and the real client connected to it."""
    async with run_simulator(config=config) as sim, connected(sim) as client:
        yield sim, client


def named(client: Client, name: str) -> discord.TextChannel:
    """A text channel of the guild."""
    channel = discord.utils.get(client.guilds[0].text_channels, name=name)
    assert channel
    return channel


def refusal(refused: pytest.ExceptionInfo[discord.HTTPException]) -> tuple[int, int]:
    """HTTP status and Discord's code."""
    return refused.value.status, refused.value.code


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the check reads a plain value of the server in this loop
            await asyncio.sleep(0.005)
