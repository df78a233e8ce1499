"""What the Slack simulator's tests share: the real clients pointed at it, and an app that listens over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from aiohttp import web
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config, Pace
from simulators.slack.values import JsonObject

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\0\0\3\0\0\0\2\x08\x02\0\0\0"


def quick(ack: float = 2.0, **more: float) -> Pace:
    """Retries without the pauses."""
    return Pace(ack=ack, retries=(0.0, 0.01, 0.01), **more)


@asynccontextmanager
async def talking(config: Config | None = None) -> AsyncIterator[tuple[Simulator, AsyncWebClient]]:
    """A simulator, and the real client with the first team's bot token."""
    async with run_simulator(config=config or Config(seed=7, pace=quick())) as sim:
        yield sim, client_for(sim)


def client_for(sim: Simulator, token: str | None = None) -> AsyncWebClient:
    client = AsyncWebClient(token=token or sim.bot.token, base_url=sim.api_url)
    client.retry_handlers.clear()
    return client


@dataclass
class Receiver:
    """An app's request URL: remembers what came and answers as told."""

    url: str = ""
    secret: str = ""
    events: list[JsonObject] = field(default_factory=list)
    others: list[JsonObject] = field(default_factory=list)
    signed: list[bool] = field(default_factory=list)
    retries: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    answer: JsonObject | str | None = None
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    gate: Callable[[JsonObject], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.text()
        payload = _payload(request.content_type, raw)
        if payload.get("type") == "url_verification":
            return web.json_response({"challenge": payload["challenge"]})
        if self.gate:
            await self.gate(payload)
        headers = dict(request.headers)
        async with self.came:
            self.signed.append(SignatureVerifier(self.secret).is_valid_request(raw, headers))
            self.retries.append((headers.get("X-Slack-Retry-Num", ""), headers.get("X-Slack-Retry-Reason", "")))
            (self.events if payload.get("type") == "event_callback" else self.others).append(payload)
            self.came.notify_all()
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            return web.Response(status=status, headers=self.headers)
        return web.json_response(self.answer) if isinstance(self.answer, dict) else web.Response(text=self.answer or "")

    async def until(self, count: int) -> list[JsonObject]:
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.events) >= count)
        return [body["event"] for body in self.events]

    async def other(self, count: int = 1) -> JsonObject:
        """The latest interaction or command, when there are as many."""
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.others) >= count)
        return self.others[-1]


def _payload(mime: str, raw: str) -> JsonObject:
    if mime == "application/json":
        loaded: JsonObject = json.loads(raw)
        return loaded
    form = {name: values[0] for name, values in parse_qs(raw, keep_blank_values=True).items()}
    inner: JsonObject = json.loads(form["payload"]) if "payload" in form else form
    return inner


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A URL at which a handler answers POSTs."""
    app = web.Application()
    app.router.add_post("/slack/events", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def receiving(sim: Simulator) -> AsyncIterator[Receiver]:
    """A receiver that the simulator's app points at."""
    receiver = Receiver(secret=sim.app.signing_secret)
    async with serving(receiver.handle) as receiver.url:
        await sim.subscribe(receiver.url)
        yield receiver
        sim.app.request_url = ""


@dataclass
class Listener:
    """A real Socket Mode client: remembers envelopes, and acknowledges them unless told otherwise."""

    client: SocketModeClient
    envelopes: list[SocketModeRequest] = field(default_factory=list)
    hellos: list[JsonObject] = field(default_factory=list)
    silent: int = 0
    answer: JsonObject | None = None

    async def handle(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self.envelopes.append(request)
        if self.silent:
            self.silent -= 1
            return
        payload = self.answer if request.accepts_response_payload else None
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, payload))

    async def raw(self, client: AsyncBaseSocketModeClient, message: JsonObject, text: str | None) -> None:
        if message.get("type") == "hello":
            self.hellos.append(message)

    def texts(self) -> list[str]:
        return [
            e.payload["event"]["text"] for e in self.envelopes if e.payload.get("event", {}).get("type") == "message"
        ]


@asynccontextmanager
async def listening(sim: Simulator) -> AsyncIterator[Listener]:
    """A connected listener, which has heard its hello."""
    client = SocketModeClient(app_token=sim.app.app_token, web_client=client_for(sim), ping_interval=0.2)
    listener = Listener(client)
    client.socket_mode_request_listeners.append(listener.handle)
    client.message_listeners.append(listener.raw)
    await client.connect()  # type: ignore[no-untyped-call]
    try:
        await eventually(lambda: bool(listener.hellos))
        yield listener
    finally:
        await client.close()  # type: ignore[no-untyped-call]


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - the check reads a plain value of the server in this loop
            await asyncio.sleep(0.005)
