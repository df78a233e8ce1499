"""Bots: connected, listed, changed, disconnected. Their credentials go in and never come out."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from channels import accounts
from channels.table import CHANNELS
from channels.web import origin_of
from gateway.credentials import Credentials, Kind, checked, fault, mode_of
from gateway.routes.policies import AccessSettings, GroupSettings
from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel.db import Connection
from kernel.errors import Conflict, NotFound, Unavailable
from kernel.ids import new_id
from kernel.types import Account, Json, NotSent, Refused


class WidgetTheme(Shape):
    """How a page's chat looks until the page says otherwise."""

    mode: Literal["auto", "light", "dark"] | None = None
    accent: str | None = Field(None, pattern=r"^#[0-9a-fA-F]{6}$", examples=["#0f766e"])
    position: Literal["right", "left"] | None = None


class PaceSettings(Shape):
    """Messages a second that may be sent, where that differs from what the platform usually allows."""

    bot: float | None = Field(None, gt=0, le=1_000_000)
    chat: float | None = Field(None, gt=0, le=1_000_000)
    workspace: float | None = Field(None, gt=0, le=1_000_000)


class BotSettings(Shape):
    """`answer`: from knowledge, or echo as a test of the connection. `unknown_sends`: what to do about a message when
    nobody knows whether it arrived: send it again, or hold it for a person. `streaming`: whether an answer is shown
    while it is made. `gather_seconds`: how long a burst of messages is waited for before it is answered."""

    answer: Literal["knowledge", "echo"] | None = None
    unknown_sends: Literal["resend", "hold"] | None = None
    pace: PaceSettings | None = None
    streaming: bool | None = None
    feedback: bool | None = Field(None, description="Whether answers carry buttons for praise and blame")
    groups: GroupSettings | None = Field(None, description="What is answered where several people talk")
    access: AccessSettings | None = Field(None, description="Who may use the bot")
    message_content: bool | None = Field(None, description="Discord: whether the bot asks to read every message")
    gather_seconds: float | None = Field(None, ge=0, le=10)
    origins: list[Annotated[str, Field(max_length=300), AfterValidator(origin_of)]] | None = Field(
        None, max_length=50, description="Web: whose pages may embed the chat, as `https://shop.example`; `*` for any"
    )
    title: str | None = Field(None, min_length=1, max_length=80, description="Web: the chat's heading")
    greeting: str | None = Field(None, max_length=500, description="Web: what an empty conversation begins with")
    suggestions: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        None, max_length=6, description="Web: first questions to choose from"
    )
    theme: WidgetTheme | None = Field(None, description="Web: how the chat looks")
    identity_required: bool | None = Field(None, description="Web: only visitors for whom the page vouches")


class NewChannel(Shape):
    kind: Kind
    name: str = Field(min_length=1, max_length=200)
    mode: Literal["webhook", "polling", "socket", "api"]
    credentials: Credentials = Field(default_factory=dict)
    settings: BotSettings = Field(default_factory=lambda: BotSettings.model_validate({}))


class ChannelChange(Shape):
    name: str | None = Field(None, min_length=1, max_length=200)
    settings: BotSettings | None = Field(None, description="Merged; null takes a setting back")


class Profile(View):
    model_config = ConfigDict(extra="allow")


class ChannelAccount(View):
    account_id: str
    kind: str
    name: str
    mode: str
    status: Literal["connected", "failed", "disconnected"]
    failure: str
    settings: dict[str, Any]
    profile: Profile = Field(description="What the platform says of the bot")
    health: dict[str, Any] = Field(description="What the last probe of its inbound side found: ok, detail, at")
    inbound_url: str | None = Field(description="Where the platform delivers; null when nobody calls in")
    last_inbound_at: datetime | None
    created_at: datetime


class ChannelMade(ChannelAccount):
    webhook_secret: str | None = Field(description="Proves the platform's calls; shown this once only")
    identity_secret: str | None = Field(description="Web: a host page signs its visitors with it; shown this once only")


async def connect(call: Call) -> Json:
    """The whole of it under one lock for the bot, so that two callers cannot take its webhook from one another."""
    asked: NewChannel = call.body
    mode = mode_of(asked.kind, asked.mode)
    credentials = checked(asked.kind, asked.mode, asked.credentials)
    if asked.mode == "webhook" and not call.services.ground.settings.public_url:
        raise fault("mode", "webhook mode needs PARLEY_PUBLIC_URL; the other modes work without")
    if mode.made:
        credentials[mode.made] = secrets.token_urlsafe(32)
    account_id = new_id("acc")
    settings = asked.settings.model_dump(exclude_none=True)
    unsaved = Account(call.workspace_id, account_id, asked.kind, asked.mode, credentials, settings, {})
    async with call.database() as conn:
        await accounts.lock_bot(conn, call.workspace_id, asked.kind, _bot_id(unsaved) or "any")
        await _refuse_second(conn, unsaved.kind, _bot_id(unsaved))
        profile = await _installed(call, unsaved)
        await _refuse_second(conn, unsaved.kind, str(profile.get("id") or ""))
        await accounts.create(
            conn,
            call.services.ground.ring,
            call.workspace_id,
            kind=asked.kind,
            name=asked.name,
            mode=asked.mode,
            credentials=credentials,
            settings=settings,
            profile=profile,
            account_id=account_id,
        )
        shown = {name: credentials.get(name) for name in ("webhook_secret", "identity_secret")}
        return {**_seen(call, await accounts.get(conn, account_id)), **shown}


