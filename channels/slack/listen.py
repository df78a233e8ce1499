"""A bot's connection. slack_sdk's part of it is imported only where somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from channels.slack.client import SlackClient
from kernel.types import Account, Take


async def listen(client: SlackClient, account: Account, take: Take, alive: Callable[[], None]) -> None:
    """Socket Mode: envelopes are committed with `take`, then acknowledged with what it returns. Runs until cancelled,
    or raises Disconnected."""
    from channels.slack.socket import run

    await run(client, take, alive)
