"""Hooks under real signals: a gateway that took a call is killed, and its message arrives, once; and what logs hold."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from gateway.services import Ground
from kernel.settings import environment
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config
from tests.gateway_parts import until
from tests.hooks_kit import Outside
from tests.slack_parts import eventually
from tests.test_promises_kill import end, free_port
from tests.test_slack_gateway import connect
from webhooks.hooks import registered
from webhooks.hooks.examples import examples

SECRET = "a-secret-of-github"


@dataclass
class Gateway:
    process: asyncio.subprocess.Process
    url: str
    log: Path


@dataclass
class Scene:
    """A hook into a Slack channel, and gateways that share a database."""

    ground: Ground
    workspace: str
    sim: Simulator
    token: str
    folder: Path

    @asynccontextmanager
    async def gateway(self, level: str = "ERROR") -> AsyncIterator[Gateway]:
        env = environment(self.ground.settings) | {
            "SLACK_API_BASE_URL": self.sim.api_url.rstrip("/"), "TURN_LEASE_SECONDS": "2", "LOG_LEVEL": level,
        }  # fmt: skip
        port = free_port()
        log = self.folder / f"{port}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", "--port", str(port),
                env={**os.environ, **env}, stdout=file, stderr=file,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            async with aiohttp.ClientSession() as http:

                async def ready() -> bool:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with http.get(f"{url}/health/ready") as response:
                            return response.status == 200
                    return False

                await until(ready, 60)
            yield Gateway(process, url, log)
        finally:
            await end(process)

    def texts(self) -> list[str]:
        held = self.sim.world.channels[self.sim.channel("#support")].messages
        return [seen.message.get("text", "") for seen in held.values() if not seen.deleted]


@pytest.fixture
async def scene(ground: Ground, workspace_id: str, tmp_path: Path) -> AsyncIterator[Scene]:
    await ground.redis.flushdb()
    async with run_simulator(config=Config(seed=7)) as sim:
        account = await connect(ground, workspace_id, sim, "webhook")
        async with ground.database.workspace(workspace_id) as conn:
            made = await registered.create(
                conn, ground.ring, workspace_id, name="pushes", example="github",
                template=examples()["github"].template, verify={"kind": "github"}, secret=SECRET,
                target={"account_id": account, "chat": sim.channel("#support")},
            )  # fmt: skip
        yield Scene(ground, workspace_id, sim, made.token, tmp_path)


def outside(http: aiohttp.ClientSession, gateway: Gateway, scene: Scene) -> Outside:
    return Outside(http, f"{gateway.url}/hooks/{scene.token}", SECRET)


@pytest.mark.parametrize("fault", ["away", "drop_after"])
async def test_a_gateway_killed_after_its_answer_leaves_the_message_to_another(scene: Scene, fault: str) -> None:
    """Slack takes nothing at first, or takes the message and breaks off: in both cases it stands there once."""
    if fault == "away":
        scene.sim.fault("status", "chat.postMessage", code=429, retry_after=2)
    else:
        scene.sim.fault("hang_after", "chat.postMessage", count=1)
    async with aiohttp.ClientSession() as http:
        async with scene.gateway() as first:
            told = await outside(http, first, scene).push("d-1")
            assert told.status == 202
            await eventually(lambda: scene.sim.world.faults.rules()[0]["hits"] > 0)
            first.process.kill()
            await first.process.wait()
        scene.sim.world.faults.clear()
        async with scene.gateway() as second:
            again = await outside(http, second, scene).push("d-1")
            assert again.body == told.body
            await eventually(lambda: len(scene.texts()) == 1, 30)
            other = await outside(http, second, scene).push("d-2", forced=True)
            assert other.status == 202
            await eventually(lambda: any("force- pushed" in text for text in scene.texts()), 30)
    assert sum("Rent by the hour" in text for text in scene.texts()) == 2


async def test_a_call_cut_off_by_a_kill_may_be_repeated(scene: Scene) -> None:
    """Many calls while the gateway is killed; whoever got no answer calls again: each message stands there once."""
    numbers = [f"d-{n}" for n in range(30)]

    async def call(github: Outside, delivery: str) -> bool:
        try:
            return (await github.push(delivery, ref=f"refs/heads/{delivery}")).status == 202
        except (aiohttp.ClientError, OSError):
            return False

    async with aiohttp.ClientSession() as http:
        async with scene.gateway() as first:
            calls = [asyncio.create_task(call(outside(http, first, scene), number)) for number in numbers]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            first.process.kill()
            answered = await asyncio.gather(*calls)
        async with scene.gateway() as second:
            for number, done in zip(numbers, answered, strict=True):
                assert await call(outside(http, second, scene), number) or done
            await eventually(lambda: len(scene.texts()) == len(numbers), 60)
    named = sorted(text.partition(" to ")[2].partition("\n")[0] for text in scene.texts())
    assert named == sorted(numbers)


async def test_no_log_holds_a_token_a_secret_or_what_was_said(scene: Scene) -> None:
    """At the most talkative level, over calls that are taken, repeated, refused, and that meet a broken row."""
    async with aiohttp.ClientSession() as http, scene.gateway("DEBUG") as gateway:
        github = outside(http, gateway, scene)
        assert (await github.push("d-1")).status == 202
        assert (await github.push("d-1")).status == 202
        await eventually(lambda: len(scene.texts()) == 1)
        github.secret = "another-secret"
        assert (await github.push("d-2")).status == 401
        assert (await github.call(b"{")).status == 401
        assert (await github.push(url=github.url[:-3] + "AAA")).status == 404
        async with scene.ground.database.workspace(scene.workspace) as conn:
            await conn.execute("UPDATE hooks SET sealed_secret = '\\x0102'::bytea")
        assert (await github.push("d-3")).status == 500
        log = gateway.log.read_text()
    assert "http.bug" in log
    for hidden in (scene.token, scene.token[-20:], SECRET, "another-secret", "Rent by the hour", "annberg", "sha256="):
        assert hidden not in log
