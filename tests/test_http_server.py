"""The serving process: it starts, takes requests, and stops gracefully when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from yarl import URL

from gateway.services import Ground
from identity import keys
from kernel.settings import environment
from tests.gateway_parts import until

_ROOT = Path(__file__).resolve().parent.parent
_MAIN = """
import asyncio, uvloop
from gateway.server import serve
from kernel.settings import Settings
main = serve(Settings.read(), "127.0.0.1", 0, ready=lambda url: print(url, flush=True))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main)
"""


@dataclass
class Process:
    url: URL
    child: asyncio.subprocess.Process
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.api_key}


@asynccontextmanager
async def running(ground: Ground, workspace_id: str) -> AsyncIterator[Process]:
    async with ground.database.workspace(workspace_id) as conn:
        _, api_key = await keys.create(conn, ground.ring, workspace_id, name="test")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAIN,
        cwd=_ROOT,
        env={"PATH": os.environ["PATH"], **environment(ground.settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert child.stdout
        async with asyncio.timeout(60):
            while not (line := (await child.stdout.readline()).decode().strip()).startswith("http"):
                assert line or child.returncode is None
        yield Process(URL(line), child, api_key)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_when_told_and_finishes_what_it_began(
    ground: Ground, workspace_id: str, admin: asyncpg.Connection[asyncpg.Record], number: signal.Signals
) -> None:
    async with running(ground, workspace_id) as process, aiohttp.ClientSession() as http:
        first = {"user_id": "ann", "text": "/help"}
        async with http.post(
            process.url / "api/v1/messages", params={"wait": "30"}, json=first, headers=process.headers
        ) as response:
            assert response.status == 200
            conversation = (await response.json())["conversation_id"]
        stream = await http.get(process.url / "api/v1/conversations" / conversation / "stream", headers=process.headers)
        await stream.content.readline()
        async with admin.transaction():
            await admin.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")  # so the next request has to wait
            slow = asyncio.create_task(status(http, process, "api/v1/users"))
            await until(partial(waits_for_a_lock, admin))
            process.child.send_signal(number)
            async with asyncio.timeout(30):
                await stream.content.read()  # ends, because the gateway lets its streams go
            assert not slow.done()
        async with asyncio.timeout(60):
            assert await slow == 200
            assert await process.child.wait() == 0


async def status(http: aiohttp.ClientSession, process: Process, path: str) -> int:
    async with http.get(process.url / path, headers=process.headers) as response:
        return response.status


async def waits_for_a_lock(admin: asyncpg.Connection[asyncpg.Record]) -> bool:
    return bool(await admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
