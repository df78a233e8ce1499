"""Servers of a predecessor that died without stopping them: found by where they work, not by pid files, and stopped."""

import os
import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from gateway.embedded.sysuser import StoreError

_POLL_SECONDS = 0.02


def working_in(folder: Path, program: str) -> list[int]:
    """Process ids of this program whose working directory is the folder; both servers work in their data."""
    folder, found = folder.resolve(), []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != program or process.pid == os.getpid():
            continue
        try:
            if Path(process.cwd()) == folder:
                found.append(process.pid)
        except (psutil.Error, OSError):  # gone, a zombie, or another user's: then it cannot hold our files
            continue
    return found


def evict(folder: Path, program: str, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
    """Stop every such process, with one signal and patience in seconds after the other. Raises StoreError in vain.

    Only those are signalled whose parent is not one of them: a postmaster stops its own children.
    """
    for number, patience in steps:
        if not (left := working_in(folder, program)):
            return
        for pid in left:
            _signal_if_leader(pid, left, number)
        until = time.monotonic() + patience
        while working_in(folder, program) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
    if left := working_in(folder, program):
        raise StoreError(f"{program} of an earlier start still runs on {folder} and does not stop: end pid {left[0]}")


def _signal_if_leader(pid: int, group: list[int], number: signal.Signals) -> None:
    try:
        process = psutil.Process(pid)
        if process.ppid() not in group:
            process.send_signal(number)
    except psutil.Error:
        return
