"""A gateway in this process over real stores, with a scripted answerer, and a simulator to talk to it through."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from channels import accounts
from gateway.runner import Limits
from gateway.services import Ground, Services, open_services
from identity.people import People
from kernel.errors import ParleyError
from kernel.types import Json
from pipeline.machine import Emit, Tools
from pipeline.steps import RedisSteps
from simulators.telegram.server import Simulator, run_simulator
from simulators.telegram.state import Config

TOKEN = "12345:" + "A" * 35
SECRET = "s" * 32


class Scripted:
    """An answerer that counts its calls and may be told to wait or to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hits: list[Json] = []
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def __call__(self, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        self.calls.append(question)
        self.hits = list(hits)
        if self.before:
            await self.before(question)
        return {"text": f"you said: {question}", "citations": [], "grounded": True, "score": 1.0, "model": "scripted"}


async def no_hits(workspace_id: str, query: str, history: Sequence[Json], k: int, *, public: bool) -> list[Json]:
    return []


@asynccontextmanager
async def gateway(
    ground: Ground, answer: Scripted, *, telegram_url: str = "", limits: Limits | None = None
) -> AsyncIterator[Services]:
    """One gateway's services. Its turns are answered by `answer`."""
    ground = dataclasses.replace(
        ground,
        settings=dataclasses.replace(ground.settings, telegram_api_base_url=telegram_url or "http://127.0.0.1:1"),
    )
    people = People(ground.database, ground.ring, ground.limiter)
    tools = Tools(no_hits, answer, RedisSteps(ground.redis, 600), 5, people)
    async with open_services(ground, tools, limits or Limits(lease=2.0)) as services:
        yield services


@asynccontextmanager
async def inbound_server(services: Services) -> AsyncIterator[str]:
    """The platforms' door of a gateway on a port of its own. Yields its root URL."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            await services.intake.receive("telegram", request.match_info["account"], request.headers, body)
        except ParleyError as error:
            return web.json_response(error.body("req_test"), status=error.status)
        return web.Response()

    app = web.Application()
    app.router.add_post("/channels/telegram/{account}", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def telegram_account(ground: Ground, workspace_id: str, *, token: str = TOKEN, **settings: str) -> str:
    async with ground.database.workspace(workspace_id) as conn:
        return await accounts.create(
            conn,
            ground.ring,
            workspace_id,
            kind="telegram",
            name="bot",
            mode="webhook",
            credentials={"token": token, "webhook_secret": SECRET},
            settings={"pace": {"bot": 10_000, "chat": 10_000, "workspace": 10_000}, **settings},
            profile={"id": int(token.split(":")[0]), "username": "parley_bot"},
        )


@asynccontextmanager
async def simulator() -> AsyncIterator[Simulator]:
    async with run_simulator("127.0.0.1", 0, Config(bot_token=TOKEN, bot_username="parley_bot", flood=False)) as sim:
        yield sim


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Waits for a condition; a test that waits in vain fails by timeout."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
