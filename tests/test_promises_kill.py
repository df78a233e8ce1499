"""Promises under real signals: a gateway process is killed, frozen or asked to stop in the middle of a turn."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.services import Ground
from kernel.settings import environment
from pipeline.knowledge.jobs import Item
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, TOKEN, simulator, telegram_account, until
from tests.test_knowledge import ingest

ANN = 1001


@dataclass
class Model:
    """A model's server: each call waits until the test lets it answer."""

    url: str = ""
    calls: int = 0
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        number = self.calls
        await request.read()
        await self.free.wait()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for delta, reason in (({"role": "assistant", "content": f"Answer {number} [1]."}, None), ({}, "stop")):
            chunk = {
                "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            }  # fmt: skip
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


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
class Scene:
    """Two gateways; Telegram talks to the first one, the second one only sweeps."""

    ground: Ground
    workspace: str
    sim: Simulator
    model: Model
    first: asyncio.subprocess.Process
    second: asyncio.subprocess.Process

    def seen(self) -> list[str]:
        return [entry["text"] for entry in self.sim.sends(ANN) if entry["method"] == "sendMessage"]

    async def ask_and_wait_for_the_model(self) -> None:
        self.sim.say(ANN, "when does the shop open")

        async def asked() -> bool:
            return self.model.calls == 1

        await until(asked)

    async def answered(self) -> None:
        async def shown() -> bool:
            return bool(self.seen())

        await until(shown, 30)

    async def attempts(self) -> int:
        async with self.ground.database.workspace(self.workspace) as conn:
            tries: int = await conn.fetchval("SELECT max(attempt) FROM turns")
            return tries


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start_gateway(env: dict[str, str], port: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--port", str(port),
        env={**os.environ, **env}, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with aiohttp.ClientSession() as http:

        async def ready() -> bool:
            try:
                async with http.get(f"http://127.0.0.1:{port}/health/ready") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await until(ready, 60)
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    await process.wait()


@pytest.fixture
async def scene(ground: Ground, workspace_id: str) -> AsyncIterator[Scene]:
    await ingest(ground, workspace_id, [Item("hours", "Opening hours", "The shop opens at nine on weekdays.")])
    async with simulator() as sim, model() as fake:
        account = await telegram_account(ground, workspace_id)
        people.add_user(sim.world, ANN, "Ann")
        env = environment(ground.settings) | {
            "TELEGRAM_API_BASE_URL": sim.url, "OPENAI_BASE_URL": fake.url, "OPENAI_API_KEY": "key-for-tests",
            "TURN_LEASE_SECONDS": "2", "LOG_LEVEL": "ERROR",
        }  # fmt: skip
        port = free_port()
        first, second = await asyncio.gather(start_gateway(env, port), start_gateway(env, free_port()))
        try:
            hook = {"url": f"http://127.0.0.1:{port}/channels/telegram/{account}", "secret_token": SECRET}
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{sim.url}/bot{TOKEN}/setWebhook", json=hook) as done,
            ):
                assert done.status == 200
            yield Scene(ground, workspace_id, sim, fake, first, second)
        finally:
            await end(first)
            await end(second)


async def test_d3_a_killed_gateways_turn_is_finished_by_another(scene: Scene) -> None:
    await scene.ask_and_wait_for_the_model()
    scene.first.kill()
    scene.model.free.set()
    await scene.answered()
    assert scene.seen() == ["Answer 2 [1].\n\nSources\n[1] Opening hours"]
    assert await scene.attempts() == 2


async def test_d4_a_frozen_gateway_that_wakes_late_changes_nothing(scene: Scene) -> None:
    await scene.ask_and_wait_for_the_model()
    scene.first.send_signal(signal.SIGSTOP)

    async def taken_over() -> bool:
        return scene.model.calls == 2

    await until(taken_over, 30)
    scene.model.free.set()
    await scene.answered()
    scene.first.send_signal(signal.SIGCONT)
    await asyncio.sleep(1.5)
    assert len(scene.seen()) == 1
    async with scene.ground.database.workspace(scene.workspace) as conn:
        assert await conn.fetchval("SELECT count(*) FROM messages WHERE role = 'assistant'") == 1
    scene.sim.say(ANN, "and when does it close")

    async def goes_on() -> bool:
        return len(scene.seen()) == 2

    await until(goes_on)


async def test_d9_a_stop_under_load_finishes_what_runs_and_exits_cleanly(scene: Scene) -> None:
    await scene.ask_and_wait_for_the_model()
    scene.first.terminate()
    await asyncio.sleep(0.3)
    scene.model.free.set()
    assert await asyncio.wait_for(scene.first.wait(), 25) == 0
    await scene.answered()
    assert len(scene.seen()) == 1
    assert (await scene.attempts(), scene.model.calls) == (1, 1)
