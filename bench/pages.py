"""Checks of a page in a real Chromium: each is told in a line, with what was not as it should be."""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from bench.browser import program
from kernel import log

S = TypeVar("S")
Check = Callable[[S], Coroutine[Any, Any, None]]
Scenery = Callable[[Path | None, str], AbstractAsyncContextManager[S]]
_PATIENCE = 120.0


def main(name: str, told: str | None, checks: Sequence[Check[S]], scene: Scenery[S]) -> int:
    """Runs a program of checks by its arguments: 1 when one failed, 2 without a Chromium."""
    names = {check.__name__: check for check in checks}
    parser = argparse.ArgumentParser(prog=name, description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=Path, metavar="DIR", help="write screenshots there")
    parser.add_argument("--only", action="append", default=[], choices=list(names))
    options = parser.parse_args()
    executable = program()
    if executable is None:
        print(f"{name}: there is no Chromium on the PATH", file=sys.stderr)
        return 2
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    log.configure("WARNING")
    wanted = [check for check in checks if not options.only or check.__name__ in options.only]
    return min(1, asyncio.run(_run(wanted, scene(options.shots, executable))))


async def _run(checks: Sequence[Check[S]], scene: AbstractAsyncContextManager[S]) -> int:
    """How many failed."""
    failed = 0
    async with scene as on:
        for check in checks:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await check(on)
            except (AssertionError, TimeoutError, RuntimeError) as error:
                failed += 1
                print(f"FAILED {check.__name__}: {check.__doc__}\n  {_where(check, error)}\n  {str(error)[:2000]}")
            else:
                print(f"ok     {check.__name__}: {check.__doc__}")
    return failed


def _where(check: Callable[..., object], error: BaseException) -> str:
    """The last line of the checks' own module that the error came through."""
    file = getattr(sys.modules[check.__module__], "__file__", "")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{frames[-1].lineno}: {frames[-1].line}" if frames else ""
