"""Start child processes in order, restart what dies, stop all of it in reverse.

    async with Supervisor(report=print) as supervisor:
        await supervisor.start(postgres, redis)      # together; returns when both are ready
        await migrate(...)
        await supervisor.start(gateway, worker)
        await supervisor.forever()                   # until SIGINT, SIGTERM or SIGHUP

A signal cancels the body; leaving the block stops the children, last group first; a further signal moves on to the
next sharper way of stopping. Each child has a session of its own, so Ctrl-C in the terminal reaches the supervisor
alone, and on Linux each is signalled by the kernel when the supervisor is killed. The kernel ties that to the
*thread* that forked: run the supervisor in the main thread.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_LAUNCH = Path(__file__).parent / "embedded" / "launch.py"
_FIRST_TRIES = 3  # deaths before ever being ready that end the start
_DELAY_SECONDS, _MAX_DELAY_SECONDS = 0.25, 30.0
_STABLE_SECONDS = 30.0  # a child that lived this long starts again without a grudge
_POLL_SECONDS = 0.025
_KILL_SECONDS = 5.0
_LOG_BYTES = 10_000_000
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Probe = Callable[[], Awaitable[str | None]]
"""Asks a child whether it is ready: None, or what it still waits for."""


class StartError(Exception):
    """Something could not be started; the message says what, why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What it takes to run one child; times in seconds.

    `argv[0]` is absolute. `env` None inherits ours, `log` None our output. `prepare` runs in a thread before
    every start and may raise StartError. `stops` are tried in turn, then SIGKILL for its whole process group.
    `orphan_signal` is what the kernel sends when the supervisor itself is killed.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    log: Path | None = None
    prepare: Callable[[], None] | None = None
    ready: Probe | None = None
    ready_timeout: float = 60.0
    stops: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 25.0),)
    orphan_signal: signal.Signals = signal.SIGKILL


def launch_argv(argv: tuple[str, ...], account: Account | None, orphan_signal: signal.Signals) -> list[str]:
    """The command that runs argv as the account, and ends it when this process dies."""
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    numbers = (uid, gid, int(orphan_signal), os.getpid())
    return [sys.executable, "-I", "-S", str(_LAUNCH), "run", *map(str, numbers), *argv]


def restart_delay(failures: int, rand: float) -> float:
    """Seconds before the next start after so many deaths in a row; `rand` in [0, 1) spreads the upper half."""
    ceiling = min(_MAX_DELAY_SECONDS, _DELAY_SECONDS * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + rand / 2)


