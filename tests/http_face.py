"""A served gateway over real stores, and a client that holds every answer against the route table."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from gateway.idempotency import REPLAYED
from gateway.routes.table import ROUTES
from gateway.runner import Limits
from gateway.server import listening, open_app
from gateway.services import Ground, Services
from gateway.web import Route
from identity import keys
from tests.gateway_parts import Scripted, gateway

_PATHS = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path)), route) for route in ROUTES]
ERROR_FIELDS = {"status", "code", "message", "request_id", "fallback_used", "retry_after", "details"}


@dataclass
class Reply:
    status: int
    body: Any
    headers: Any
    raw: bytes


@dataclass
class Server:
    """A gateway that listens; `answer` is its scripted answerer."""

    url: str
    http: aiohttp.ClientSession
    services: Services
    answer: Scripted
    ground: Ground


@dataclass
class Client:
    """Calls a server with a key, and checks the shape of whatever comes back."""

    server: Server
    workspace_id: str
    api_key: str
    key_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Reply:
        sent = {"X-API-Key": self.api_key, **self.headers, **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        if body is not None:
            more["data"] = io.BytesIO(orjson.dumps(body))
            sent.setdefault("Content-Type", "application/json")
        async with self.server.http.request(
            method, self.server.url + path, headers=sent, allow_redirects=False, **more
        ) as response:
            raw = await response.read()
            body = orjson.loads(raw) if raw and response.content_type == "application/json" else None
            reply = Reply(response.status, body, response.headers, raw)
        check(method, path.partition("?")[0], reply)
        return reply

    async def get(self, path: str, **more: Any) -> Reply:
        return await self("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Reply:
        return await self("POST", path, {} if body is None else body, **more)


def route_of(method: str, path: str) -> Route | None:
    exact = [route for pattern, route in _PATHS if route.method == method and pattern.fullmatch(path)]
    return min(exact, key=lambda route: len(route.parameters), default=None)


def check(method: str, path: str, reply: Reply) -> None:
    """Every answer has its request id; a refusal has the contract's shape; a body has its model's."""
    assert reply.headers["X-Request-ID"]
    if reply.status >= 400:
        if method != "HEAD":
            assert set(reply.body) == ERROR_FIELDS, reply.raw
            assert reply.body["status"] == "error"
            assert reply.body["request_id"] == reply.headers["X-Request-ID"] or REPLAYED in reply.headers
            assert all(set(detail) == {"field", "message"} for detail in reply.body["details"])
        return
    route = route_of(method, path)
    if route and route.response and reply.body is not None:
        model = route.response.model_validate(reply.body)
        fields = type(model).model_fields
        assert set(reply.body) <= {field.alias or name for name, field in fields.items()}, reply.body


@asynccontextmanager
async def served(ground: Ground, *, telegram_url: str = "", **settings: Any) -> AsyncIterator[Server]:
    answer = Scripted()
    ground = dataclasses.replace(ground, settings=dataclasses.replace(ground.settings, **settings))
    async with (
        gateway(ground, answer, telegram_url=telegram_url, limits=Limits(lease=2.0, tries=2)) as services,
        open_app(services) as app,
        listening(app, "127.0.0.1", 0) as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http,
    ):
        yield Server(url, http, services, answer, ground)


async def client(server: Server, workspace_id: str, *scopes: str) -> Client:
    """A client with a new key of these scopes; by default all of them."""
    async with server.ground.database.workspace(workspace_id) as conn:
        key_id, api_key = await keys.create(
            conn, server.ground.ring, workspace_id, name="test", scopes=scopes or keys.OWNER_SCOPES
        )
    return Client(server, workspace_id, api_key, key_id)
