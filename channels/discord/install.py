"""A bot's client, and what connecting and disconnecting it means at Discord.

Source: https://docs.discord.com/developers/resources/application
"""

from __future__ import annotations

from channels.discord.client import Answer, DiscordClient, NoAnswer, NotConnected
from channels.discord.commands import COMMANDS
from channels.discord.listen import wants_content
from channels.wire import Wire
from kernel.types import Account, Health, Json, NotSent, Refused

_CONTENT_FLAGS = 1 << 18 | 1 << 19  # the Message Content Intent, granted or limited
_ENDPOINT = "interactions_endpoint_url"
_NO_CONTENT = (
    "the Message Content Intent is off: switch it on in the Developer Portal under Bot, or set message_content to false"
)


async def open_bot(account: Account, wire: Wire) -> DiscordClient:
    return DiscordClient(account, wire)


async def install(account: Account, wire: Wire, url: str) -> Json | Refused | NotSent:
    """Checks token, public key and intents, registers the slash commands, and has interactions delivered to `url`, or
    over the socket, by the account's mode. Returns the profile: id, username, name, application_id, interactions_url.

    Discord tries an address before it takes it, so it has to answer already. When it does not yet, the profile's
    `interactions_url` stays as it was, and `probe` makes up for it.
    """
    client = DiscordClient(account, wire)
    try:
        return await _install(client, account, url)
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error), scope="bot")


async def _install(client: DiscordClient, account: Account, url: str) -> Json | Refused | NotSent:
    me = await _described(client, "/users/@me")
    if not me.ok:
        return _refusal(me)
    application = await _described(client, "/applications/@me")
    if not application.ok:
        return _refusal(application)
    if reason := _unfit(account, application.data):
        return Refused("unfit", reason)
    application_id = str(application.data["id"])
    commands = [command.to_json() for command in COMMANDS.values()]
    registered = await client.call("PUT", f"/applications/{application_id}/commands", commands, patience=5.0)
    if not registered.ok:
        return _refusal(registered)
    pointed = await _point(client, application.data, url if account.mode == "webhook" else None)
    if isinstance(pointed, NotSent):
        return pointed
    return {
        "id": str(me.data["id"]),
        "username": str(me.data.get("username") or ""),
        "name": str(me.data.get("global_name") or me.data.get("username") or ""),
        "application_id": application_id,
        "interactions_url": pointed,
    }


async def _described(client: DiscordClient, path: str) -> Answer:
    """Raises NoAnswer for an answer that describes nothing, and NotConnected."""
    answer = await client.call("GET", path, patience=5.0)
    if answer.ok and not (isinstance(answer.data, dict) and isinstance(answer.data.get("id"), str)):
        raise NoAnswer("an answer that makes no sense")
    return answer


def _unfit(account: Account, application: Json) -> str:
    """Why this application cannot serve as the account is set up, or nothing."""
    key = account.credentials.get("public_key")
    if key and str(key).lower() != str(application.get("verify_key")).lower():
        return "public_key is not this application's; it stands in the Developer Portal under General Information"
    if account.mode == "socket" and wants_content(account) and not _reads_content(application):
        return _NO_CONTENT
    return ""


def _reads_content(application: Json) -> bool:
    flags = application.get("flags")
    return type(flags) is int and bool(flags & _CONTENT_FLAGS)


async def _point(client: DiscordClient, application: Json, url: str | None) -> str | NotSent:
    """Where interactions go from now on: an address, or "" for the socket."""
    now = str(application.get(_ENDPOINT) or "")
    if now == (url or ""):
        return now
    answer = await client.call("PATCH", "/applications/@me", {_ENDPOINT: url}, patience=5.0)
    if answer.ok:
        return url or ""
    if answer.status == 400:
        return now  # nobody answers there yet
    return NotSent(answer.reason, answer.retry_after, "bot")


async def uninstall(account: Account, wire: Wire) -> Refused | NotSent | None:
    """Takes the slash commands and the address for interactions away; None when that is done."""
    client = DiscordClient(account, wire)
    try:
        application = await _described(client, "/applications/@me")
        if not application.ok:
            return _refusal(application)
        answer = await client.call("PUT", f"/applications/{application.data['id']}/commands", [], patience=5.0)
        if answer.ok and account.mode == "webhook" and application.data.get(_ENDPOINT):
            answer = await client.call("PATCH", "/applications/@me", {_ENDPOINT: None}, patience=5.0)
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error), scope="bot")
    return None if answer.ok else _refusal(answer)


async def probe(client: DiscordClient, account: Account, url: str) -> Health:
    """Whether the token is good, and whether interactions and messages come the way that the account is set up for.

    An application without an address for interactions is given `url`; another's address is left alone.
    """
    try:
        application = await _described(client, "/applications/@me")
        if not application.ok:
            return Health(False, _refusal(application).reason)
        now = str(application.data.get(_ENDPOINT) or "")
        if account.mode == "webhook" and not now:
            pointed = await _point(client, application.data, url)
            now = pointed if isinstance(pointed, str) else ""
    except (NotConnected, NoAnswer) as error:
        return Health(False, f"Discord does not answer: {error}")
    return _health(account, application.data, now, url)


def _health(account: Account, application: Json, endpoint: str, url: str) -> Health:
    if account.mode == "webhook":
        if endpoint == url:
            return Health(True, "interactions are delivered here")
        return Health(False, f"the Interactions Endpoint URL is {endpoint or 'empty'}; it should be {url}")
    if endpoint:
        return Health(False, f"slash commands and buttons go to {endpoint} instead of this connection")
    if wants_content(account) and not _reads_content(application):
        return Health(False, _NO_CONTENT)
    return Health(True, "messages and interactions come over the connection")


def _refusal(answer: Answer) -> Refused | NotSent:
    if answer.status == 429 or answer.status >= 500:
        return NotSent(answer.reason, answer.retry_after, "bot")
    return Refused("unauthorized" if answer.status == 401 else "bad_request", answer.reason)
