"""Operations that read: the bot itself, its guilds and channels, messages, the gateway's address."""

from typing import Any

from simulators.discord import messages
from simulators.discord.access import can, seen_channel
from simulators.discord.calls import Call
from simulators.discord.errors import ApiError, JsonObject, invalid, missing_access, unknown
from simulators.discord.events import secret
from simulators.discord.params import number
from simulators.discord.payloads import (
    application_object,
    channel_object,
    guild_members,
    guild_object,
    message_object,
)
from simulators.discord.permissions import EVERYONE, READ_MESSAGE_HISTORY, VIEW_CHANNEL
from simulators.discord.places import socket_url
from simulators.discord.signing import public_key
from simulators.discord.state import THREADS, Channel, Guild, Seen


def shown(call: Call, channel: Channel, seen: Seen) -> JsonObject:
    """A message as this bot may see it over REST, where its application's settings count, not a session's intents."""
    world = call.world
    full = world.config.message_content
    message = message_object(channel, seen, call.bot.id, call.root, secret(world), full)
    thread = world.channels.get(int(message["id"]))
    return message | {"thread": channel_object(world, thread)} if thread else message


def get_user(call: Call) -> Any:
    return call.bot.profile() | {"verified": True, "email": None, "mfa_enabled": True, "flags": 0, "bio": ""}


def get_other_user(call: Call) -> Any:
    user = call.number("user")
    if user not in call.world.people and user not in call.world.bots:
        raise unknown(10013)
    return call.world.profile(user)


def get_application(call: Call) -> Any:
    return application_object(call.world, call.bot, public_key(call.bot.key))


def get_gateway(call: Call) -> Any:
    return {"url": socket_url(call.root)}


def get_gateway_bot(call: Call) -> Any:
    world = call.world
    rate = world.config.limits.identify
    used, left = world.counters.used(f"identify:{call.bot.id}", world.tick())
    limit = {
        "total": rate.count,
        "remaining": max(0, rate.count - used),
        "reset_after": int(left * 1000),
        "max_concurrency": 1,
    }
    return {"url": socket_url(call.root), "shards": 1, "session_start_limit": limit}


def list_guilds(call: Call) -> Any:
    mine = [guild for guild in call.world.guilds.values() if call.bot.id in guild.members]
    about: JsonObject = {"icon": None, "banner": None, "owner": False, "permissions": str(EVERYONE), "features": []}
    return [{"id": str(guild.id), "name": guild.name, **about} for guild in mine]


def _guild(call: Call) -> Guild:
    guild = call.world.guilds.get(call.number("guild"))
    if guild is None:
        raise unknown(10004)
    if call.bot.id not in guild.members:
        raise missing_access()
    return guild


def get_guild(call: Call) -> Any:
    guild = _guild(call)
    count = {"approximate_member_count": len(guild.members), "approximate_presence_count": len(guild.members)}
    return guild_object(call.world, guild) | count


def list_channels(call: Call) -> Any:
    guild = _guild(call)
    return [
        channel_object(call.world, channel)
        for channel in call.world.channels.values()
        if channel.guild == guild.id and channel.type not in THREADS
    ]


def list_active_threads(call: Call) -> Any:
    guild = _guild(call)
    found = [
        channel
        for channel in call.world.channels.values()
        if channel.guild == guild.id
        and channel.type in THREADS
        and not channel.archived
        and can(call.world, channel, call.bot.id, VIEW_CHANNEL)
    ]
    return {"threads": [channel_object(call.world, channel) for channel in found], "members": []}


def list_members(call: Call) -> Any:
    guild = _guild(call)
    if not call.world.config.guild_members:
        raise missing_access()
    after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 1))
    return [m for m in guild_members(call.world, guild) if int(m["user"]["id"]) > after][:limit]


def get_member(call: Call) -> Any:
    guild, user = _guild(call), call.number("user")
    if user not in guild.members:
        raise ApiError(404, 10007, "Unknown Member")
    return next(m for m in guild_members(call.world, guild) if m["user"]["id"] == str(user))


def get_channel(call: Call) -> Any:
    return channel_object(call.world, seen_channel(call.world, call.bot.id, call.number("channel")))


def get_message(call: Call) -> Any:
    channel = seen_channel(call.world, call.bot.id, call.number("channel"), READ_MESSAGE_HISTORY)
    seen = messages.find_message(channel, call.number("message"))
    if seen.only is not None:
        raise unknown(10008)
    return shown(call, channel, seen)


def get_messages(call: Call) -> Any:
    channel = seen_channel(call.world, call.bot.id, call.number("channel"), VIEW_CHANNEL)
    limit = number("limit", call.query.get("limit", 50))
    if not 1 <= limit <= 100:
        raise invalid("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
    given = [name for name in ("before", "after", "around") if call.query.get(name)]
    if len(given) > 1:
        raise invalid("after", "BASE_TYPE_CHOICES", "Only one of before, after and around may be given.")
    before, after, around = (number(name, call.query.get(name, 0)) for name in ("before", "after", "around"))
    if not can(call.world, channel, call.bot.id, READ_MESSAGE_HISTORY):
        return []
    # `after=0` asks for the oldest.
    oldest = "after" in call.query
    page = messages.page(channel, before, after or int(oldest), around, limit)
    return [shown(call, channel, seen) for seen in page]
