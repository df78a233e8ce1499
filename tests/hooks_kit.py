"""What the tests of inbound hooks share: calls as other systems make them, and a served gateway with a Telegram."""

from __future__ import annotations

import hashlib
import hmac
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from channels.telegram import connect
from gateway.services import Ground
from kernel.types import Json
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, Reply, client, served
from webhooks.hooks.examples import examples

ANN = 1001


def sample(example: str, name: str = "") -> tuple[dict[str, str], bytes]:
    """Headers and body of a call, as the system makes it."""
    samples = examples()[example].samples
    found = samples[name or next(iter(samples))]
    return dict(found.headers), orjson.dumps(found.payload)


def signed_by_github(secret: str, body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def signed_by_stripe(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = int(at or time.time())
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={stamp},v1={signature}"}


@dataclass
class Outside:
    """Another system: it knows a hook's address, and no key."""

    http: aiohttp.ClientSession
    url: str
    secret: str = ""

    async def call(self, body: bytes | Json, headers: dict[str, str] | None = None, url: str = "") -> Reply:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"content-type": "application/json"}
        given |= {name.lower(): value for name, value in (headers or {}).items()}
        async with self.http.post(url or self.url, data=io.BytesIO(data), headers=given) as response:
            raw = await response.read()
        told = orjson.loads(raw) if raw and response.content_type == "application/json" else None
        return Reply(response.status, told, response.headers, raw)

    async def push(self, delivery: str = "", url: str = "", **changes: Any) -> Reply:
        """GitHub tells of a push, signed."""
        headers, body = sample("github", "push")
        body = orjson.dumps({**orjson.loads(body), **changes})
        if delivery:
            headers["x-github-delivery"] = delivery
        return await self.call(body, {**headers, **signed_by_github(self.secret, body)}, url)


def at(root: str, url: str) -> str:
    """The hook's address on the gateway that listens there: tests' gateways do not know theirs."""
    return root + urlsplit(url).path


async def hook(api: Client, **body: Any) -> tuple[Json, Outside]:
    """Makes a hook; what was answered, and the system that calls it."""
    made = await api.post("/api/v1/hooks", {"name": "test", **body})
    assert made.status == 201, made.body
    return made.body, Outside(api.server.http, at(api.server.url, made.body["url"]), made.body["secret"] or "")


@dataclass
class Rig:
    ground: Ground
    sim: Simulator
    api: Client
    account: str

    def seen(self, chat: int = ANN) -> list[str]:
        return [entry["text"] for entry in self.sim.sends(chat) if entry["method"] == "sendMessage"]

    async def shows(self, words: str, chat: int = ANN) -> str:
        """Waits for a message that holds these words."""

        async def there() -> bool:
            return any(words in text for text in self.seen(chat))

        await until(there)
        return next(text for text in self.seen(chat) if words in text)

    async def met(self) -> str:
        """Ann has written; her user id."""
        self.sim.say(ANN, "hello")
        await self.shows("you said: hello")
        (conversation,) = (await self.api.get("/api/v1/conversations?limit=1")).body["items"]
        return str(conversation["user_id"])


@asynccontextmanager
async def telegram_rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async with simulator() as sim, served(ground, telegram_url=sim.url) as server:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(server.services) as url:
            found = await server.services.directory.account(account)
            assert found
            bot = await server.services.directory.client(found)
            assert isinstance(await connect(bot, "webhook", f"{url}/channels/telegram/{account}", SECRET), dict)
            people.add_user(sim.world, ANN, "Ann")
            yield Rig(ground, sim, await client(server, workspace_id), account)
