"""People and where they are known."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gateway.web import Call, Listed, Paging, Route, View, page
from identity import users
from kernel.errors import NotFound
from kernel.types import Json


class User(View):
    user_id: str
    display_name: str
    language: str
    created_at: datetime
    joined_to: str | None = Field(description="The person whom all their identities were linked to; null for most")


class Identity(View):
    identity_id: str
    account_id: str
    channel: str
    external_id: str
    username: str
    created_at: datetime


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await users.list_users(conn, cursor=asked.cursor, limit=asked.limit))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return await users.get(conn, call.path["user_id"])


async def identities(call: Call) -> Json:
    async with call.database() as conn:
        return page((await users.identities(conn, call.path["user_id"]), None))


ROUTES = [
    Route(
        "GET",
        "/api/v1/users",
        listed,
        "read",
        "List people, newest first",
        "people",
        query=Paging,
        response=Listed[User],
    ),
    Route("GET", "/api/v1/users/{user_id}", one, "read", "One person", "people", response=User, errors=(NotFound,)),
    Route(
        "GET",
        "/api/v1/users/{user_id}/identities",
        identities,
        "read",
        "Where a person is known",
        "people",
        response=Listed[Identity],
        errors=(NotFound,),
    ),
]
