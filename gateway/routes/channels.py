"""Bots: connected, listed, changed, disconnected. Their credentials go in and never come out."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from channels import accounts, telegram
from gateway.web import Answer, Call, Listed, Paging, Route, Shape, View, page
from kernel.db import Connection
from kernel.errors import Conflict, InvalidRequest, NotFound, Unavailable
from kernel.ids import new_id
from kernel.types import Account, Json, NotSent, Refused


class Credentials(Shape):
    token: str = Field(pattern=r"^[0-9]{1,20}:[A-Za-z0-9_-]{5,100}$", description="As @BotFather gave it")


class BotSettings(Shape):
    """`answer`: from knowledge, or echo as a test of the connection. `unknown_sends`: what to do about a message when
    nobody knows whether it arrived: send it again, or hold it for a person."""

    answer: Literal["knowledge", "echo"] | None = None
    unknown_sends: Literal["resend", "hold"] | None = None


class NewChannel(Shape):
    kind: Literal["telegram"]
    name: str = Field(min_length=1, max_length=200)
    mode: Literal["webhook", "polling"]
    credentials: Credentials
    settings: BotSettings = BotSettings()


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
    inbound_url: str | None = Field(description="Where the platform delivers; null when nobody calls in")
    last_inbound_at: datetime | None
    created_at: datetime


class ChannelMade(ChannelAccount):
    webhook_secret: str | None = Field(description="Proves the platform's calls; shown this once only")


async def connect(call: Call) -> Json:
    """The whole of it under one lock for the bot, so that two callers cannot take its webhook from one another."""
    asked: NewChannel = call.body
    public_url = call.services.ground.settings.public_url
    if asked.mode == "webhook" and not public_url:
        raise _fault("mode", "webhook mode needs PARLEY_PUBLIC_URL; polling works without")
    token, account_id = asked.credentials.token, new_id("acc")
    secret = secrets.token_urlsafe(32) if asked.mode == "webhook" else None
    async with call.database() as conn:
        await _refuse_second(conn, call.workspace_id, token.partition(":")[0])
        profile = await _registered(call, token, asked.mode, _inbound(call, account_id), secret or "")
        await accounts.create(
            conn,
            call.services.ground.ring,
            call.workspace_id,
            kind=asked.kind,
            name=asked.name,
            mode=asked.mode,
            credentials={"token": token, **({"webhook_secret": secret} if secret else {})},
            settings=asked.settings.model_dump(exclude_none=True),
            profile=profile,
            account_id=account_id,
        )
        return {**_seen(call, await accounts.get(conn, account_id)), "webhook_secret": secret}


async def _refuse_second(conn: Connection, workspace_id: str, bot_id: str) -> None:
    await accounts.lock_bot(conn, workspace_id, "telegram", bot_id)
    bots = [row for row in await accounts.list_all(conn, 10_000, "") if row["kind"] == "telegram"]
    if any(str(bot["profile"].get("id")) == bot_id for bot in bots):
        raise Conflict("this bot is connected already")


async def _registered(call: Call, token: str, mode: str, url: str, secret: str) -> Json:
    """The bot's profile. Raises InvalidRequest when the platform will not have it, Unavailable when it is away."""
    unsaved = Account(call.workspace_id, "", "telegram", mode, {"token": token}, {}, {})
    client = telegram.open_client(unsaved, call.services.ground.settings.telegram_api_base_url)
    await client.start()
    try:
        outcome = await telegram.connect(client, mode, url, secret)
    finally:
        await client.close()
    if isinstance(outcome, Refused):
        field = "credentials.token" if outcome.code == "unauthorized" else "mode"
        raise _fault(field, f"Telegram refuses: {outcome.reason}")
    if isinstance(outcome, NotSent):
        raise Unavailable(f"Telegram cannot be reached: {outcome.reason}", retry_after=outcome.retry_after or 5.0)
    return outcome


def _fault(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", details=[{"field": field, "message": message}])


def _inbound(call: Call, account_id: str) -> str:
    return f"{call.services.ground.settings.public_url}/channels/telegram/{account_id}"


def _seen(call: Call, row: Json) -> Json:
    inbound = _inbound(call, row["account_id"]) if row["mode"] == "webhook" else None
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
    if account is not None and account.mode == "webhook":
        client = telegram.open_client(account, call.services.ground.settings.telegram_api_base_url)
        await client.start()
        try:
            await telegram.disconnect(client)
        finally:
            await client.close()
    return Answer(None)


_BASE = "/api/v1/channels"

ROUTES = [
    Route(
        "POST",
        _BASE,
        connect,
        "write",
        "Connect a bot; verifies its token and, in webhook mode, sets its webhook",
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
