"""parley channels connect, list, disconnect"""

from __future__ import annotations

import asyncio
import getpass
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway.client import Target, find_target
from gateway.client import connect as connect_client
from gateway.commands.terminal import as_json, out, table
from kernel.errors import ConfigError

_PATH = "/api/v1/channels"


def connect(options: Namespace) -> int:
    target = find_target(options)
    body = {
        "kind": options.kind,
        "name": options.name or options.kind.capitalize(),
        "mode": options.mode,
        "credentials": {"token": options.token or _token(options.token_file)},
    }
    made = asyncio.run(_connect(target, body))
    if options.json:
        as_json(made)
        return 0
    out(f"{made['account_id']} connected: @{made['profile'].get('username', '?')}")
    if made.get("inbound_url"):
        out(f"Telegram delivers to {made['inbound_url']}")
    return 0


async def _connect(target: Target, body: dict[str, Any]) -> dict[str, Any]:
    async with connect_client(target) as client:
        made: dict[str, Any] = await client.post(_PATH, body)
    return made


def _token(file: str | None) -> str:
    try:
        if file == "-":
            return sys.stdin.readline().strip()
        if file:
            return Path(file).read_text(encoding="utf-8").strip()
        return getpass.getpass("Bot token (from @BotFather): ").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--token-file: {error}") from error
    except EOFError as error:
        raise ConfigError("no token: give --token-file or --token") from error


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
