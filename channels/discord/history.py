"""What was said while nobody listened.

A bot can list its servers, their channels and threads, and read each since a time. It cannot list its direct messages:
Discord shows a bot none of its dialogues until one of them speaks. So those are read that are named in `places`, and
those that this client has met.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

from channels.discord.client import Answer, DiscordClient, NoAnswer, NotConnected
from channels.discord.find import since_then
from channels.discord.places import FORUMS, WITH_MESSAGES
from channels.discord.snowflakes import seconds_of
from kernel.types import Account, Disconnected, Json, Unknown

PATIENCE = 60.0
_GUILDS_PAGE = 200
_THREADS_PAGE = 100
_THREADED = FORUMS | {0, 5}
_HIDDEN = (403, 404)
_ARCHIVING_SECONDS = 3600.0  # the shortest time of silence after which a thread is archived by itself


async def history(
    client: DiscordClient, account: Account, since: float, places: Sequence[Json] = ()
) -> AsyncIterator[Json]:
    """Messages since then, as `parse` takes them, each channel's oldest first. `places` are addresses of conversations
    that are known to exist, direct messages above all.

    Nothing for a bot whose interactions come over HTTP: to it nobody's messages are told in the first place.
    Raises Disconnected.
    """
    if account.mode == "webhook":
        return
    try:
        dialogues = dict.fromkeys([*(a["channel_id"] for a in places if a.get("private")), *client.places.private])
        for channel_id in dialogues:
            async for update in _messages(client, channel_id, None, since):
                yield update
        async for guild_id in _guilds(client):
            async for update in _guild(client, guild_id, since):
                yield update
    except (NotConnected, NoAnswer) as error:
        raise Disconnected("away", str(error)) from None


async def _guild(client: DiscordClient, guild_id: str, since: float) -> AsyncIterator[Json]:
    guild = await _get(client, f"/guilds/{guild_id}")
    channels = await _get(client, f"/guilds/{guild_id}/channels")
    active = await _get(client, f"/guilds/{guild_id}/threads/active")
    if not isinstance(guild, dict) or not isinstance(channels, list):
        return
    threads = active.get("threads", []) if isinstance(active, dict) else []
    client.places.note("GUILD_CREATE", {**guild, "channels": channels, "threads": threads})
    for channel in channels if time.time() - since > _ARCHIVING_SECONDS else ():
        if channel["type"] in _THREADED:
            archived = [thread async for thread in _archived(client, channel["id"], since)]
            client.places.note("THREAD_LIST_SYNC", {"threads": archived})
            threads = [*threads, *archived]
    for channel_id in _spoken_in((*(c for c in channels if c["type"] in WITH_MESSAGES), *threads), since):
        async for update in _messages(client, channel_id, guild_id, since):
            yield update


def _spoken_in(channels: Iterable[Json], since: float) -> list[str]:
    """Those whose last message is not older; it may be deleted since, which costs one look for nothing."""
    return [c["id"] for c in channels if c.get("last_message_id") and seconds_of(c["last_message_id"]) >= since]


async def _messages(client: DiscordClient, channel_id: str, guild_id: str | None, since: float) -> AsyncIterator[Json]:
    async for message in since_then(client, channel_id, since):
        if isinstance(message, Unknown):
            raise Disconnected("away", message.reason)
        # As the gateway tells it: the history leaves out the server.
        told = message if guild_id is None else {**message, "guild_id": guild_id}
        yield client.places.update("MESSAGE_CREATE", told)


async def _guilds(client: DiscordClient) -> AsyncIterator[str]:
    after = "0"
    while True:
        page = await _get(client, f"/users/@me/guilds?after={after}&limit={_GUILDS_PAGE}")
        if not isinstance(page, list):
            return
        for guild in page:
            yield guild["id"]
        if len(page) < _GUILDS_PAGE:
            return
        after = page[-1]["id"]


async def _archived(client: DiscordClient, channel_id: str, since: float) -> AsyncIterator[Json]:
    """Public threads archived since then, latest first: they were spoken in, perhaps, and closed meanwhile."""
    before = ""
    while True:
        path = f"/channels/{channel_id}/threads/archived/public?limit={_THREADS_PAGE}{before}"
        page = await _get(client, path)
        threads = page.get("threads", []) if isinstance(page, dict) else []
        for thread in threads:
            if _archived_at(thread) < since:
                return
            yield thread
        if not threads or not page.get("has_more"):
            return
        before = f"&before={threads[-1]['thread_metadata']['archive_timestamp'].replace('+', '%2B')}"


def _archived_at(thread: Json) -> float:
    return datetime.fromisoformat(thread["thread_metadata"]["archive_timestamp"]).timestamp()


async def _get(client: DiscordClient, path: str) -> Any:
    """The JSON, or None for what the bot may not see. Raises Disconnected, NotConnected and NoAnswer."""
    answer = await client.call("GET", path, patience=PATIENCE)
    if answer.status in _HIDDEN:
        return None
    if not answer.ok:
        raise _disconnected(answer)
    return answer.data


def _disconnected(answer: Answer) -> Disconnected:
    if answer.status == 401:
        return Disconnected("refused", "the bot token is not, or no longer, valid")
    return Disconnected("away", answer.reason, answer.retry_after)
