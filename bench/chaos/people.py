"""People on the simulated platforms: they write to a bot, and what they see of it is read from their screens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp

from bench.chaos.ledger import words
from bench.chaos.stand import DISCORD, Run

Json = dict[str, Any]
_PAGE = 5000
_TRIES = 60
_LOOK = 0.2


class Refused(Exception):
    """The platform told a person that it did not work."""


class Crowd(Protocol):
    """The people of one channel, by number. `rows` is how long a text they may write, 0 when it is not worth it."""

    name: str
    rows: int

    async def arrive(self, user: int) -> None:
        """Somebody new."""
        ...

    async def say(self, user: int, word: str, text: str) -> None:
        """Returns when the words were taken. Raises Refused when whoever says it was told that they were not."""
        ...

    async def seen(self) -> dict[int, list[str]]:
        """What everybody saw of the bot, as the words in it, in order."""
        ...

    async def owed(self) -> int:
        """What the platform has still to deliver."""
        ...


class Screens:
    """People who sit at a simulator. `say` notes where each one writes."""

    name = ""
    rows = 0

    def __init__(self, run: Run, http: aiohttp.ClientSession, platform: str) -> None:
        self._http = http
        self._root = f"{run.simulators[platform]}/sim"
        self._places: dict[str, int] = {}

    async def _post(self, path: str, body: Json) -> Json:
        async with self._http.post(f"{self._root}/{path}", json=body) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer

    async def _get(self, path: str, **query: Any) -> Json:
        async with self._http.get(f"{self._root}/{path}", params=query) as response:
            response.raise_for_status()
            answer: Json = await response.json()
            return answer

    async def _truth(self) -> AsyncIterator[Json]:
        """What the bot did, in order."""
        since = 0
        while entries := (await self._get("truth", since=since, limit=_PAGE))["entries"]:
            for entry in entries:
                yield entry
            since = entries[-1]["seq"]

    async def _screens(self) -> AsyncIterator[tuple[int, list[Json]]]:
        """Every conversation that somebody has begun, and the messages in it that are there now."""
        for place, user in self._places.items():
            shown = await self._get(f"channels/{place}/messages")
            yield user, [one["message"] for one in shown["messages"] if not one["deleted"]]


class OnTelegram(Screens):
    name, rows = "telegram", 160

    def __init__(self, run: Run, http: aiohttp.ClientSession) -> None:
        super().__init__(run, http, "telegram")

    async def arrive(self, user: int) -> None:
        await self._post("users", {"id": user, "first_name": f"Person {user}"})

    async def say(self, user: int, word: str, text: str) -> None:
        await self._post("messages", {"user_id": user, "text": text})

    async def seen(self) -> dict[int, list[str]]:
        shown: dict[int, list[str]] = {}
        async for entry in self._truth():
            if entry["method"] == "sendMessage":
                shown.setdefault(entry["chat_id"], []).extend(words([entry["text"]]))
        return shown

    async def owed(self) -> int:
        return sum(bot["webhook"]["pending_update_count"] for bot in (await self._get("state"))["bots"])


class OnSlack(Screens):
    """Direct messages of an app that is delivered to over HTTP, or over Socket Mode."""

    rows = 160

    def __init__(self, run: Run, http: aiohttp.ClientSession, way: str) -> None:
        self.name = f"slack-{way}"
        super().__init__(run, http, self.name)

    async def arrive(self, user: int) -> None:
        await self._post("users", {"name": f"person{user}"})

    async def say(self, user: int, word: str, text: str) -> None:
        said = await self._post("messages", {"user": f"person{user}", "text": text})
        self._places[said["channel"]] = user

    async def seen(self) -> dict[int, list[str]]:
        shown: dict[int, list[str]] = {}
        async for user, messages in self._screens():
            shown[user] = words(one.get("text", "") for one in messages if one.get("bot_id"))
        return shown

    async def owed(self) -> int:
        return int((await self._get("state"))["pending_event_count"])


class OnDiscord(Screens):
    """Direct messages, which come over the gateway's socket."""

    name, rows, bot = "discord", 90, DISCORD["discord"][0]

    def __init__(self, run: Run, http: aiohttp.ClientSession) -> None:
        super().__init__(run, http, "discord")

    async def arrive(self, user: int) -> None:
        await self._post("users", {"name": f"person{user}"})

    async def say(self, user: int, word: str, text: str) -> None:
        said = await self._post("messages", {"user": f"person{user}", "bot": self.bot, "content": text})
        self._places[said["channel_id"]] = user

    async def seen(self) -> dict[int, list[str]]:
        shown: dict[int, list[str]] = {}
        async for user, messages in self._screens():
            by_bot = [one["content"] for one in messages if one["author"]["id"] == str(self.bot)]
            shown[user] = words(by_bot)
        return shown

    async def owed(self) -> int:
        found: int = (await self._get("state"))["undelivered"]["interactions"]
        return found


class OnCommands(OnDiscord):
    """Slash commands of another bot, which come over HTTP. Discord delivers them once, within three seconds, or tells
    the person that the application did not respond. An answer stands where its command was given, so it is by the time
    at which they appeared that answers have an order."""

    name, bot = "discord-http", DISCORD["discord-http"][0]

    async def say(self, user: int, word: str, text: str) -> None:
        given = {"user": f"person{user}", "bot": self.bot, "command": "ask", "options": {"question": text}}
        asked = await self._post("commands", given)
        self._places[asked["channel_id"]] = user
        for _ in range(_TRIES):
            if asked["state"] in ("deferred", "answered"):
                return
            if asked["state"] == "failed":
                raise Refused
            await asyncio.sleep(_LOOK)
            asked = await self._get(f"interactions/{asked['interaction_id']}")
        raise Refused

    async def seen(self) -> dict[int, list[str]]:
        appeared: dict[str, None] = {}
        async for entry in self._truth():
            if words([entry["text"] or ""]):
                appeared.setdefault(str(entry["message_id"]))
        rank = {message: n for n, message in enumerate(appeared)}
        shown: dict[int, list[str]] = {}
        async for user, messages in self._screens():
            by_bot = [one for one in messages if one["author"]["id"] == str(self.bot) and one["id"] in rank]
            by_bot.sort(key=lambda one: rank[one["id"]])
            shown[user] = words(one["content"] for one in by_bot)
        return shown
