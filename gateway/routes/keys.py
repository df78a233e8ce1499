"""API keys of a workspace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from identity import keys, workspaces
from kernel.errors import Forbidden, InvalidRequest, NotFound
from kernel.types import Json

Grant = Literal["read", "write", "admin", "owner"]


class NewKey(Shape):
    name: str = Field(min_length=1, max_length=200, examples=["website"])
    scopes: list[Grant] = Field(min_length=1, max_length=4, examples=[["read", "write"]])
    workspace: str | None = Field(
        None, max_length=128, description="Slug or id of another workspace of the organization; needs scope owner"
    )
    expires_at: AwareDatetime | None = None


class KeyMade(View):
    key_id: str
    api_key: str = Field(description="Shown this once only")
    name: str
    scopes: list[str]
    workspace_id: str
    expires_at: datetime | None


class Key(View):
    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


async def create(call: Call) -> Json:
    """Nobody hands out more than they have."""
    asked: NewKey = call.body
    assert call.caller
    lacking = sorted(set(asked.scopes) - call.caller.scopes)
    if lacking:
        raise Forbidden(f"this key does not have the scope {lacking[0]!r}, so it cannot grant it")
    if asked.expires_at and asked.expires_at <= datetime.now(UTC):
        message = "lies in the past"
        raise InvalidRequest(f"expires_at {message}", details=[{"field": "expires_at", "message": message}])
    workspace_id = await _workspace(call, asked.workspace)
    ground = call.services.ground
    async with ground.database.workspace(workspace_id) as conn:
        key_id, api_key = await keys.create(
            conn, ground.ring, workspace_id, name=asked.name, scopes=asked.scopes, expires_at=asked.expires_at
        )
    return {
        "key_id": key_id,
        "api_key": api_key,
        "name": asked.name,
        "scopes": [scope for scope in keys.OWNER_SCOPES if scope in asked.scopes],
        "workspace_id": workspace_id,
        "expires_at": asked.expires_at,
    }


async def _workspace(call: Call, named: str | None) -> str:
    """The workspace that the new key is for. Raises Forbidden and NotFound."""
    if named is None or named == call.workspace_id:
        return call.workspace_id
    async with call.database() as conn:
        own = await workspaces.get(conn)
        if named == own["slug"]:
            return call.workspace_id
        assert call.caller
        if "owner" not in call.caller.scopes:
            raise Forbidden("a key for another workspace needs the scope 'owner'")
        found = await workspaces.sibling(conn, call.workspace_id, named)
    if found is None:
        raise NotFound("there is no such workspace")
    return found


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        return page(await keys.list_keys(conn, cursor=asked.cursor, limit=asked.limit))


async def revoke(call: Call) -> Answer:
    async with call.database() as conn:
        public_id = await keys.revoke(conn, call.path["key_id"])
    if public_id is None:
        raise NotFound("there is no such key")
    call.face.auth.forget(public_id)
    return Answer(None)


ROUTES = [
    Route(
        "POST",
        "/api/v1/keys",
        create,
        "admin",
        "Make a key; it is shown once",
        "keys",
        request=NewKey,
        response=KeyMade,
        status=201,
        errors=(NotFound,),
    ),
    Route("GET", "/api/v1/keys", listed, "admin", "List keys", "keys", query=Paging, response=Listed[Key]),
    Route(
        "DELETE",
        "/api/v1/keys/{key_id}",
        revoke,
        "admin",
        "Revoke a key; in force within two seconds",
        "keys",
        status=204,
    ),
]
