"""The supervisor against real child processes."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import supervisor
from gateway.supervisor import ChildSpec, StartError, Supervisor, log_tail, restart_delay

SLEEP = "import time; time.sleep(600)"
ROOT = Path(__file__).resolve().parents[1]


def child(name: str, code: str, **more: object) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", textwrap.dedent(code)), **more)  # type: ignore[arg-type]


def file_exists(path: Path) -> supervisor.Probe:
    async def missing() -> str | None:
        return None if path.exists() else f"no {path.name}"

    return missing


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_starts_in_order_and_stops_in_reverse() -> None:
    lines: list[str] = []
    async with Supervisor(lines.append) as sup:
        await sup.start(child("first", SLEEP))
        await sup.start(child("second", SLEEP), child("third", SLEEP))
        pids = sup.pids()
        assert all(alive(pid) and os.getsid(pid) == pid for pid in pids.values())
    assert lines[0].startswith("first ready") and sorted(line.split()[0] for line in lines[1:3]) == ["second", "third"]
    assert sorted(lines[3:5]) == ["second stopped", "third stopped"] and lines[5:] == ["first stopped"]
    assert not any(alive(pid) for pid in pids.values())


async def test_waits_until_ready(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import pathlib, time; time.sleep(0.2); pathlib.Path({str(flag)!r}).touch(); time.sleep(600)"
    async with Supervisor(print) as sup:
        await sup.start(child("slow", code, ready=file_exists(flag)))
        assert flag.exists()


async def test_restarts_what_dies_and_prepares_it_again() -> None:
    prepared: list[int] = []
    lines: list[str] = []
    async with Supervisor(lines.append) as sup:
        await sup.start(child("mortal", SLEEP, prepare=lambda: prepared.append(1)))
        for lives in (2, 3):
            old = sup.pids()["mortal"]
            os.kill(old, signal.SIGKILL)
            await until(lambda old=old: sup.pids().get("mortal", old) != old)  # type: ignore[misc]
            assert len(prepared) == lives
    assert any("mortal was killed by SIGKILL; starting it again in" in line for line in lines)


async def test_a_later_failure_to_prepare_is_tried_again() -> None:
    lives: list[int] = []

    def prepare() -> None:
        lives.append(1)
        if len(lives) == 2:
            raise StartError("the disk is full")

    lines: list[str] = []
    async with Supervisor(lines.append) as sup:
        await sup.start(child("unlucky", SLEEP, prepare=prepare))
        os.kill(sup.pids()["unlucky"], signal.SIGKILL)
        await until(lambda: len(lives) == 3 and sup.pids())
    assert any("could not start: the disk is full" in line for line in lines)


async def test_death_before_the_first_readiness_ends_the_start_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = child("broken", "print('no such option'); raise SystemExit(7)", log=log, ready=file_exists(tmp_path / "x"))
    async with Supervisor(print) as sup:
        with pytest.raises(StartError, match=r"broken ended with status 7 before it was ready, 3 times\n.*\n.*no such"):
            await sup.start(spec)
        assert sup.pids() == {}
    assert log.read_text().count("no such option") == 3


async def test_a_child_that_never_gets_ready_is_reported_with_what_it_waits_for(tmp_path: Path) -> None:
    spec = child("late", SLEEP, ready=file_exists(tmp_path / "flag"), ready_timeout=0.1)
    async with Supervisor(print) as sup:
        with pytest.raises(StartError, match=r"late was not ready after 0\.1 s: no flag"):
            await sup.start(spec)
        pid = sup.pids()["late"]
    assert not alive(pid)


async def test_a_first_failure_to_prepare_or_run_is_final(tmp_path: Path) -> None:
    def prepare() -> None:
        raise StartError("wrong version")

    def bug() -> None:
        raise ZeroDivisionError

    missing = ChildSpec(
        "missing", (str(tmp_path / "nothing"),), log=tmp_path / "log", ready=file_exists(tmp_path / "x")
    )
    async with Supervisor(print) as sup:
        with pytest.raises(StartError, match="wrong version"):
            await sup.start(child("outdated", SLEEP, prepare=prepare))
        with pytest.raises(ZeroDivisionError):
            await sup.start(child("buggy", SLEEP, prepare=bug))
        with pytest.raises(StartError, match="No such file or directory"):
            await sup.start(missing)


async def test_a_failing_readiness_check_ends_the_start() -> None:
    async def bug() -> str | None:
        raise ZeroDivisionError

    async with Supervisor(print) as sup:
        with pytest.raises(ZeroDivisionError):
            await sup.start(child("fine", SLEEP, ready=bug))


async def test_what_ignores_its_stop_signals_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
        import pathlib, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inner = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
        pathlib.Path({str(note)!r}).write_text(str(inner.pid))
        time.sleep(600)
    """

    async def written() -> str | None:
        return None if note.exists() and note.read_text() else "no pid"

    lines: list[str] = []
    async with Supervisor(lines.append) as sup:
        await sup.start(child("deaf", code, ready=written, stops=((signal.SIGTERM, 0.1),)))
    inner = int(note.read_text())
    await until(lambda: not alive(inner))
    assert lines[-2:] == ["deaf does not stop: killing it", "deaf stopped"]


