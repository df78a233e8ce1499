"""parley keys create, list, revoke"""

from __future__ import annotations

from argparse import Namespace

from gateway.client import connect, find_target
from gateway.commands.terminal import as_json, note, out, table

_PATH = "/api/v1/keys"


async def create(options: Namespace) -> int:
    body = {"name": options.name, "scopes": [s.strip() for s in options.scopes.split(",") if s.strip()]}
    async with connect(find_target(options)) as client:
        made = await client.post(_PATH, body)
    if options.json:
        as_json(made)
    else:
        note(f"{made['key_id']} made; the key itself is shown this once:")
        out(made["api_key"])
    return 0


async def show(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        items = await client.items(_PATH)
    if options.json:
        as_json({"items": items})
    else:
        table(items, ("key_id", "name", "scopes", "created_at", "last_used_at", "revoked_at"), "no keys")
    return 0


async def revoke(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        await client.delete(f"{_PATH}/{options.key_id}")
    if options.json:
        as_json({"key_id": options.key_id, "status": "revoked"})
    else:
        out(f"{options.key_id} revoked")
    return 0
