"""The files that people attach, fetched when they are needed: their addresses expire within a day."""

from __future__ import annotations

import aiohttp

from channels.discord.client import DiscordClient, NoAnswer, NotConnected
from channels.discord.send import outcome
from kernel.types import Attachment, Json, NotSent, Refused, Unknown

_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5, sock_connect=5)
_GONE = (403, 404, 410)


async def fetch(client: DiscordClient, attachment: Attachment, limit: int) -> bytes | Refused | NotSent:
    """The file's bytes, at most `limit`. Refused when it is larger, or gone with its message."""
    if attachment.size > limit:
        return Refused("too_large", f"{attachment.size} bytes; {limit} are taken")
    try:
        found = await _found(client, attachment.ref)
        return await _bytes(client, str(found["url"]), limit) if isinstance(found, dict) else found
    except (NotConnected, NoAnswer, TimeoutError, aiohttp.ClientError) as error:
        return NotSent(type(error).__name__)


async def _found(client: DiscordClient, ref: Json) -> Json | Refused | NotSent:
    """The attachment as its message shows it now, with an address that works."""
    path = f"/channels/{ref['channel_id']}/messages/{ref['message_id']}"
    answer = await client.call("GET", path, patience=5.0)
    if not answer.ok:
        problem = outcome(answer, plain=True)
        if isinstance(problem, Refused | NotSent):
            return problem
        return NotSent(problem.reason if isinstance(problem, Unknown) else answer.reason)
    if not isinstance(answer.data, dict):
        return NotSent("an answer that is no message")
    for found in answer.data.get("attachments", ()):
        if found.get("id") == ref["attachment_id"]:
            return dict(found)
    return Refused("gone", "the message no longer has this file")


async def _bytes(client: DiscordClient, url: str, limit: int) -> bytes | Refused | NotSent:
    async with client.sessions.send.get(url, timeout=_TIMEOUT, allow_redirects=False) as response:
        if response.status in _GONE:
            return Refused("gone", f"HTTP {response.status}")
        if response.status != 200:
            return NotSent(f"HTTP {response.status}")
        received = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            received += chunk
            if len(received) > limit:
                return Refused("too_large", f"more than {limit} bytes")
        return bytes(received)
