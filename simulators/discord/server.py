"""Putting the simulator together: as an aiohttp application, or running in this process for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from simulators.discord import interactions, people, seeding, snapshot
from simulators.discord.api import Api
from simulators.discord.control import Control
from simulators.discord.endpoint import Endpoint
from simulators.discord.faults import parse_fault
from simulators.discord.files import download
from simulators.discord.gateway import Gateway
from simulators.discord.pages import add_pages
from simulators.discord.params import Params, Upload
from simulators.discord.places import socket_url
from simulators.discord.state import Bot, Config, Interaction, JsonObject, World
from simulators.discord.striking import arm

WORLD = web.AppKey("world", World)
BODY_LIMIT = 64 * 1024 * 1024
SAVE_SECONDS = 1.0


def create_app(config: Config | None = None) -> web.Application:
    """The whole simulator. Routes: /api/v10/…, /gateway, /attachments/…, /sim/…, and the page at /."""
    config = config or Config()
    world = World(config)
    if config.state_file:
        snapshot.load(world, Path(config.state_file))
    if not world.guilds:
        seeding.found(world)
    if not world.bots or (config.bot_token and config.bot_token not in world.by_token):
        seeding.add_bot(world, config.bot_token, config.application_id, config.bot_name, config.private_key or "")
    app = web.Application(client_max_size=BODY_LIMIT)
    app[WORLD] = world
    closing = asyncio.Event()

    async def attachment(request: web.Request) -> web.StreamResponse:
        return download(world, request)

    Api(world, closing).add_routes(app)
    Control(world, closing).add_routes(app)
    add_pages(app)
    app.router.add_get("/gateway", Gateway(world, closing).serve)
    app.router.add_get("/gateway/", Gateway(world, closing).serve)
    app.router.add_get(r"/attachments/{channel:\d+}/{file:\d+}/{name}", attachment)

    async def running(_: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session, _saving(world):
            endpoint = Endpoint(world, session)
            world.deliver, world.verify = endpoint.deliver, endpoint.verify
            bot, wanted = next(iter(world.bots.values())), config.interactions_url or ""
            trying = asyncio.create_task(endpoint.keep_trying(bot, wanted)) if wanted else None
            yield
            if trying:
                trying.cancel()
                await asyncio.gather(trying, return_exceptions=True)
            await endpoint.stop()

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
                await asyncio.to_thread(snapshot.write, path, snapshot.dump_world(world))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), SAVE_SECONDS)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        stopping.set()  # and not cancelled: a thread that writes would go on beside the last write
        await asyncio.gather(task, return_exceptions=True)
        snapshot.write(path, snapshot.dump_world(world))


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator. `url`: its root; `world`: the truth itself."""

    url: str
    world: World

    @property
    def api_url(self) -> str:
        """What stands for https://discord.com/api/v10."""
        return f"{self.url}/api/v10"

    @property
    def gateway_url(self) -> str:
        """What stands for wss://gateway.discord.gg/."""
        return socket_url(self.url)

    @property
    def bot(self) -> Bot:
        """The first bot."""
        return next(iter(self.world.bots.values()))

    def say(self, user: str | int, content: str, channel: str | int | None = None, **fields: Any) -> JsonObject:
        """A person writes, to the first bot or in a channel; the message.

        reply_to: a message's id. files: bytes by name. bot: whose dialogue it is, when it is not the first's.
        """
        person = people.find_person(self.world, user)
        where = people.find_channel(self.world, person, channel, fields.get("bot"))
        given: dict[str, bytes] = fields.get("files") or {}
        files = {name: Upload(name, "application/octet-stream", data) for name, data in given.items()}
        return people.write(self.world, where, person, content, fields.get("reply_to"), Params({}, files)).message

    def press(
        self,
        user: str | int,
        message_id: str | int,
        custom_id: str,
        channel: str | int | None = None,
        values: list[str] | None = None,
    ) -> Interaction:
        """A person presses a button."""
        person = people.find_person(self.world, user)
        where = people.find_channel(self.world, person, channel)
        return interactions.press(self.world, where, person, int(message_id), custom_id, values)

    def command(self, user: str | int, name: str, channel: str | int | None = None, **options: Any) -> Interaction:
        """A person runs a slash command of the first bot."""
        person = people.find_person(self.world, user)
        where = people.find_channel(self.world, person, channel)
        return interactions.run_command(self.world, self.bot, where, person, name, options)

    def react(
        self, user: str | int, message_id: str | int, emoji: str, channel: str | int | None = None, remove: bool = False
    ) -> bool:
        """A person reacts, or takes a reaction away; False when nothing changes."""
        person = people.find_person(self.world, user)
        where = people.find_channel(self.world, person, channel)
        return people.react_as(self.world, where, person, int(message_id), emoji, remove)

    def fault(self, kind: str, method: str = "*", **fields: Any) -> int:
        """Arm a fault; its number. Raises ValueError for what `Fault` does not know."""
        return arm(self.world, parse_fault({"kind": kind, "method": method, **fields}))

    def sends(self, channel_id: str | int | None = None) -> list[JsonObject]:
        """Every accepted operation of bots, oldest first."""
        return [entry for entry in self.world.truth if channel_id is None or entry["channel_id"] == str(channel_id)]


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
        app[WORLD].root = f"http://{host}:{bound}"
        yield Simulator(app[WORLD].root, app[WORLD])
    finally:
        await runner.cleanup()
