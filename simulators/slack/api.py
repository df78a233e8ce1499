"""The door for apps: /api/<method>, with faults on the way in and out.

https://docs.slack.dev/apis/web-api
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from simulators.slack import oauth, responses, transfers
from simulators.slack.calls import Call
from simulators.slack.errors import Refused, SlackError, ratelimited
from simulators.slack.faults import CALM, Fault
from simulators.slack.methods import METHODS, STREAMING
from simulators.slack.params import Params, json_object, read_params
from simulators.slack.scopes import NEEDS, missing
from simulators.slack.sockets import Sockets
from simulators.slack.state import World
from simulators.slack.values import Installation, JsonObject

HANG_POLL = 0.05


class Api:
    """Answers apps. `closing` ends calls that a fault left hanging."""

    def __init__(self, world: World, sockets: Sockets, closing: asyncio.Event) -> None:
        self._world = world
        self._sockets = sockets
        self._closing = closing

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/api/{method}", self.call)
        app.router.add_post("/respond/{key}", self.respond_to)
        app.router.add_post("/upload/v1/{secret}", self.upload)
        app.router.add_get("/files-pri/{team}-{file}/{name}", self.download)
        app.router.add_get("/files-pri/{team}-{file}/download/{name}", self.download)
        app.router.add_get("/signin", self.sign_in)
        app.router.add_get("/oauth/v2/authorize", self.authorize)

    async def call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        try:
            params = await read_params(request)
        except SlackError as error:
            return respond(error)
        token = token_of(request, params)
        install = self._world.installations.get(token)
        place = params.text("channel") or params.text("channel_id")

        def run() -> web.Response:
            answer = self._answer(method, request, token, params)
            if install:
                answer.headers["X-OAuth-Scopes"] = ",".join(install.scopes)
            return answer

        return await self._through(request, method, install.team if install else "", place, run)

    def _answer(self, method: str, request: web.Request, token: str, params: Params) -> web.Response:
        """Execute one method."""
        try:
            result = self._result(method, request, token, params)
        except SlackError as error:
            self._world.count(method, error.error)
            return respond(error)
        self._world.count(method, "ok")
        return respond({"ok": True} | result)

    def _result(self, method: str, request: web.Request, token: str, params: Params) -> JsonObject:
        if method == "api.test":
            return {"args": params.values}
        if method == "apps.connections.open":
            return {"url": self._sockets.open(token)}
        if method == "oauth.v2.access":
            return oauth.access(self._world, params, request.headers.get("Authorization", ""))
        found = METHODS.get(method)
        if found is None or (method in STREAMING and not self._world.streaming):
            raise SlackError("unknown_method", req_method=method)
        return found(Call(self._world, self._permitted(method, token, params), method, params))

    def _permitted(self, method: str, token: str, params: Params) -> Installation:
        """Whose token it is, when it may call the method now. Raises SlackError."""
        if not token:
            raise SlackError("not_authed")
        if token == self._world.app.app_token:
            raise SlackError("not_allowed_token_type")
        install = self._world.installations.get(token)
        if install is None:
            raise SlackError(self._world.revoked.get(token, "invalid_auth"))
        if needed := missing(method, install.scopes):
            raise SlackError("missing_scope", needed=needed, provided=",".join(install.scopes))
        if self._world.flood:
            tier = NEEDS.get(method, ("", 3))[1]
            place = params.text("channel")
            if wait := self._world.flood.refuse(method, tier, install.team, place, self._world.tick()):
                raise ratelimited(wait)
        return install

    async def respond_to(self, request: web.Request) -> web.StreamResponse:
        """A response URL; faults know it as response_url."""
        try:
            body = json_object(await request.read())
        except SlackError as error:
            return respond(error)

        def run() -> web.Response:
            try:
                responses.use(self._world, request.match_info["key"], body)
            except SlackError as error:
                self._world.count("response_url", error.error)
                return respond(error)
            self._world.count("response_url", "ok")
            return web.Response(text="ok")

        target = self._world.response_urls.get(request.match_info["key"])
        place = (target.team, target.channel) if target else ("", "")
        return await self._through(request, "response_url", *place, run)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """An upload URL; faults know it as upload."""
        params = await read_params(request) if request.content_type == "multipart/form-data" else None
        data = params.files[0].data if params and params.files else await request.read()
        secret = request.match_info["secret"]
        return await self._through(request, "upload", "", "", lambda: transfers.receive(self._world, secret, data))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """url_private; faults know it as download."""
        token = token_of(request, Params({}))
        number, team = request.match_info["file"], request.match_info["team"]
        return await self._through(
            request, "download", team, "", lambda: transfers.download(self._world, token, number)
        )

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        return transfers.sign_in()

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        try:
            return oauth.authorize(self._world, Params(dict(request.query)))
        except Refused as error:
            return web.Response(status=400, text=str(error))

    async def _through(
        self, request: web.Request, method: str, team: str, channel: str, run: Callable[[], web.Response]
    ) -> web.StreamResponse:
        """Run it, as the faults in force allow."""
        if self._world.faults.outage:
            reset(request)
            return web.Response()
        plan = self._world.faults.for_call(method, team, channel)
        if plan is CALM:
            return run()
        if plan.delay:
            await asyncio.sleep(plan.delay)
        fault = plan.fault
        if fault is None:
            return run()
        if fault.kind == "status":
            self._world.count(method, str(fault.code))
            return respond(_told(fault))
        if fault.kind in ("drop_after", "hang_after"):
            run()
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


def _told(fault: Fault) -> SlackError:
    if fault.code == 429:
        return ratelimited(max(1, fault.retry_after))
    return SlackError(fault.description, fault.code, fault.retry_after)


def token_of(request: web.Request, params: Params) -> str:
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else params.text("token")


def respond(answer: JsonObject | SlackError) -> web.Response:
    """A Web API response; a 429 tells when to come back."""
    if isinstance(answer, SlackError):
        headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
        return web.json_response(answer.payload(), status=answer.status, headers=headers)
    return web.Response(text=json.dumps(answer), content_type="application/json")


def reset(request: web.Request) -> None:
    """End the connection with a TCP reset instead of an answer."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
