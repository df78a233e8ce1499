"""parley webhooks add, list"""

from __future__ import annotations

from argparse import Namespace

from gateway.client import connect, find_target
from gateway.commands.terminal import as_json, note, out, table

_PATH = "/api/v1/webhooks"


def patterns(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


async def add(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        made = await client.post(_PATH, {"url": options.endpoint, "events": patterns(options.events)})
    if options.json:
        as_json(made)
    else:
        note(f"{made['webhook_id']} registered; its secret is shown this once:")
        out(made["secret"])
    return 0


async def show(options: Namespace) -> int:
    async with connect(find_target(options)) as client:
        items = await client.items(_PATH)
    if options.json:
        as_json({"items": items})
    else:
        table(items, ("webhook_id", "url", "events", "status", "disabled_reason"), "no endpoints are registered")
    return 0
