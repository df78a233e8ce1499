"""Replies as they leave: rendered, and in a server as replies to the message that asked."""

from __future__ import annotations

from dataclasses import replace

from channels.discord.edits import reference
from channels.discord.render import render
from kernel.types import Json, Reply, Unit


def render_reply(reply: Reply, address: Json) -> list[Unit]:
    """The messages that show `reply`, in order; the first one answers the message in `address`."""
    units = render(reply, address)
    if address.get("reply_to"):
        units[0] = replace(units[0], payload={**units[0].payload, "message_reference": reference(address)})
    return units
