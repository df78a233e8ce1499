"""parley webhooks portal: a link to the page on which webhooks are looked after."""

from __future__ import annotations

from argparse import Namespace

from gateway.client import connect, find_target
from gateway.commands.terminal import as_json, note, out


async def link(options: Namespace) -> int:
    asked = {
        "expires_in": options.expires_in,
        "theme": {"name": options.name or "", "accent": options.accent or ""},
        "origins": options.origin or [],
        **({"capabilities": ["read"]} if options.read_only else {}),
    }
    async with connect(find_target(options)) as client:
        made = await client.post("/api/v1/webhooks/portal-links", asked)
    if options.json:
        as_json(made)
    else:
        note(f"good for one opening until {made['expires_at']}:")
        out(made["url"])
    return 0
