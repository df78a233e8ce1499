"""parley keys owner: the first key of a deployment, made straight in its database."""

from __future__ import annotations

from argparse import Namespace

from gateway.commands.installation import make_owner
from gateway.commands.terminal import as_json, note, out
from gateway.services import check
from kernel.settings import Settings


async def run(options: Namespace) -> int:
    settings = Settings.read()
    check(settings)
    api_key = await make_owner(settings)
    if options.json:
        as_json({"api_key": api_key})
    else:
        note("an owner's key for the workspace default; it is shown this once:")
        out(api_key)
    return 0
