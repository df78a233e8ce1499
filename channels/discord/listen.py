"""A bot's connection: every event is committed, in the order of its channel, and an interaction then deferred.

Discord takes no confirmation of an event. What was received and not committed when a process dies is lost to the
gateway, and found again by `history`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import orjson

from channels.discord.client import DiscordClient, NoAnswer, NotConnected
from channels.discord.interactions import immediate
from channels.discord.lanes import Lanes
from channels.discord.parse import TAKEN
from kernel import log
from kernel.types import Account, Disconnected, Json, Take

_log = log.get("discord")

COMMITS = 8  # tries at one event, over about half a minute
RESUMES = 6  # tries to get back to a session before it counts as lost
LEAVING_SECONDS = 1.0
_DISPATCH = 0


async def listen(
    client: DiscordClient,
    account: Account,
    take: Take,
    alive: Callable[[], None],
    *,
    commits: int = COMMITS,
    resumes: int = RESUMES,
) -> None:
    """See `kernel.types.Channel`. Ends with what `take` raises when that goes on for half a minute."""
    gateway: Any = await asyncio.to_thread(import_module, "channels.discord.gateway")  # a fifth of a second's work
    listener = Listener(client, account, take, alive, commits)
    wanted = gateway.intents(message_content=wants_content(account))
    url = await gateway_url(client)
    connection = gateway.Connection(
        client.sessions.poll, url, client.token, wanted, listener.frame, listener.lanes.room
    )
    listener.session = lambda: connection.session_id
    reading = asyncio.create_task(connection.run(resumes))
    try:
        await asyncio.wait((reading, listener.lanes.failed), return_when=asyncio.FIRST_COMPLETED)
        if listener.lanes.failed.done():
            listener.lanes.failed.result()
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await connection.close()
        await listener.close()


def wants_content(account: Account) -> bool:
    """Whether the bot reads messages that do not call it: the setting `message_content`, on by default."""
    return account.settings.get("message_content") is not False


async def gateway_url(client: DiscordClient) -> str:
    """Where to connect. Asking first finds a bad token, and a day's identifies used up: one more, and Discord would
    reset the token. Source: https://docs.discord.com/developers/events/gateway#session-start-limit-object

    Raises Disconnected.
    """
    try:
        answer = await client.call("GET", "/gateway/bot", patience=5.0)
    except (NotConnected, NoAnswer) as error:
        raise Disconnected("away", str(error)) from None
    if answer.status == 401:
        raise Disconnected("refused", "the bot token is not, or no longer, valid")
    if not answer.ok or not isinstance(answer.data, dict):
        raise Disconnected("away", answer.reason, answer.retry_after)
    limit = answer.data.get("session_start_limit") or {}
    if limit.get("remaining", 1) < 1:
        wait = limit.get("reset_after", 60_000) / 1000
        raise Disconnected("away", "all of a day's connections are used up", retry_after=wait)
    return client.gateway_url or str(answer.data["url"])


class Listener:
    """Sorts what the socket brings into lanes."""

    def __init__(
        self, client: DiscordClient, account: Account, take: Take, alive: Callable[[], None], commits: int
    ) -> None:
        self._client = client
        self._account = account
        self._take = take
        self._alive = alive
        self._commits = commits
        self._deferring: set[asyncio.Task[None]] = set()
        self.lanes = Lanes(self._commit)
        self.session: Callable[[], str] = str

    def frame(self, text: str) -> None:
        """One payload of the gateway, in order. Heartbeats that are answered are a sign of life, too."""
        self._alive()
        payload = orjson.loads(text)
        if payload.get("op") != _DISPATCH:
            return
        name, data = payload["t"], payload["d"]
        if not isinstance(data, dict):
            return
        places = self._client.places
        places.note(name, data)
        if name in TAKEN:
            update = places.update(name, data)
            update["event"] = f"{self.session()}:{payload['s']}"
            self.lanes.put(str(data.get("channel_id")), update)

    async def _commit(self, update: Json) -> None:
        immediately = await self._taken(update)
        if update["t"] == "INTERACTION_CREATE":
            # Not awaited: the next event of the channel need not wait for Discord.
            self._spawn(self._defer(update["d"], immediately or immediate(self._account, update)))

    async def _taken(self, update: Json) -> Json | None:
        for tried in range(self._commits):
            try:
                return await self._take(update, orjson.dumps(update))
            except Exception as error:
                if tried + 1 == self._commits:
                    raise
                _log.warning("discord.not_committed", account=self._account.account_id, error=repr(error))
                await asyncio.sleep(min(0.25 * 2**tried, 8.0))
        raise AssertionError("unreachable")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._deferring.add(task)
        task.add_done_callback(self._deferring.discard)

    async def _defer(self, interaction: Json, response: Json | None) -> None:
        """Discord gives three seconds for it; a second deferral of the same is refused and does no harm."""
        if response is None:
            return
        path = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
        for _ in range(3):
            try:
                answer = await self._client.call("POST", path, response, as_bot=False, patience=1.0)
                if answer.ok or answer.status < 500:
                    return
            except (NotConnected, NoAnswer):
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        await self.lanes.close(LEAVING_SECONDS)
        if self._deferring:
            await asyncio.wait(self._deferring, timeout=LEAVING_SECONDS)
        for task in list(self._deferring):
            task.cancel()
        await asyncio.gather(*self._deferring, return_exceptions=True)
