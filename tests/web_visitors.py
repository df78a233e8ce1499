"""Visitors of a page, as their browsers call a served gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from channels.web import signature_of
from kernel.ids import new_id
from tests.http_face import Client, Reply, Server, client

PAGE = "https://shop.example"


@dataclass
class Site:
    """A web channel and the page that embeds it."""

    api: Client
    account_id: str
    secret: str
    origin: str = PAGE

    @property
    def base(self) -> str:
        return f"/channels/web/{self.account_id}"

    async def call(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> Reply:
        sent = {"X-API-Key": "", "Origin": self.origin, "Authorization": f"Bearer {token}" if token else "", **headers}
        return await self.api(method, self.base + path, body, headers=sent)

    def identity(self, user_id: str, expires: int | None = None, **more: str) -> dict[str, Any]:
        """What the page's server says of its user."""
        signature = signature_of(self.secret, user_id, expires)
        return {"user_id": user_id, "signature": signature, **({"expires": expires} if expires else {}), **more}

    async def visitor(self, token: str = "", identity: dict[str, Any] | None = None) -> Browser:
        body = {**({"visitor": token} if token else {}), **({"identity": identity} if identity else {})}
        begun = await self.call("POST", "/sessions", body)
        assert begun.status == 200, begun.raw
        return Browser(self, begun.body["visitor"], begun.body)


@dataclass
class Browser:
    """A visitor with a session."""

    site: Site
    token: str
    begun: dict[str, Any]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        return await self.site.call(method, path, body, token=self.token, **headers)

    async def say(self, text: str, client_id: str = "") -> Reply:
        return await self.call("POST", "/messages", {"text": text, "client_id": client_id or new_id("c")})

    async def said(self) -> list[tuple[str, str]]:
        history = await self.call("GET", "/messages")
        assert history.status == 200
        return [(item["role"], item["text"]) for item in history.body["items"]]

    async def answered(self, count: int) -> list[tuple[str, str]]:
        """The conversation once it holds `count` messages."""
        async with asyncio.timeout(20):
            while len(said := await self.said()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return said

    @asynccontextmanager
    async def stream(self, last: int | None = None) -> AsyncIterator[AsyncIterator[tuple[str, str, dict[str, Any]]]]:
        """Events of the stream as (event, id, data)."""
        sent = {"Origin": self.site.origin, "Authorization": f"Bearer {self.token}"}
        if last is not None:
            sent["Last-Event-ID"] = str(last)
        server = self.site.api.server
        async with server.http.get(f"{server.url}{self.site.base}/stream", headers=sent) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert response.headers["Access-Control-Allow-Origin"] == self.site.origin
            yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    event = event_id = data = ""
    async for raw in response.content:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "id":
            event_id = value
        elif name == "data":
            data = value
        elif not name and data:
            yield event, event_id, orjson.loads(data)
            event = event_id = data = ""


async def site(server: Server, workspace_id: str, **settings: Any) -> Site:
    """A new web channel, connected over REST."""
    api = await client(server, workspace_id)
    body = {"kind": "web", "mode": "api", "name": "Shop", "settings": {"origins": [PAGE], **settings}}
    made = await api.post("/api/v1/channels", body)
    assert made.status == 201, made.raw
    return Site(api, made.body["account_id"], made.body["identity_secret"])
