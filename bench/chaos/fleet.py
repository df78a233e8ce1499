"""Processes for fault runs: each is started again the moment it ends, whoever ended it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from gateway.supervisor import ChildSpec, launch_argv


class Keeper:
    """Keeps one process running. `kill` is what the fault run is for; `deaths` counts how often it worked."""

    def __init__(self, spec: ChildSpec, log: IO[bytes]) -> None:
        self.spec = spec
        self.deaths = 0
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._wanted = asyncio.Event()
        self._wanted.set()

    async def start(self) -> None:
        """Returns when the process is ready for the first time."""
        self._task = asyncio.create_task(self._keep())
        await self.ready()

    async def ready(self) -> None:
        async with asyncio.timeout(self.spec.ready_timeout):
            while self._process is None or (self.spec.ready and await self.spec.ready() is not None):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    @property
    def pid(self) -> int | None:
        """The running process's id."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def kill(self, number: signal.Signals) -> None:
        """Signals the process, if it runs."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def slay(self) -> bool:
        """Kills the process with SIGKILL and waits until it is gone. False when none was running."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        self.kill(signal.SIGKILL)
        await process.wait()
        return True

    async def rest(self) -> None:
        """Ends the process as an operator would, and leaves it so until `wake`."""
        self._wanted.clear()
        self.kill(signal.SIGTERM)
        if self._process:
            await self._process.wait()

    def wake(self) -> None:
        self._wanted.set()

    async def _keep(self) -> None:
        while not self._stopping:
            if self.spec.prepare:
                await asyncio.to_thread(self.spec.prepare)
            self._process = await asyncio.create_subprocess_exec(
                *launch_argv(self.spec.argv, self.spec.account, self.spec.orphan_signal),
                env=self.spec.env,
                cwd=self.spec.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
            await self._process.wait()
            self.deaths += not self._stopping
            await asyncio.sleep(0.05)
            await self._wanted.wait()

    async def stop(self) -> None:
        """Ends it for good, politely first."""
        self._stopping = True
        self._wanted.set()
        for number, patience in (*self.spec.stops, (signal.SIGKILL, 10.0)):
            self.kill(signal.SIGCONT)
            self.kill(number)
            if self._task:
                done, _ = await asyncio.wait({self._task}, timeout=patience)
                if done:
                    return


def program(name: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> ChildSpec:
    """A Python module of this project as a child."""
    return ChildSpec(name=name, argv=(sys.executable, "-m", *arguments), env={**os.environ, **env}, cwd=cwd)