async def test_what_a_dead_child_forked_does_not_outlive_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
        import pathlib, subprocess, sys, time
        inner = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
        pathlib.Path({str(note)!r}).write_text(str(inner.pid))
        time.sleep(600)
    """

    async def written() -> str | None:
        return None if note.exists() and note.read_text() else "no pid"

    async with Supervisor(print) as sup:
        await sup.start(child("parent", code, ready=written))
        inner = int(note.read_text())
        os.kill(sup.pids()["parent"], signal.SIGKILL)
        await until(lambda: not alive(inner))


async def test_leaving_by_an_error_stops_everything() -> None:
    pids: dict[str, int] = {}
    with pytest.raises(LookupError):
        async with Supervisor(print) as sup:
            await sup.start(child("innocent", SLEEP))
            pids = sup.pids()
            raise LookupError
    assert pids and not any(alive(pid) for pid in pids.values())


SCRIPT = """
import asyncio, signal, sys
from gateway.supervisor import ChildSpec, Supervisor

CODE = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"

async def main():
    async with Supervisor(lambda line: print(line, flush=True)) as sup:
        stops = ((signal.SIGTERM, 600.0),) if sys.argv[1] == "deaf" else ((signal.SIGINT, 25.0),)
        await sup.start(ChildSpec("child", (sys.executable, "-c", CODE), stops=stops))
        print("PID", sup.pids()["child"], flush=True)
        await sup.forever()
    print("LEFT", flush=True)

asyncio.run(main())
"""


def start_script(kind: str) -> tuple["subprocess.Popen[str]", int]:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, kind], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    pid, up = 0, False
    while not (pid and up):
        line = process.stdout.readline()
        assert line, "the script ended early"
        pid, up = (int(line.split()[1]) if line.startswith("PID") else pid), up or line == "up\n"
    return process, pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_it_in_order(number: signal.Signals) -> None:
    process, pid = start_script("polite")
    process.send_signal(number)
    out, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0 and not alive(pid)
    assert f"stopping ({number.name})" in out and out.endswith("child stopped\nLEFT\n")


async def test_a_second_signal_does_not_wait_for_the_patience_of_the_first() -> None:
    process, pid = start_script("deaf")
    assert process.stdout
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping (SIGINT)\n"
    while process.poll() is None:  # a signal that comes before it waits is not lost on us: send again
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.05)
    assert process.returncode == 0 and not alive(pid)
    process.stdout.close()


async def test_children_do_not_outlive_a_killed_supervisor() -> None:
    process, pid = start_script("deaf")
    process.kill()
    await asyncio.to_thread(process.communicate, timeout=20)
    await until(lambda: not alive(pid))


def test_restart_delay_doubles_up_to_half_a_minute_and_spreads_the_upper_half() -> None:
    assert [restart_delay(n, 0.0) for n in (1, 2, 3)] == [0.125, 0.25, 0.5]
    assert [restart_delay(n, 1.0) for n in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert restart_delay(500, 1.0) == 30.0


def test_log_tail_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(None) == log_tail(log) == ""
    log.write_bytes(b"x" * 20_000 + b"\n\xff\nlast\n")
    assert log_tail(log, lines=2).splitlines()[1:] == [f"    the end of {log}:", "    \ufffd", "    last"]


async def test_a_big_log_is_put_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_LOG_BYTES", 10)
    log = tmp_path / "child.log"
    log.write_text("more than ten bytes")
    async with Supervisor(print) as sup:
        await sup.start(child("quiet", SLEEP, log=log))
    assert log.read_text() == "" and (tmp_path / "child.1.log").read_text() == "more than ten bytes"


async def test_a_child_that_was_stable_starts_again_without_a_grudge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_STABLE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "_DELAY_SECONDS", 0.02)
    lines: list[str] = []
    async with Supervisor(lines.append) as sup:
        await sup.start(child("restless", "raise SystemExit(0)"))
        await until(lambda: len([line for line in lines if "starting it again" in line]) >= 4)
    assert all(line.endswith("again in 0.0 s") for line in lines if "starting it again" in line)