def _bot_id(account: Account) -> str:
    """The bot's own id, as far as its credentials tell it before anybody is asked."""
    return str(account.credentials.get("token", "")).partition(":")[0]


async def _refuse_second(conn: Connection, kind: str, bot_id: str) -> None:
    bots = [row for row in await accounts.list_all(conn, 10_000, "") if row["kind"] == kind]
    if bot_id and any(str(bot["profile"].get("id")) == bot_id for bot in bots):
        raise Conflict("this bot is connected already")


async def _installed(call: Call, account: Account) -> Json:
    """The bot's profile. Raises InvalidRequest when the platform will not have it, Unavailable when it is away."""
    install = CHANNELS[account.kind].install
    if install is None:
        return {}
    outcome = await install(account, call.services.wire, _inbound(call, account.kind, account.account_id))
    platform = account.kind.capitalize()
    if isinstance(outcome, Refused):
        known = CHANNELS[account.kind].modes[account.mode].credentials
        proof = f"credentials.{known[0].name}" if len(known) == 1 else "credentials"
        field = proof if outcome.code == "unauthorized" else "mode"
        raise fault(field, f"{platform} refuses: {outcome.reason}")
    if isinstance(outcome, NotSent):
        raise Unavailable(f"{platform} cannot be reached: {outcome.reason}", retry_after=outcome.retry_after or 5.0)
    return outcome


def _inbound(call: Call, kind: str, account_id: str) -> str:
    return call.services.inbound_url(kind, account_id)


def _seen(call: Call, row: Json) -> Json:
    inbound = _inbound(call, row["kind"], row["account_id"]) if row["mode"] == "webhook" else None
    return {**row, "inbound_url": inbound}


async def listed(call: Call) -> Json:
    asked: Paging = call.query
    async with call.database() as conn:
        rows = await accounts.list_all(conn, asked.limit + 1, asked.cursor)
    found = rows[: asked.limit]
    return page(([_seen(call, row) for row in found], found[-1]["account_id"] if len(rows) > asked.limit else None))


async def one(call: Call) -> Json:
    async with call.database() as conn:
        return _seen(call, await accounts.get(conn, call.path["account_id"]))


async def change(call: Call) -> Json:
    asked: ChannelChange = call.body
    account_id = call.path["account_id"]
    settings = asked.settings.model_dump(exclude_unset=True) if asked.settings else None
    async with call.database() as conn:
        row = await accounts.change(conn, account_id, name=asked.name, settings=settings)
    call.services.directory.forget(account_id)
    return _seen(call, row)


async def disconnect(call: Call) -> Answer:
    """Takes the bot out of service here in any case; telling the platform is tried once."""
    account_id, ring = call.path["account_id"], call.services.ground.ring
    async with call.database() as conn:
        row = await accounts.get(conn, account_id)
        if row["kind"] == "rest":
            raise Conflict("the REST channel belongs to the workspace and stays")
        account = await accounts.find(conn, ring, account_id)
        await accounts.disconnect(conn, account_id)
    call.services.directory.forget(account_id)
    uninstall = CHANNELS[row["kind"]].uninstall
    if account is not None and uninstall is not None:
        await uninstall(account, call.services.wire)
    return Answer(None)


_BASE = "/api/v1/channels"

ROUTES = [
    Route(
        "POST",
        _BASE,
        connect,
        "write",
        "Connect a bot; verifies its credentials and registers it at its platform",
        "channels",
        request=NewChannel,
        response=ChannelMade,
        status=201,
        errors=(Conflict, Unavailable),
    ),
    Route(
        "GET", _BASE, listed, "read", "List connected bots", "channels", query=Paging, response=Listed[ChannelAccount]
    ),
    Route(
        "GET", _BASE + "/{account_id}", one, "read", "One bot", "channels", response=ChannelAccount, errors=(NotFound,)
    ),
    Route(
        "PATCH",
        _BASE + "/{account_id}",
        change,
        "write",
        "Change a bot's name or settings",
        "channels",
        request=ChannelChange,
        response=ChannelAccount,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _BASE + "/{account_id}",
        disconnect,
        "write",
        "Disconnect a bot and forget its credentials",
        "channels",
        status=204,
        errors=(NotFound, Conflict),
    ),
]
