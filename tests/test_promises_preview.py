"""An answer that is shown while it is made, when the gateway that shows it is killed: one message, the whole answer.

Real processes, real SIGKILL; a model that streams half of its answer and waits; the local Slack and the local Discord.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import web

from channels import accounts
from channels.table import CHANNELS
from channels.wire import open_wire
from gateway.services import Ground
from kernel.settings import Settings, environment
from kernel.types import Account, Json
from pipeline.knowledge.jobs import Item
from simulators.discord.server import run_simulator as run_discord
from simulators.discord.state import Config as DiscordConfig
from simulators.slack.server import run_simulator as run_slack
from simulators.slack.state import Config as SlackConfig
from tests.discord_kit import address_in
from tests.discord_kit import shown as shown_on_discord
from tests.gateway_parts import until
from tests.test_knowledge import ingest
from tests.test_promises_kill import end, free_port, start_gateway

WHOLE = "The shop opens at nine on weekdays [1]."


@dataclass
class Model:
    """Each call says half, then waits until the test lets it go on."""

    url: str = ""
    calls: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_chunk({"role": "assistant", "content": WHOLE[:20]}, None))
        await self.free.wait()
        await response.write(_chunk({"content": WHOLE[20:]}, None))
        await response.write(_chunk({}, "stop") + b"data: [DONE]\n\n")
        return response


def _chunk(delta: Json, reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(body) + b"\n\n"


@asynccontextmanager
async def model() -> AsyncIterator[Model]:
    fake = Model()
    app = web.Application()
    app.router.add_post("/chat/completions", fake.complete)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        fake.free.set()
        await runner.cleanup()


@dataclass
class Platform:
    """A simulator as this test sees it: a question put, and what the bot shows there now."""

    kind: str
    settings: dict[str, str]
    credentials: Json
    ask: Callable[[str], object]
    shown: Callable[[], list[str]]
    break_off: Callable[[], object]


@asynccontextmanager
async def slack() -> AsyncIterator[Platform]:
    async with run_slack(config=SlackConfig(seed=3)) as sim:

        def shown() -> list[str]:
            held = sim.world.channels[sim.channel("#support")].messages.values()
            return [seen.message["text"] for seen in held if not seen.deleted and seen.message.get("bot_id")]

        yield Platform(
            "slack",
            {"SLACK_API_BASE_URL": sim.api_url.rstrip("/")},
            {"bot_token": sim.bot.token, "app_token": sim.app.app_token},
            lambda text: sim.say("ada", f"@parley {text}", "#support"),
            shown,
            lambda: sim.fault("drop_after", "chat.startStream", count=1),
        )


@asynccontextmanager
async def discord() -> AsyncIterator[Platform]:
    async with run_discord(config=DiscordConfig(seed=3)) as sim:
        yield Platform(
            "discord",
            {"DISCORD_API_BASE_URL": sim.api_url},
            {"bot_token": sim.bot.token},
            lambda text: sim.say("ada", text),
            lambda: [text for text in shown_on_discord(sim, address_in(sim)) if "shop open?" not in text],
            lambda: sim.fault("drop_after", "create_message", count=1),
        )


PLATFORMS = {"slack": slack, "discord": discord}


@asynccontextmanager
async def gateways(
    ground: Ground, workspace_id: str, on: Platform, fake: Model
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Two served gateways; the first one to look holds the bot's connection."""
    env = environment(ground.settings) | on.settings | {
        "OPENAI_BASE_URL": fake.url, "OPENAI_API_KEY": "key-for-tests", "TURN_LEASE_SECONDS": "2", "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    wire = open_wire(Settings.read({**env}))
    install = CHANNELS[on.kind].install
    assert install
    profile = await install(Account(workspace_id, "", on.kind, "socket", on.credentials, {}, {}), wire, "")
    await wire.close()
    assert isinstance(profile, dict), profile
    async with ground.database.workspace(workspace_id) as conn:
        account_id = await accounts.create(
            conn, ground.ring, workspace_id, kind=on.kind, name="bot", mode="socket", credentials=on.credentials,
            settings={"gather_seconds": 0}, profile=profile,
        )  # fmt: skip
    started = [await start_gateway(env, free_port())]

    async def heard() -> bool:
        async with ground.database.anywhere() as conn:
            return await accounts.listening_until(conn, account_id) is not None

    try:
        await until(heard)
        started.append(await start_gateway(env, free_port()))
        yield started
    finally:
        for process in started:
            await end(process)


@pytest.mark.parametrize("broken", [False, True], ids=["shown", "shown, nobody knows"])
@pytest.mark.parametrize("name", list(PLATFORMS))
async def test_a_preview_is_replaced_by_whoever_ends_the_turn(
    ground: Ground, workspace_id: str, name: str, broken: bool
) -> None:
    """`broken`: the platform takes the preview, and its answer does not come back before the gateway dies."""
    await ingest(ground, workspace_id, [Item("hours", "Opening hours", "The shop opens at nine on weekdays.")])
    async with PLATFORMS[name]() as on, model() as fake, gateways(ground, workspace_id, on, fake) as started:
        if broken:
            on.break_off()
        on.ask("when does the shop open?")

        async def half() -> bool:
            return any(text.strip() for text in on.shown())

        await until(half, 30)
        assert not any("weekdays" in text for text in on.shown())
        started[0].kill()
        fake.free.set()

        async def whole() -> bool:
            return any("weekdays" in text for text in on.shown())

        await until(whole, 40)
        await asyncio.sleep(1.0)
        shown = on.shown()
    assert len(shown) == 1, shown
    assert "The shop opens at nine on weekdays" in shown[0]
    assert fake.calls == 2
