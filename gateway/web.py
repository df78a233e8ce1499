"""The words of the route table: what a route declares, what its handler is given, and what it may answer with.

The one table (`gateway.routes.table`) drives authentication, validation, idempotency, metrics and the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gateway.proxies import caller_address
from kernel.db import Connection
from kernel.errors import ConfigError, ParleyError
from kernel.types import Json

if TYPE_CHECKING:
    from gateway.auth import Auth, Caller
    from gateway.load import Load
    from gateway.services import Services
    from gateway.streams import Streams

# public: anybody. platform, visitor: the handler verifies the platform's own proof, or reads a visitor's token. The
# others: a key that has this scope.
Scope = Literal["public", "platform", "visitor", "read", "write", "admin", "owner"]
SCOPES = frozenset(("public", "platform", "visitor", "read", "write", "admin", "owner"))
UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
MEBIBYTE = 1 << 20

Handler = Callable[["Call"], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Face:
    """What the routes of one gateway process share."""

    services: Services
    auth: Auth
    streams: Streams
    load: Load
    uploads: Load


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `handler` returns a JSON body, an `Answer`, or a response of its own.

    request, query   models of the body and of the query string; anything else in them is refused
    response         model of the body of a 2xx; None where `media` is not JSON
    errors           refusals of its own, besides those that every route of its kind may give
    limit            bytes of a body, counted after decompression
    parts            the body is multipart/form-data and the handler reads it
    streams          stays open for long, so it does not count as a request in flight
    """

    method: str
    path: str
    handler: Handler
    scope: Scope
    summary: str
    tag: str
    request: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    errors: Sequence[type[ParleyError]] = ()
    limit: int = MEBIBYTE
    parts: bool = False
    streams: bool = False
    media: str = "application/json"

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def keyed(self) -> bool:
        """Whether a caller has to show a key."""
        return self.scope not in ("public", "platform", "visitor")

    @property
    def repeatable(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.keyed and self.method in UNSAFE

    @property
    def parameters(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


@dataclass(slots=True)
class Call:
    """One request as a handler sees it. `origin` names it over its repeats under one Idempotency-Key."""

    request: web.Request
    face: Face
    route: Route
    request_id: str
    caller: Caller | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    origin: str = ""

    @property
    def services(self) -> Services:
        return self.face.services

    @property
    def workspace_id(self) -> str:
        assert self.caller is not None
        return self.caller.workspace_id

    def database(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that sees the caller's workspace and no other."""
        return self.face.services.ground.database.workspace(self.workspace_id)

    @property
    def address(self) -> str:
        """The address to count the caller by; "" where there is none."""
        trusted = self.face.services.ground.settings.trusted_proxies
        return caller_address(self.request.remote or "", self.request.headers.get("X-Forwarded-For", ""), trusted)

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self.request.transport is None or self.request.transport.is_closing()


@dataclass(frozen=True, slots=True)
class Answer:
    """A body with a status of its own or with headers."""

    body: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Shape(BaseModel):
    """Base of request models: unknown fields are faults, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class View(BaseModel):
    """Base of response models. They describe and are not run, so none is compiled before somebody asks for it."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True, defer_build=True)


class Paging(Shape):
    limit: int = Field(50, ge=1, le=200, description="Items a page")
    cursor: str = Field("", pattern=r"^[\w=-]{0,200}$", description="`next_cursor` of the page before")


Item = TypeVar("Item")


class Listed(View, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="Where the next page starts; null at the end")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"{params[0].__name__}List"


def page(listed: tuple[Sequence[Json], str | None]) -> Json:
    return {"items": listed[0], "next_cursor": listed[1]}


def dump(value: Any) -> bytes:
    """JSON as the contract has it: UTF-8, times in UTC with a Z."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def instant(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def check_table(routes: Sequence[Route]) -> None:
    """Raises ConfigError for a route without a scope, or one that stands twice: such a gateway does not start."""
    seen: set[str] = set()
    for route in routes:
        if route.scope not in SCOPES:
            raise ConfigError(f"the route {route.name} declares no scope")
        if route.name in seen:
            raise ConfigError(f"the route {route.name} stands twice in the table")
        if route.request is not None and route.method == "GET":
            raise ConfigError(f"the route {route.name} reads a body")
        seen.add(route.name)
