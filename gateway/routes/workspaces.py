"""The key's own workspace and, for an owner, the organization's."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from identity import workspaces
from kernel.errors import Conflict
from kernel.types import Json


class Settings(View):
    workspace_id: str
    slug: str
    name: str


class SettingsChange(Shape):
    name: str | None = Field(None, min_length=1, max_length=200)


class NewWorkspace(Shape):
    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", examples=["support"])
    name: str = Field(min_length=1, max_length=200, examples=["Customer support"])


class Workspace(Settings):
    created_at: datetime


async def settings(call: Call) -> Json:
    async with call.database() as conn:
        return _settings(await workspaces.get(conn))


async def change(call: Call) -> Json:
    asked: SettingsChange = call.body
    async with call.database() as conn:
        return _settings(await workspaces.change(conn, name=asked.name))


def _settings(row: Json) -> Json:
    return {name: row[name] for name in ("workspace_id", "slug", "name")}


async def create(call: Call) -> Answer:
    """201 for a new one; 409 when the slug is taken."""
    asked: NewWorkspace = call.body
    database = call.services.ground.database
    async with database.anywhere() as conn:
        made, fresh = await workspaces.add_sibling(conn, call.workspace_id, asked.slug, asked.name)
    if made is None or not fresh:
        raise Conflict(f"the slug {asked.slug!r} is taken")
    async with database.workspace(made) as conn:
        return Answer(_workspace(await workspaces.get(conn)))


async def listed(call: Call) -> Json:
    """An owner sees the organization's workspaces, any other admin only their own."""
    asked: Paging = call.query
    assert call.caller
    if "owner" not in call.caller.scopes:
        async with call.database() as conn:
            return page(([_workspace(await workspaces.get(conn))], None))
    async with call.services.ground.database.anywhere() as conn:
        found, cursor = await workspaces.siblings(conn, call.workspace_id, cursor=asked.cursor, limit=asked.limit)
    return page(([_workspace(row) for row in found], cursor))


def _workspace(row: Json) -> Json:
    return {**_settings(row), "created_at": row["created_at"]}


ROUTES = [
    Route("GET", "/api/v1/settings", settings, "admin", "The workspace's settings", "admin", response=Settings),
    Route(
        "PATCH",
        "/api/v1/settings",
        change,
        "admin",
        "Change the workspace's settings",
        "admin",
        request=SettingsChange,
        response=Settings,
    ),
    Route(
        "POST",
        "/api/v1/admin/workspaces",
        create,
        "owner",
        "Add a workspace to the organization",
        "admin",
        request=NewWorkspace,
        response=Workspace,
        status=201,
        errors=(Conflict,),
    ),
    Route(
        "GET",
        "/api/v1/admin/workspaces",
        listed,
        "admin",
        "List the organization's workspaces",
        "admin",
        query=Paging,
        response=Listed[Workspace],
    ),
]
