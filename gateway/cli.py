"""The command line. Only the module of the command that runs is imported, so that `--help` answers at once.

Exit status: 0 done, 1 failed, 2 wrong usage. Errors are one line on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Sequence

from gateway.commands import grammar

DONE, FAILED, WRONG_USAGE = 0, 1, 2


class UsageError(Exception):
    """Arguments that do not go together."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status. argparse itself exits with 2 on what it cannot read."""
    options = grammar.parser().parse_args(argv)
    if options.run is None:
        options.parser.print_help(sys.stderr)
        return WRONG_USAGE
    try:
        return _run(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has had enough
        return DONE
    except KeyboardInterrupt:
        return DONE if options.endless else FAILED
    except UsageError as error:
        return _complain(str(error), WRONG_USAGE)


def _run(options: argparse.Namespace) -> int:
    from kernel.errors import ParleyError

    module, _, function = options.run.partition(":")
    try:
        result = getattr(importlib.import_module(f"gateway.commands.{module}"), function)(options)
        status: int = asyncio.run(result) if inspect.iscoroutine(result) else result
    except ParleyError as error:
        details = "; ".join(f"{d['field']}: {d['message']}" for d in error.details if d["message"] not in error.message)
        return _complain(error.message + (f" ({details})" if details else ""), FAILED)
    return status


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"parley: {message}\n")
    return status
