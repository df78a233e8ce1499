"""Putting the simulator together: as an aiohttp application, or running in this process for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from simulators.slack import assistant, interactions, people, snapshot
from simulators.slack.api import Api
from simulators.slack.control import Control
from simulators.slack.delivery import Delivery
from simulators.slack.errors import Refused
from simulators.slack.founding import found_world, point, settle
from simulators.slack.gestures import Gestures
from simulators.slack.outages import arm
from simulators.slack.pages import add_pages
from simulators.slack.sockets import Sockets
from simulators.slack.state import Config, World
from simulators.slack.values import App, Installation, JsonObject, Team
from simulators.slack.views import open_view

WORLD = web.AppKey("slack_world", World)
SOCKETS = web.AppKey("slack_sockets", Sockets)
CONTROL = web.AppKey("slack_control", Control)
BODY_LIMIT = 64 * 1024 * 1024
SAVE_SECONDS = 1.0

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(config: Config | None = None) -> web.Application:
    """The whole simulator. Routes: /api/…, /link/, /sim/…; may be mounted under a prefix as a sub-application."""
    config = config or Config()
    world = found_world(config)
    if not (config.state_file and snapshot.load(world, Path(config.state_file))):
        settle(world)
    point(world, config)
    app = web.Application(client_max_size=BODY_LIMIT)
    closing = asyncio.Event()
    sockets = Sockets(world)
    api = Api(world, sockets, closing)
    control = Control(world, sockets, closing)
    app[WORLD], app[SOCKETS], app[CONTROL] = world, sockets, control
    api.add_routes(app)
    app.router.add_get("/link/", sockets.connect)
    control.add_routes(app)
    Gestures(world, control).add_routes(app)
    add_pages(app)
    root = next(iter(app.router.resources()))

    @web.middleware
    async def learn_url(request: web.Request, handler: Next) -> web.StreamResponse:
        # Links to this server are made from where the app reaches it; a prefix shows in the first route.
        prefix = root.canonical.removesuffix("/api/{method}")
        if not config.public_url and (not world.url or request.path.startswith(f"{prefix}/api/")):
            world.url = f"{request.url.origin()}{prefix}"
        return await handler(request)

    app.middlewares.append(learn_url)

    async def running(_: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=100, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session, _saving(world):
            delivery = Delivery(world, sockets, session)
            control.delivery = delivery
            await delivery.start()
            yield
            await delivery.stop()

    async def hang_up(_: web.Application) -> None:
        closing.set()
        await sockets.cut()

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
    """A running simulator. url: its root; api_url: what clients take as base_url; world: the truth itself.

    People and channels are named: "ada", "#support"; without a channel, the person's direct messages with the bot.
    """

    url: str
    world: World
    control: Control
    sockets: Sockets

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def app(self) -> App:
        return self.world.app

    @property
    def bot(self) -> Installation:
        """The first installation."""
        return next(iter(self.world.installations.values()))

    def team(self, which: str | None = None) -> Team:
        return people.find_team(self.world, which)

    def channel(self, name: str, team: str | None = None) -> str:
        """The id of a channel, or of a person's direct messages with the bot."""
        home = self.team(team)
        try:
            return people.find_channel(self.world, home, None, name).id
        except Refused:
            return people.find_channel(self.world, home, people.find_user(self.world, home, name), None).id

    def user(self, name: str, team: str | None = None) -> str:
        return people.find_user(self.world, self.team(team), name).id

    def say(
        self, user: str, text: str, channel: str | None = None, thread_ts: str = "", team: str | None = None
    ) -> JsonObject:
        """A person writes: team, channel, ts, message. Raises Refused."""
        home = self.team(team)
        person = people.find_user(self.world, home, user)
        place = people.find_channel(self.world, home, person, channel)
        return people.write(self.world, place, person, text, thread_ts)

    def react(self, user: str, channel: str | None, ts: str, name: str, away: bool = False) -> JsonObject:
        """A person adds a reaction to a message or takes it away."""
        home = self.team()
        person = people.find_user(self.world, home, user)
        place = people.find_channel(self.world, home, person, channel)
        return people.react(self.world, place, person, ts, name, away)

    def press(
        self, user: str, channel: str | None, ts: str, action_id: str, value: str | None = None, block_id: str = ""
    ) -> str:
        """A person presses a button of a message; the number under which `outcome` tells what came of it."""
        home = self.team()
        person = people.find_user(self.world, home, user)
        place = people.find_channel(self.world, home, person, channel)
        action = {"action_id": action_id, "value": value, "block_id": block_id}
        return interactions.press(self.world, people.home_of(self.world, home), place, person, ts, action)

    def command(self, user: str, name: str, text: str = "", channel: str | None = None) -> str:
        """A person runs a slash command; its number."""
        home = self.team()
        person = people.find_user(self.world, home, user)
        place = people.find_channel(self.world, home, person, channel)
        return interactions.command(self.world, people.home_of(self.world, home), place, person, name, text)

    def submit(self, user: str, values: JsonObject, view: str = "") -> str:
        """A person fills in and submits a modal, the topmost unless named; its number."""
        home = self.team()
        person = people.find_user(self.world, home, user)
        shown = open_view(self.world, person, view)
        return interactions.submit(self.world, people.home_of(self.world, home), person, shown, values)

    def open_thread(self, user: str, context: str | None = None) -> JsonObject:
        """A person opens the assistant: team, channel, ts."""
        home = self.team()
        person = people.find_user(self.world, home, user)
        around = people.find_channel(self.world, home, person, context) if context else None
        return assistant.open_thread(self.world, people.home_of(self.world, home), person, around)

    def outcome(self, number: str) -> JsonObject:
        """What came of an interaction: done, ok, error and, when done, what the app answered."""
        return self.world.interactions[number]

    def fault(self, kind: str, method: str = "*", **fields: Any) -> int:
        """Arm a fault; its number. Raises ValueError for what `Fault` does not know."""
        return arm(self.world, self.sockets, {"kind": kind, "method": method, **fields})

    def sends(self, channel: str | None = None) -> list[JsonObject]:
        """Every accepted operation of the app, oldest first; in one channel by its id or name."""
        if channel is not None and channel not in self.world.channels:
            channel = self.channel(channel)
        return [entry for entry in self.world.truth if channel is None or entry["channel"] == channel]

    async def subscribe(self, request_url: str) -> None:
        """Set the request URL after the app answered its challenge. Raises Refused."""
        if self.control.delivery is None:
            raise Refused("the simulator is not running")
        if problem := await self.control.delivery.verify(request_url):
            raise Refused(problem)
        self.app.request_url, self.app.verified = request_url, True


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
        url = f"http://{host}:{runner.addresses[0][1]}"
        world = app[WORLD]
        world.url = world.url or url
        yield Simulator(url, world, app[CONTROL], app[SOCKETS])
    finally:
        await runner.cleanup()
