"""Where the platforms' servers are, and the HTTP sessions to them that all bots of a process share."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from kernel.settings import Settings

KEEP_ALIVE_SECONDS = 30.0  # below what servers allow, so that it is we who close an idle connection
SEND_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Sessions:
    """The HTTP sessions that all bots of a process share. Long polls keep their connections to themselves, so that
    they cannot starve the senders."""

    send: aiohttp.ClientSession
    poll: aiohttp.ClientSession

    async def close(self) -> None:
        await self.send.close()
        await self.poll.close()


def open_sessions(send_connections: int = SEND_CONNECTIONS) -> Sessions:
    """To be called on a running loop; `send_connections` bounds the calls in flight, long polls are not bounded."""
    return Sessions(_session(send_connections), _session(0))


def _session(limit: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


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
