"""parley hooks add, list, remove, test"""

from __future__ import annotations

import json
import sys
import tomllib
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway.client import connect, find_target
from gateway.commands.terminal import as_json, note, out, table
from kernel.errors import ConfigError

_PATH = "/api/v1/hooks"
_TARGET = ("user_id", "channel", "conversation_id", "account_id", "chat", "thread")


async def add(options: Namespace) -> int:
    body: dict[str, Any] = {
        "name": options.name,
        "target": {field: value for field in _TARGET if (value := getattr(options, field))},
    }
    if options.template:
        body["template"] = _template(options.template)
    else:
        body["example"] = options.example or "json"
    if options.verify:
        body["verify"] = {"kind": options.verify}
    if options.secret_file:
        body["secret"] = _read(options.secret_file, "--secret-file").strip()
    target = find_target(options)
    async with connect(target) as client:
        made = await client.post(_PATH, body)
    if made["url"].startswith("/"):  # the gateway does not know under which address it is reached
        made["url"] = target.url + made["url"]
    if options.json:
        as_json(made)
        return 0
    note(f"{made['hook_id']} made. Other systems post to this address, which is shown this once:")
    out(made["url"])
    if made["secret"]:
        note("and sign with this secret, which is shown this once:")
        out(made["secret"])
    elif made["verify"]["kind"] != "none" and not made["has_secret"]:
        note(f"Calls are refused until it has the secret that {made['verify']['kind']} shows: PATCH {_PATH}/HOOK_ID")
    return 0


async def show(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        items = await client.items(_PATH)
    if options.json:
        as_json({"items": items})
        return 0
    rows = [
        {**item, "to": " ".join(item["target"].values()), "verify": item["verify"]["kind"], "template": item["example"]}
        for item in items
    ]
    table(rows, ("hook_id", "name", "template", "to", "verify", "status", "last_call_at"), "no hooks")
    return 0


async def remove(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        await client.delete(f"{_PATH}/{options.hook_id}")
    if options.json:
        as_json({"hook_id": options.hook_id, "status": "removed"})
    else:
        out(f"{options.hook_id} removed")
    return 0


async def test(options: Namespace) -> int:
    """Status 1 when a call like this would be refused."""
    body: dict[str, Any] = {"headers": dict(map(_header, options.header or ()))}
    if options.payload:
        body["payload"] = _json(_read(options.payload, "--payload"), "--payload")
    if options.sample:
        body["sample"] = options.sample
    async with connect(find_target(options)) as client:
        made = await client.post(f"{_PATH}/{options.hook_id}/test", body)
    if options.json:
        as_json(made)
    elif made["outcome"] == "message":
        known = f", known by {made['key']}" if made["key"] else ""
        note(f"to {' '.join(made['target'].values())} on {made['channel']}{known}; nothing was sent:")
        out(made["text"])
    else:
        out(f"{made['outcome']}: {made['reason']}")
    return 1 if made["outcome"] == "refused" else 0


def _template(path: str) -> Any:
    """A .json or .toml file holds a whole template, any other one its text."""
    text = _read(path, "--template")
    if path.endswith(".json"):
        return _json(text, "--template")
    if not path.endswith(".toml"):
        return {"text": text}
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"--template: this is no TOML: {error}") from error
    return told.get("template", told)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError("--header: NAME:VALUE")
    return name.strip(), value.strip()


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option}: this is no JSON: {error}") from error


def _read(path: str, option: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option}: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
