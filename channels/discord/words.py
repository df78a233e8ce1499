"""Commands that were typed as a message: "/new" and the like, where the client did not offer them."""

from __future__ import annotations

import re

from channels.discord.commands import COMMANDS

_TYPED = re.compile(r"[/!](\w{1,32})(?:\s+(.*))?", re.S)


def command_in(text: str) -> tuple[str, str] | None:
    """Name and argument of one of our commands, or None. A question is a message like any other."""
    found = _TYPED.fullmatch(text)
    if found is None:
        return None
    command = COMMANDS.get(found[1].lower())
    return (command.name, (found[2] or "").strip()) if command and not command.question else None
