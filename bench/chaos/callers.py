"""Visitors of a page and callers of the API: they repeat a call under its own id until it is answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp

from bench.chaos.bots import Bots
from bench.chaos.ledger import words
from bench.chaos.stand import Run

Json = dict[str, Any]
_PAUSE = 0.3
_WAIT = 15
_BROKEN = (aiohttp.ClientError, TimeoutError, ConnectionError)


class Calls:
    """Calls of the gateway that are repeated until they succeed. `repeats` counts how often that was needed."""

    rows = 0

    def __init__(self, run: Run, http: aiohttp.ClientSession) -> None:
        self._root = run.gateway_url
        self._http = http
        self.repeats = 0

    async def _call(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> Json:
        """What a 2xx says. Raises RuntimeError for a refusal that repeating cannot change."""
        limit = aiohttp.ClientTimeout(total=_WAIT + 10)
        while True:
            pause = _PAUSE
            try:
                async with self._http.request(
                    method, self._root + path, json=body, headers=headers, timeout=limit
                ) as response:
                    if response.status < 300:
                        answer: Json = await response.json()
                        return answer
                    if response.status < 500 and response.status not in (409, 429):
                        raise RuntimeError(f"{path}: {response.status} {await response.text()}")
                    pause = float(response.headers.get("Retry-After", _PAUSE))
            except _BROKEN:
                pass
            self.repeats += 1
            await asyncio.sleep(min(pause, 3.0))

    async def owed(self) -> int:
        return 0


class OnPage(Calls):
    """Visitors with a stream open all the time, which goes on after the last message it has seen."""

    name = "web"

    def __init__(self, run: Run, http: aiohttp.ClientSession, bots: Bots) -> None:
        super().__init__(run, http)
        self._base = f"/channels/web/{bots.accounts['web']}"
        self._tokens: dict[int, str] = {}
        self._shown: dict[int, dict[str, str]] = {}
        self._readers: list[asyncio.Task[None]] = []
        self.streams = 0

    def _headers(self, user: int) -> dict[str, str]:
        return {"Origin": "https://shop.example", "Authorization": f"Bearer {self._tokens[user]}"}

    async def arrive(self, user: int) -> None:
        begun = await self._call("POST", f"{self._base}/sessions", {}, {"Origin": "https://shop.example"})
        self._tokens[user], self._shown[user] = begun["visitor"], {}
        self._readers.append(asyncio.create_task(self._read(user)))

    async def say(self, user: int, word: str, text: str) -> None:
        said = {"text": text, "client_id": f"client-{word}"}
        await self._call("POST", f"{self._base}/messages", said, self._headers(user))

    async def seen(self) -> dict[int, list[str]]:
        """Raises what a reader fell over."""
        for reader in self._readers:
            reader.cancel()
        for ended in await asyncio.gather(*self._readers, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        return {user: words(shown.values()) for user, shown in self._shown.items()}

    async def _read(self, user: int) -> None:
        """Answers by the id of their event; a browser drops a repeat of an id."""
        last = "0"
        while True:
            self.streams += 1
            try:
                headers = {**self._headers(user), "Last-Event-ID": last}
                limit = aiohttp.ClientTimeout(total=None, sock_connect=5)
                async with self._http.get(
                    f"{self._root}{self._base}/stream", headers=headers, timeout=limit
                ) as response:
                    event: dict[str, str] = {}
                    async for line in response.content:
                        name, _, value = line.decode().rstrip("\n").partition(": ")
                        if name:
                            event[name] = value
                        elif event.get("event") == "message":  # only when an event is whole does it count
                            last = event["id"]
                            said = json.loads(event["data"])
                            if said["role"] == "assistant":
                                self._shown[user][last] = said["text"]
                        if not name:
                            event = {}
            except _BROKEN:
                pass
            await asyncio.sleep(_PAUSE)


class OnRest(Calls):
    """A program that speaks for users, and waits for the reply to every other one."""

    name = "rest"

    def __init__(self, run: Run, http: aiohttp.ClientSession, bots: Bots) -> None:
        super().__init__(run, http)
        self._key = {"X-API-Key": bots.api_key}
        self._conversations: dict[int, str] = {}
        self.wrong = Counter[str]()

    async def arrive(self, user: int) -> None:
        return

    async def say(self, user: int, word: str, text: str) -> None:
        said = {"user_id": f"person{user}", "text": text}
        headers = {**self._key, "Idempotency-Key": f"call-{word}"}
        wait = _WAIT if user % 2 else 0
        taken = await self._call("POST", f"/api/v1/messages?wait={wait}", said, headers)
        self._conversations[user] = taken["conversation_id"]
        if taken.get("reply") and taken["reply"]["text"] != text:
            self.wrong[word] += 1

    async def seen(self) -> dict[int, list[str]]:
        shown: dict[int, list[str]] = {}
        for user, conversation in self._conversations.items():
            path, cursor = f"/api/v1/conversations/{conversation}/messages?limit=100", ""
            while True:
                page = await self._call("GET", path + (f"&cursor={cursor}" if cursor else ""), None, self._key)
                said = [one["text"] for one in page["items"] if one["role"] == "assistant"]
                shown.setdefault(user, []).extend(words(said))
                cursor = page.get("next_cursor") or ""
                if not cursor:
                    break
        return shown
