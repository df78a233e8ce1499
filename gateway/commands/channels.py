"""parley channels connect, list, disconnect"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from channels.table import CHANNELS
from gateway.client import Target, find_target
from gateway.client import connect as connect_client
from gateway.commands.terminal import as_json, out, table
from gateway.credentials import KINDS
from kernel.errors import ConfigError

_PATH = "/api/v1/channels"


def connect(options: Namespace) -> int:
    if options.kind not in KINDS:
        raise ConfigError(f"kind: one of {', '.join(KINDS)}")
    target = find_target(options)
    modes = CHANNELS[options.kind].modes
    mode = options.mode or next(iter(modes))
    if mode not in modes:
        raise ConfigError(f"--mode: {options.kind} knows {', '.join(sorted(set(modes) - {'api'})) or 'no modes'}")
    body = {
        "kind": options.kind,
        "name": options.name or options.kind.capitalize(),
        "mode": mode,
        "credentials": _credentials(options, mode),
    }
    if options.origin:
        body["settings"] = {"origins": options.origin}
    made = asyncio.run(_connect(target, body))
    if options.json:
        as_json(made)
        return 0
    _tell(made)
    return 0


def _tell(made: dict[str, Any]) -> None:
    if made["kind"] == "web":
        out(f"{made['account_id']} connected. On your pages:")
        root = made["root"]
        out(f'  <script src="{root}/widget.js" data-account="{made["account_id"]}" async></script>')
        out(f"identity secret, shown this once: {made['identity_secret']}")
        return
    out(f"{made['account_id']} connected: @{made['profile'].get('username') or made['profile'].get('name') or '?'}")
    if made.get("inbound_url"):
        out(f"{made['kind'].capitalize()} delivers to {made['inbound_url']}")


async def _connect(target: Target, body: dict[str, Any]) -> dict[str, Any]:
    async with connect_client(target) as client:
        made: dict[str, Any] = await client.post(_PATH, body)
    return {**made, "root": target.url} if made["kind"] == "web" else made


def _credentials(options: Namespace, mode: str) -> dict[str, str]:
    """What the bot is known by: from a file, or asked for one by one. Raises ConfigError."""
    asked = [c for c in CHANNELS[options.kind].modes[mode].credentials if c.asked]
    if options.credentials_file:
        return _from_json(options.credentials_file)
    if (options.token or options.token_file) and options.kind != "telegram":
        raise ConfigError(f"--token is Telegram's; for {options.kind} give --credentials-file, or be asked")
    if options.token or options.token_file:
        return {"token": options.token or _read(options.token_file, "--token-file").strip()}
    try:
        given = {c.name: getpass.getpass(f"{c.asked}: ").strip() for c in asked}
    except EOFError as error:
        raise ConfigError("no credentials: give --credentials-file (or --token-file for Telegram)") from error
    return {name: value for name, value in given.items() if value}


def _from_json(file: str) -> dict[str, str]:
    try:
        found = json.loads(_read(file, "--credentials-file"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"--credentials-file: this is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError("--credentials-file: a JSON object of texts is wanted")
    return found


def _read(file: str, option: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{option}: {error}") from error


async def show(options: Namespace) -> int:
    async with connect_client(find_target(options)) as client:
        items = await client.items(_PATH)
    if options.json:
        as_json({"items": items})
        return 0
    rows = [{**item, "bot": item["profile"].get("username")} for item in items]
    table(rows, ("account_id", "kind", "name", "bot", "mode", "status", "failure"), "no bots are connected")
    return 0


async def disconnect(options: Namespace) -> int:
    async with connect_client(find_target(options)) as client:
        await client.delete(f"{_PATH}/{options.account_id}")
    if options.json:
        as_json({"account_id": options.account_id, "status": "disconnected"})
    else:
        out(f"{options.account_id} disconnected")
    return 0
