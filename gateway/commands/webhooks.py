"""parley webhooks add, list, enable, disable, rotate"""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway.cli import UsageError
from gateway.client import connect, find_target
from gateway.commands.terminal import as_json, note, out, table
from kernel.errors import ConfigError

_PATH = "/api/v1/webhooks"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SHOWN = ("webhook_id", "uid", "url", "events", "status", "disabled_reason")


def patterns(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


async def add(options: Namespace) -> int:
    """With --uid the endpoint of this uid becomes what is asked for, whether there was one or not."""
    body = _asked(options)
    uid = body.get("uid")
    async with connect(find_target(options)) as client:
        made = await (client.put(f"{_PATH}/uid/{uid}", body) if isinstance(uid, str) else client.post(_PATH, body))
    _tell(options, made, f"{made['webhook_id']} registered")
    return 0


async def show(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        items = await client.items(_PATH)
    if options.json:
        as_json({"items": items})
    else:
        table(items, _SHOWN, "no endpoints are registered")
    return 0


async def enable(options: Namespace) -> int:
    return await _turn(options, "enable")


async def disable(options: Namespace) -> int:
    return await _turn(options, "disable")


async def _turn(options: Namespace, what: str) -> int:
    async with connect(find_target(options)) as client:
        found = await client.post(f"{_PATH}/{options.webhook_id}/{what}")
    if options.json:
        as_json(found)
    else:
        out(f"{options.webhook_id} is {found['status']}")
    return 0


async def rotate(options: Namespace) -> int:
    body: dict[str, Any] = {"overlap_seconds": seconds(options.overlap, "--overlap")}
    if options.kind:
        body["kind"] = options.kind
    if options.secret_file:
        body["secret"] = _read(options.secret_file, "--secret-file").strip()
    async with connect(find_target(options)) as client:
        made = await client.post(f"{_PATH}/{options.webhook_id}/rotate-secret", body)
    _tell(options, made, f"{made['secret_id']} signs from now on")
    if made["previous_expires_at"] and not options.json:
        note(f"the ones before it sign until {made['previous_expires_at']}, too")
    return 0


def _tell(options: Namespace, made: dict[str, Any], what: str) -> None:
    if options.json:
        as_json(made)
        return
    note(what)
    if made["secret"]:
        note("its secret, which is shown this once:")
        out(made["secret"])
    if made["public_key"]:
        note("its public key:")
        out(made["public_key"])


def _asked(options: Namespace) -> dict[str, Any]:
    """What --options says, and what the other arguments say over it."""
    body: dict[str, Any] = {}
    if options.options:
        body = _json(_read(options.options, "--options"), "--options")
    plain = {
        "url": options.endpoint,
        "events": patterns(options.events) if options.events else None,
        "uid": options.uid,
        "description": options.description,
        "channels": options.channel,
        "condition": _json(options.condition, "--condition") if options.condition else None,
        "headers": dict(map(_header, options.header or ())) or None,
        "signing": options.signing,
        "payload_mode": options.payload,
        "timeout_seconds": options.timeout,
        "rate_limit": _rate(options.rate) if options.rate else None,
        "ordering": "conversation" if options.ordered else None,
        "secret": _read(options.secret_file, "--secret-file").strip() if options.secret_file else None,
    }
    return {**body, **{name: value for name, value in plain.items() if value is not None}}


def seconds(text: str, option: str) -> int:
    """`90m`, `2h`, `3d`, or seconds. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,7})([smhd]?)", text, re.ASCII)
    if not found:
        raise UsageError(f"{option}: {text!r} is no span of time: 0, 90m, 2h or 3d")
    return int(found[1]) * _UNITS[found[2]]


def _rate(text: str) -> dict[str, int]:
    found = re.fullmatch(r"(\d{1,6})(?:/(\d{0,5}[smh]?))?", text, re.ASCII)
    if not found:
        raise UsageError(f"--rate: {text!r} is no rate: 20, 20/s, 100/m or 1000/10m")
    span = found[2] or "s"
    return {"count": int(found[1]), "seconds": seconds(span if span[0].isdigit() else f"1{span}", "--rate")}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"--header: {text!r} is no header: 'NAME: VALUE'")
    return name.strip(), value.strip()


def _json(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{option}: this is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{option}: a JSON object is needed")
    return value


def _read(path: str, option: str) -> str:
    """A file, or standard input for -: secrets in arguments would be seen by others."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option}: cannot read {path}: {error}") from error
