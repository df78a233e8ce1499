"""A real server that answers every call as the platform does in one situation, and the channel's client on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from channels.wire import Sessions, Wire, open_sessions
from kernel.types import Channel, NotSent, Refused, Sent, Unknown
from tests.contract_case import Api, Sample, wire_to

WAIT = 7.0  # seconds for which `limited` asks

# What becomes of a message, whatever the platform: the answer's meaning, or that of its absence.
MEANINGS: dict[str, type] = {
    "accepted": Sent,
    "malformed": Refused,
    "unauthorized": Refused,
    "forbidden": Refused,
    "gone": Refused,
    "limited": NotSent,
    "broken": Unknown,
    "garbage": Unknown,
    "odd": Unknown,
    "silent": Unknown,
    "cut_off": Unknown,
    "hung_up": Unknown,
    "unreachable": NotSent,
}


@dataclass
class Platform:
    """A server that answers every call in one way."""

    api: Api
    situation: str
    url: str = ""
    calls: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path}")
        await request.read()
        match self.situation:
            case "silent":
                await self.ended.wait()
            case "cut_off":
                response = web.StreamResponse(headers={"Content-Length": "500"})
                await response.prepare(request)
                await response.write(b'{"ok": true')
                _hang_up(request)
                return response
            case "garbage":
                return web.Response(body=b"<html>")
            case "odd":
                return web.json_response([])
            case answered if said := self.api.answers.get(answered):
                body = said.body if isinstance(said.body, bytes) else orjson.dumps(said.body)
                return web.Response(
                    status=said.status, body=body, headers={"Content-Type": "application/json", **said.headers}
                )
        _hang_up(request)
        return web.Response()


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()


@asynccontextmanager
async def platform(api: Api, situation: str) -> AsyncIterator[Platform]:
    there = Platform(api, situation)
    if situation == "unreachable":
        with socket.socket() as taken:  # bound and not listening: whoever connects is refused
            taken.bind(("127.0.0.1", 0))
            there.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            yield there
        return
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", there.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        there.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield there
    finally:
        there.ended.set()
        await runner.cleanup()


class Hasty:
    """A session that waits for answers a moment only, whatever it is told: silence need not be sat out."""

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        self._session = session
        self._patience = aiohttp.ClientTimeout(total=seconds)

    def request(self, method: str, url: Any, **more: Any) -> Any:
        return self._session.request(method, url, **{**more, "timeout": self._patience})

    def get(self, url: Any, **more: Any) -> Any:
        return self.request("GET", url, **more)

    def post(self, url: Any, **more: Any) -> Any:
        return self.request("POST", url, **more)

    async def close(self) -> None:
        await self._session.close()


@asynccontextmanager
async def opened(channel: Channel, sample: Sample, situation: str) -> AsyncIterator[tuple[Any, Wire, Platform]]:
    """The channel's client on a platform in a situation, with the wire and the platform."""
    assert sample.api is not None
    async with platform(sample.api, situation) as there:
        real = open_sessions()
        hasty = Hasty(real.send, 0.3)
        sessions = Sessions(hasty, real.poll) if situation == "silent" else real  # type: ignore[arg-type]
        wire = wire_to(sample, there.url, sessions)
        try:
            client = await channel.open(sample.account, wire)
            yield client, wire, there
            if client is not None:
                await client.close()
        finally:
            await wire.close()
