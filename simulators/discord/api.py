"""The door for bots: /api/v10/…, with limits and faults on the way in and out."""

import asyncio
import inspect
import socket
import struct
from contextlib import suppress
from functools import partial

from aiohttp import web

from simulators.discord.calls import Call, Status
from simulators.discord.errors import ApiError, not_found, too_many_requests, unauthorized, unknown
from simulators.discord.faults import CALM, Fault, Plan
from simulators.discord.limits import bucket_hash, limit_headers
from simulators.discord.params import read_params
from simulators.discord.places import root_of
from simulators.discord.routes import ROUTES, Route
from simulators.discord.state import Bot, Interaction, World
from simulators.discord.wire import dump

PREFIX = r"/api/v{version:9|10}"
HANG_POLL = 0.05
BAN = "error code: 1015"


class Api:
    """Answers bots. `closing` ends calls that a fault left hanging."""

    def __init__(self, world: World, closing: asyncio.Event) -> None:
        self._world = world
        self._closing = closing

    def add_routes(self, app: web.Application) -> None:
        for route in ROUTES:
            app.router.add_route(route.verb, PREFIX + route.path, partial(self._call, route))
        app.router.add_route("*", "/api/{tail:.*}", self._nothing)

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        return self._refused(request, "unknown", not_found(), {})

    async def _call(self, route: Route, request: web.Request) -> web.StreamResponse:
        if self._world.faults.lasts("outage", None):
            self._world.count(route.name, "outage")
            return web.Response(status=503, text="upstream connect error", content_type="text/plain")
        if (left := self._banned(request)) > 0:
            return web.Response(status=429, text=BAN, content_type="text/plain", headers={"Retry-After": f"{left:.0f}"})
        self._world.root = root_of(request, "/api/v")
        try:
            bot, interaction = self._caller(route, request)
            params = await read_params(request)
        except ApiError as error:
            return self._refused(request, route.name, error, {})
        channel = _channel(request, interaction)
        call = Call(
            self._world, bot, route.name, request.match_info, request.query, params, self._world.root, interaction
        )
        plan = self._world.faults.for_call(route.name, bot.id, channel)
        if plan is CALM:
            return await self._run(route, request, call)
        return await self._troubled(route, request, call, plan)

    def _caller(self, route: Route, request: web.Request) -> tuple[Bot, Interaction | None]:
        """Who calls: the bot, and the interaction whose token is in the URL. Raises ApiError."""
        if route.auth in ("interaction", "webhook"):
            return self._holder(route, request)
        bot = self._world.by_token.get(request.headers.get("Authorization", "").removeprefix("Bot "))
        if bot is None and route.auth == "nobody":
            bot = next(iter(self._world.bots.values()))
        if bot is None:
            raise unauthorized()
        return bot, None

    def _holder(self, route: Route, request: web.Request) -> tuple[Bot, Interaction]:
        found = self._world.tokens.get(request.match_info["token"])
        if route.auth == "interaction":
            if found is None or str(found.id) != request.match_info["interaction"]:
                raise unknown(10062)
        elif found is None or str(found.bot) != request.match_info["application"]:
            raise unknown(10015)
        elif found.asked < self._world.now() - self._world.config.token_seconds:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return self._world.bots[found.bot], found

    async def _run(self, route: Route, request: web.Request, call: Call) -> web.StreamResponse:
        """Execute one call within its limits."""
        headers: dict[str, str] = {}
        try:
            headers = self._limited(route, request, call)
            result = route.handler(call)
            if inspect.isawaitable(result):
                result = await result
        except ApiError as error:
            return self._refused(request, route.name, error, headers)
        self._world.count(route.name, "ok")
        status = result if isinstance(result, Status) else Status(200, result)
        return _answer(status.code, status.body, headers)

    def _limited(self, route: Route, request: web.Request, call: Call) -> dict[str, str]:
        """Count the call; the headers that say what is left. Raises ApiError with them when it is too much."""
        world = self._world
        config = world.config
        if not config.flood:
            return {}
        rate = config.limits.rate(route.name)
        major = call.path.get("channel") or call.path.get("guild") or call.path.get("token") or ""
        verdict = world.counters.take(f"{call.bot.id}:{route.name}:{major}", rate, world.tick())
        headers = limit_headers(bucket_hash(config.seed, route.name), verdict, world.now())
        if verdict.retry_after:
            error = too_many_requests(verdict.retry_after, "user")
            error.headers |= headers
            raise error
        if route.auth in ("bot", "nobody"):
            whole = world.counters.take(f"{call.bot.id}:global", config.limits.bot, world.tick())
            if whole.retry_after:
                raise too_many_requests(whole.retry_after, "global")
        return headers

    def _refused(self, request: web.Request, name: str, error: ApiError, headers: dict[str, str]) -> web.Response:
        self._world.count(name, str(error.status))
        if error.status in (401, 403) or (error.status == 429 and error.headers.get("X-RateLimit-Scope") != "shared"):
            rate = self._world.config.limits.invalid
            self._world.counters.take(f"invalid:{request.remote}", rate, self._world.tick())
        return _answer(error.status, error.payload(), headers | error.headers)

    def _banned(self, request: web.Request) -> float:
        """Seconds for which this address gets nothing but 429 for its invalid requests."""
        if not self._world.config.flood:
            return 0.0
        used, left = self._world.counters.used(f"invalid:{request.remote}", self._world.tick())
        return left if used >= self._world.config.limits.invalid.count else 0.0

    async def _troubled(self, route: Route, request: web.Request, call: Call, plan: Plan) -> web.StreamResponse:
        if plan.delay:
            await asyncio.sleep(plan.delay)
        fault = plan.fault
        if fault is None:
            return await self._run(route, request, call)
        if fault.kind == "status":
            return self._refused(request, route.name, _told(fault), {})
        if fault.kind in ("drop_after", "hang_after"):
            await self._run(route, request, call)
        else:
            self._world.count(route.name, fault.kind)
        if fault.kind in ("hang", "hang_after"):
            await self._hang(request)
        reset(request)
        return web.Response()

    async def _hang(self, request: web.Request) -> None:
        while request.transport and not request.transport.is_closing() and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), HANG_POLL)


def _told(fault: Fault) -> ApiError:
    if fault.status == 429:
        return too_many_requests(fault.retry_after or 1.0, fault.scope)
    return ApiError(fault.status, fault.code, fault.description)


def _channel(request: web.Request, interaction: Interaction | None) -> int | None:
    if interaction:
        return interaction.channel
    number = request.match_info.get("channel")
    return int(number) if number else None


def _answer(status: int, body: object, headers: dict[str, str]) -> web.Response:
    if status == 204:
        return web.Response(status=204, headers=headers)
    return web.Response(status=status, body=dump(body), headers=headers | {"Content-Type": "application/json"})


def reset(request: web.Request) -> None:
    """End the connection with a TCP reset instead of an answer."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
