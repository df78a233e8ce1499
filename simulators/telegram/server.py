"""Putting the simulator together: as an aiohttp application, or running in this process for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from simulators.telegram import people, snapshot
from simulators.telegram.api import Api
from simulators.telegram.control import Control
from simulators.telegram.delivery import Delivery
from simulators.telegram.faults import parse_fault
from simulators.telegram.pages import add_pages
from simulators.telegram.state import Bot, Config, JsonObject, World

WORLD = web.AppKey("world", World)
BODY_LIMIT = 64 * 1024 * 1024
SAVE_SECONDS = 1.0


def create_app(config: Config | None = None) -> web.Application:
    """The whole simulator. Routes: /bot…, /file/bot…, /sim/…, and the page at /."""
    config = config or Config()
    world = World(config)
    if config.state_file:
        snapshot.load(world, Path(config.state_file))
    if not world.bots or (config.bot_token and config.bot_token not in world.by_token):
        people.add_bot(world, config.bot_token, config.bot_username, config.bot_name)
    app = web.Application(client_max_size=BODY_LIMIT)
    app[WORLD] = world
    closing = asyncio.Event()
    api = Api(world, closing)
    control = Control(world, closing)
    app.router.add_route("*", "/bot{token:[^/]+}/{method}", api.call)
    app.router.add_get("/file/bot{token:[^/]+}/{path:.+}", api.download)
    control.add_routes(app)
    add_pages(app)

    async def running(_: web.Application) -> AsyncIterator[None]:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=config.webhook_timeout),
            ) as session,
            _saving(world),
        ):
            delivery = Delivery(world, session, api.execute)
            api.delivery = delivery
            await delivery.start()
            yield
            await delivery.stop()

    async def hang_up(_: web.Application) -> None:
        closing.set()

    app.on_shutdown.append(hang_up)
    app.cleanup_ctx.append(running)
    return app


@asynccontextmanager
async def _saving(world: World) -> AsyncIterator[None]:
    """With a state file: write it whenever something changed, at most once a second, and at the end."""
    if not world.config.state_file:
        yield
        return
    path = Path(world.config.state_file)

    stopping = asyncio.Event()

    async def keep() -> None:
        saved = -1
        while not stopping.is_set():
            if world.changes != saved:
                saved = world.changes
                await asyncio.to_thread(snapshot.write, path, snapshot.dump(world))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), SAVE_SECONDS)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        stopping.set()  # and not cancelled: a thread that writes would go on beside the last write
        await asyncio.gather(task, return_exceptions=True)
        snapshot.write(path, snapshot.dump(world))


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator. `url`: its root, to which clients append /bot<token>/…; `world`: the truth itself."""

    url: str
    world: World

    @property
    def bot(self) -> Bot:
        """The first bot."""
        return next(iter(self.world.bots.values()))

    def say(self, user_id: int, text: str, chat_id: int | None = None, **fields: object) -> JsonObject:
        """A user writes, to the first bot or in a group: chat_id, message_id, update_ids, message."""
        user = people.known_user(self.world, user_id)
        chat = people.find_chat(self.world, self.bot, user, chat_id)
        return people.write(self.world, chat, user, {"text": text, **fields}, {})

    def press(self, user_id: int, message_id: int, data: str, chat_id: int | None = None) -> str:
        """A user presses an inline button; the callback query's id."""
        user = people.known_user(self.world, user_id)
        chat = people.find_chat(self.world, self.bot, user, chat_id)
        return people.press(self.world, chat, user, message_id, data)[0]

    def fault(self, kind: str, method: str = "*", **fields: Any) -> int:
        """Arm a fault; its number. Raises ValueError for what `Fault` does not know."""
        return self.world.faults.add(parse_fault({"kind": kind, "method": method, **fields}))

    def sends(self, chat_id: int | None = None) -> list[JsonObject]:
        """Every accepted operation of bots, oldest first."""
        return [entry for entry in self.world.truth if chat_id is None or entry["chat_id"] == chat_id]


@asynccontextmanager
async def run_simulator(
    host: str = "127.0.0.1", port: int = 0, config: Config | None = None
) -> AsyncIterator[Simulator]:
    """Serve in this event loop; port 0 picks a free one."""
    app = create_app(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield Simulator(f"http://{host}:{bound}", app[WORLD])
    finally:
        await runner.cleanup()
