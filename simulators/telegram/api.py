"""The door for bots: /bot<token>/<method> and /file/bot<token>/<path>, with faults on the way in and out."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web

from simulators.telegram.delivery import Delivery
from simulators.telegram.errors import ApiError, too_many_requests
from simulators.telegram.faults import CALM, Fault, Plan
from simulators.telegram.methods import METHODS
from simulators.telegram.params import Params, read_params
from simulators.telegram.state import Bot, World

UNAUTHORIZED = ApiError(401, "Unauthorized")
NOT_FOUND = ApiError(404, "Not Found")
HANG_POLL = 0.05

Reply = tuple[int, bytes]


class Api:
    """Answers bots. `closing` ends calls that a fault left hanging."""

    def __init__(self, world: World, closing: asyncio.Event) -> None:
        self._world = world
        self._closing = closing
        self.delivery: Delivery | None = None

    async def call(self, request: web.Request) -> web.StreamResponse:
        bot = self._world.by_token.get(request.match_info["token"])
        if bot is None:
            return _response(_refusal(UNAUTHORIZED))
        method = request.match_info["method"]
        try:
            params = await read_params(request)
        except ApiError as error:
            return _response(_refusal(error))
        plan = self._world.faults.for_call(method, bot.id, params.whole("chat_id") or None)
        if plan is CALM:
            return _response(await self.run(bot, method, params))
        return await self._troubled(request, bot, method, params, plan)

    async def run(self, bot: Bot, method: str, params: Params) -> Reply:
        """Execute one method: status and body."""
        name = method.lower()
        try:
            result = await self._result(bot, name, params)
        except ApiError as error:
            self._world.count(method, str(error.code))
            return _refusal(error)
        self._world.count(method, "ok")
        return 200, orjson.dumps({"ok": True, "result": result}, option=orjson.OPT_NON_STR_KEYS)

    async def execute(self, bot: Bot, method: str, values: dict[str, Any]) -> None:
        """A call that came as the answer to a webhook: its result goes nowhere."""
        await self.run(bot, method, Params(values))

    async def _result(self, bot: Bot, name: str, params: Params) -> Any:
        if found := METHODS.get(name):
            return found(self._world, bot, params)
        waiting = {
            "getupdates": self.delivery.get_updates,
            "setwebhook": self.delivery.set_webhook,
            "deletewebhook": self.delivery.delete_webhook,
        } if self.delivery else {}  # fmt: skip
        if name not in waiting:
            raise NOT_FOUND
        return await waiting[name](bot, params)

    async def _troubled(
        self, request: web.Request, bot: Bot, method: str, params: Params, plan: Plan
    ) -> web.StreamResponse:
        if plan.delay:
            await asyncio.sleep(plan.delay)
        fault = plan.fault
        if fault is None:
            return _response(await self.run(bot, method, params))
        if fault.kind == "status":
            self._world.count(method, str(fault.code))
            return _response(_refusal(_told(fault)))
        if fault.kind in ("drop_after", "hang_after"):
            await self.run(bot, method, params)
        else:
            self._world.count(method, fault.kind)
        if fault.kind in ("hang", "hang_after"):
            await self._hang(request)
        reset(request)
        return web.Response()

    async def _hang(self, request: web.Request) -> None:
        while request.transport and not request.transport.is_closing() and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), HANG_POLL)

    async def download(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] not in self._world.by_token:
            return _response(_refusal(UNAUTHORIZED))
        file = self._world.paths.get(request.match_info["path"])
        if file is None:
            return _response(_refusal(NOT_FOUND))
        return web.Response(body=file.data, content_type=file.mime or "application/octet-stream")


def _told(fault: Fault) -> ApiError:
    if fault.code == 429:
        return too_many_requests(max(1, fault.retry_after))
    if fault.retry_after:
        return ApiError(fault.code, fault.description, retry_after=fault.retry_after)
    return ApiError(fault.code, fault.description)


def _refusal(error: ApiError) -> Reply:
    return error.code, orjson.dumps(error.payload())


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply[0], body=reply[1], content_type="application/json")


def reset(request: web.Request) -> None:
    """End the connection with a TCP reset instead of an answer."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
