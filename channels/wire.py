"""Where the platforms' servers are, and the HTTP sessions to them that all bots of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from channels.telegram.client import Sessions, open_sessions
from kernel.settings import Settings


@dataclass(frozen=True, slots=True)
class Wire:
    """Handed to every channel's `open` and `install`. `settings` holds the root of each platform's API.

    `sessions.send` is for calls, `sessions.poll` for what stays open for long; both know nothing of any bot.
    """

    settings: Settings
    sessions: Sessions

    async def close(self) -> None:
        await self.sessions.close()


def open_wire(settings: Settings) -> Wire:
    """To be called on a running loop."""
    return Wire(settings, open_sessions())
