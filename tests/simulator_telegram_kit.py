"""What the Telegram simulator's tests share: the real client pointed at it, and a webhook receiver."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from telegram import Bot, Update

from simulators.telegram.server import Simulator, run_simulator
from simulators.telegram.state import Config, JsonObject
from simulators.telegram.webhook import SECRET_HEADER

ANN = 1001
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 3, 2) + b"\x08\x02\0\0\0"
QUICK = Config(retry_base=0.01, seed=7)


@asynccontextmanager
async def talking(config: Config = QUICK) -> AsyncIterator[tuple[Simulator, Bot]]:
    """A simulator, and the real client's Bot pointed at it."""
    async with run_simulator(config=config) as sim:
        bot = Bot(sim.bot.token, base_url=f"{sim.url}/bot", base_file_url=f"{sim.url}/file/bot")
        async with bot:
            yield sim, bot


@dataclass
class Receiver:
    """A webhook end point: remembers what came and answers as told."""

    url: str = ""
    updates: list[JsonObject] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    answer: JsonObject | None = None
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    gate: Callable[[JsonObject], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        update = await request.json()
        if self.gate:
            await self.gate(update)
        async with self.came:
            self.updates.append(update)
            self.secrets.append(request.headers.get(SECRET_HEADER, ""))
            self.came.notify_all()
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return web.Response(status=status)
        return web.json_response(self.answer) if self.answer else web.Response()

    async def until(self, count: int) -> list[JsonObject]:
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.updates) >= count)
        return self.updates

    def texts(self) -> list[str]:
        return [update["message"]["text"] for update in self.updates]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the check reads a plain value of the server in this loop
            await asyncio.sleep(0.005)


def texts(updates: Iterable[Update]) -> list[str | None]:
    return [update.message.text for update in updates if update.message]
