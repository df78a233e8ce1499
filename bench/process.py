"""Programs under test, each on the server's core, and what they cost; how long a gateway takes to start (G17)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.goals import Outcome, below, judge
from bench.stores import Stores

MEBIBYTE = 1 << 20
_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 60.0


ALL = set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else {0}


def cores() -> tuple[set[int], set[int]]:
    """The server's core, and the one of everything else; the same where there is but one or no pinning."""
    return {min(ALL)}, {max(ALL)}


def pin(to: set[int], pid: int = 0) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, to)


class Program:
    """A running process, by its id."""

    def __init__(self, pid: int, url: str = "") -> None:
        self.pid = pid
        self.url = url
        self._process = psutil.Process(pid)

    def cpu(self) -> float:
        """Seconds of CPU, user and system, so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> float:
        """MiB resident."""
        return float(self._process.memory_info().rss) / MEBIBYTE


async def spawn(
    *arguments: str, core: set[int], environment: Mapping[str, str] | None = None, limit: int = 1 << 16
) -> asyncio.subprocess.Process:
    """`python -m …` on a core, with pipes for standard input and output; `limit` bounds a line of output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        env={**os.environ, **(environment or {})},
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=limit,
    )
    pin(core, process.pid)
    return process


async def stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL for one that does not hear."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 15)
            return


@asynccontextmanager
async def running(
    *arguments: str, environment: Mapping[str, str] | None = None, core: set[int] | None = None
) -> AsyncIterator[Program]:
    """`python -m …`, by default on the server's core, once it has printed its root URL."""
    process = await spawn(*arguments, core=core or cores()[0], environment=environment)
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
        if not line:
            raise RuntimeError(f"{' '.join(arguments)} ended before it was ready")
        yield Program(process.pid, line.decode().strip())
    finally:
        await stop(process)


async def measure(stores: Stores, *, rounds: int = 3) -> list[Outcome]:
    """G17: spawns `parley serve` and asks /health/live until it answers 200; RSS of a server without the model."""
    seconds = [await _start(stores) for _ in range(rounds)]
    async with running("bench.server", "whole", environment=stores.environment()) as idle:
        await asyncio.sleep(1.5)  # what it still does after it is ready belongs to its idle size
        size = idle.rss()
    return outcomes(statistics.median(seconds), size)


def outcomes(seconds: float, mebibytes: float) -> list[Outcome]:
    """Both halves of G17, in one line."""
    return [
        Outcome(
            "G17",
            "gateway: spawn to first 200, RSS idle",
            "",
            f"{seconds:.2f} s, {mebibytes:.0f} MiB",
            "≤ 2 s, ≤ 150 MiB",
            "≤ 1 s, ≤ 90 MiB",
            judge(below(seconds, 2.0, 1.0), below(mebibytes, 150, 90)),
            note="RSS without the embedding model, which `parley serve` loads in the background",
        )
    ]


async def _start(stores: Stores) -> float:
    port = _free_port()
    begun = time.perf_counter()
    arguments = ("gateway", "serve", "--host", "127.0.0.1", "--port", str(port))
    process = await spawn(*arguments, core=cores()[0], environment=stores.environment())
    try:
        while not await _alive(port):
            if process.returncode is not None or time.perf_counter() - begun > _PATIENCE:
                raise RuntimeError("the gateway did not start")
            await asyncio.sleep(0.005)
        return time.perf_counter() - begun
    finally:
        await stop(process)


async def _alive(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health/live HTTP/1.0\r\nHost: bench\r\n\r\n")
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return b" 200" in status


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
