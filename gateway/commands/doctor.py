"""parley doctor: every setting and dependency, side by side, within five seconds; one line for each fault."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.client import data_dir
from gateway.commands import checks
from gateway.commands.checks import Finding, bad
from gateway.commands.terminal import as_json, out
from kernel.errors import ConfigError
from kernel.settings import Settings

_PATIENCE = 4.0
_MARKS = {"ok": "ok  ", "note": "note", "fault": "BAD "}


async def run(options: Namespace) -> int:
    findings = await examine(options)
    faults = [finding for finding in findings if finding.status == "fault"]
    if options.json:
        as_json({"ok": not faults, "checks": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            out(f"{_MARKS[finding.status]} {finding.name:<12} {finding.message}")
    if not faults:
        return 0
    sys.stdout.flush()
    if options.json:
        return 1
    out(f"\n{len(faults)} {'fault' if len(faults) == 1 else 'faults'}")
    return 1


async def examine(options: Namespace) -> list[Finding]:
    """All findings, in a fixed order. Settings that cannot be read are left out for the rest of the examination."""
    settings, findings = _settings()
    folder = data_dir(options, settings)
    settings = dataclasses.replace(settings, data_dir=folder)
    results = await asyncio.gather(
        _within("database", checks.database(settings)),
        _within("redis", checks.redis(settings)),
        _in_thread("keys", checks.key_ring, settings),
        _in_thread("data dir", checks.data_directory, folder),
        _in_thread("disk", checks.disk, folder),
        _in_thread("model", checks.model, settings),
        _in_thread("programs", checks.programs, settings),
        _within("gateway", checks.gateway(folder)),
        _within("bots", checks.bots(folder)),
        _within("public url", checks.public_url(settings)),
        _within("answers", checks.answering(settings)),
    )
    return findings + [finding for some in results for finding in some]


def _settings() -> tuple[Settings, list[Finding]]:
    try:
        return Settings.read(), [Finding("settings", "ok", "all of them can be read")]
    except ConfigError as error:
        faulty = {detail["field"] for detail in error.details}
        rest = {name: value for name, value in os.environ.items() if name not in faulty}
        return Settings.read(rest), [bad("settings", f"{d['field']}: {d['message']}") for d in error.details]


async def _within(name: str, check: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check
    except TimeoutError:
        return [bad(name, f"no answer within {_PATIENCE:g} s")]
    except Exception as error:  # a doctor tells what it found, even when it did not expect it
        return [bad(name, f"{type(error).__name__}: {error}")]


async def _in_thread(name: str, check: Callable[[Any], list[Finding]], about: Any) -> list[Finding]:
    return await _within(name, asyncio.to_thread(check, about))