def log_tail(log: Path | None, lines: int = 12) -> str:
    """The last lines of a child's log, ready to hang under an error; empty without one."""
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        text = file.read().decode(errors="replace").rstrip()
    return "".join(f"\n    {line}" for line in [f"the end of {log}:", *text.splitlines()[-lines:]])


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    first_ready: asyncio.Future[None]
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """See the module. `report` takes one status line at a time."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._groups: list[list[_Child]] = []
        self._stopping = self._signalled = False
        self._sharper = asyncio.Event()
        self._body: asyncio.Task[object] | None = None

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        for number in _STOP_SIGNALS:
            # nohup ignores SIGHUP on purpose; a script's `&` ignores SIGINT by accident
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stopping = True
        for group in reversed(self._groups):
            await asyncio.gather(*(self._stop(child) for child in group))
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
        if not (self._signalled and self._body):
            return False
        self._body.uncancel()
        return kind is asyncio.CancelledError

    async def start(self, *specs: ChildSpec) -> None:
        """Start these together and wait until all are ready. Raises StartError when one cannot be brought up."""
        loop = asyncio.get_running_loop()
        group = [_Child(spec, loop.create_future()) for spec in specs]
        self._groups.append(group)
        for child in group:
            child.keeper = loop.create_task(self._keep(child), name=f"keep {child.spec.name}")
        await asyncio.gather(*(child.first_ready for child in group))

    async def forever(self) -> None:
        """Return only by cancellation: a signal, or whoever cancels the body."""
        keepers = [child.keeper for group in self._groups for child in group if child.keeper]
        await asyncio.gather(*keepers)

    def pids(self) -> dict[str, int]:
        """The process ids of the children that run now, by name."""
        children = (child for group in self._groups for child in group)
        return {c.spec.name: c.process.pid for c in children if c.process and c.process.returncode is None}

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping:
            self._sharper.set()
        elif self._body:
            self._report(f"stopping ({number.name})")
            self._stopping = self._signalled = True
            self._body.cancel()

    async def _keep(self, child: _Child) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            try:
                ended = await self._live(child)
            except (StartError, OSError) as error:
                if _fail_first(child, StartError(str(error))):
                    return
                ended = f"could not start: {error}"
            except Exception as error:
                if _fail_first(child, error):
                    return
                raise
            failures = 1 if clock() - began >= _STABLE_SECONDS else failures + 1
            if failures >= _FIRST_TRIES and _fail_first(child, _gave_up(child.spec, ended)):
                return
            delay = restart_delay(failures, random.random())
            self._report(f"{child.spec.name} {ended}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def _live(self, child: _Child) -> str:
        """One life of a child, from prepare to death; how it ended."""
        if child.spec.prepare:
            await _finish_in_thread(child.spec.prepare)
        child.process = process = await _spawn(child.spec)
        readiness = asyncio.create_task(self._await_ready(child, process.pid))
        try:
            code = await process.wait()
        finally:
            readiness.cancel()
        _signal_group(process.pid, signal.SIGKILL)  # what it forked and left behind
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    async def _await_ready(self, child: _Child, pid: int) -> None:
        clock = asyncio.get_running_loop().time
        began, spec, late = clock(), child.spec, False
        try:
            while spec.ready and (missing := await spec.ready()):
                if not late and clock() - began > spec.ready_timeout:
                    late = True
                    why = f"{spec.name} was not ready after {spec.ready_timeout:g} s: {missing}{log_tail(spec.log)}"
                    if not _fail_first(child, StartError(why)):
                        self._report(why)
                await asyncio.sleep(_POLL_SECONDS)
        except Exception as error:
            if not _fail_first(child, error):
                self._report(f"{spec.name}: its readiness check failed: {error!r}")
            return
        self._report(f"{spec.name} ready after {clock() - began:.2f} s (pid {pid})")
        if not child.first_ready.done():
            child.first_ready.set_result(None)

    async def _stop(self, child: _Child) -> None:
        if child.keeper:
            child.keeper.cancel()
            await asyncio.wait([child.keeper])
        if child.first_ready.done() and not child.first_ready.cancelled():
            child.first_ready.exception()  # seen, even when the body was cancelled before it looked
        if child.process is None or child.process.returncode is not None:
            return
        for number, patience in (*child.spec.stops, (signal.SIGKILL, _KILL_SECONDS)):
            if number is signal.SIGKILL:
                self._report(f"{child.spec.name} does not stop: killing it")
                _signal_group(child.process.pid, number)
            else:
                with suppress(ProcessLookupError):
                    child.process.send_signal(number)
            if await self._ended(child.process, patience):
                _signal_group(child.process.pid, signal.SIGKILL)
                self._report(f"{child.spec.name} stopped")
                return

    async def _ended(self, process: asyncio.subprocess.Process, patience: float) -> bool:
        self._sharper.clear()
        waits = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(self._sharper.wait())]
        await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return process.returncode is not None


def _gave_up(spec: ChildSpec, ended: str) -> StartError:
    return StartError(f"{spec.name} {ended} before it was ready, {_FIRST_TRIES} times{log_tail(spec.log)}")


def _fail_first(child: _Child, error: Exception) -> bool:
    """Hand the error to whoever waits for the first readiness; false when that time is over."""
    if child.first_ready.done():
        return False
    child.first_ready.set_exception(error)
    return True


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


async def _finish_in_thread(work: Callable[[], None]) -> None:
    """Run work in a thread and wait for its end even when cancelled: it must not outlive the lock on its files."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _open_log(log: Path) -> IO[bytes]:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))
    return log.open("ab")


async def _spawn(spec: ChildSpec) -> asyncio.subprocess.Process:
    output = _open_log(spec.log) if spec.log else None
    try:
        return await asyncio.create_subprocess_exec(
            *launch_argv(spec.argv, spec.account, spec.orphan_signal),
            env=spec.env, cwd=spec.cwd, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    finally:
        if output:
            output.close()
