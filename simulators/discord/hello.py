"""Identify and resume: who speaks, with which intents, and where their session goes on."""

from typing import Any

from simulators.discord import permissions
from simulators.discord.access import can
from simulators.discord.events import live_sessions
from simulators.discord.payloads import (
    application_flags,
    channel_object,
    guild_members,
    guild_object,
)
from simulators.discord.seeding import new_token
from simulators.discord.sessions import Session
from simulators.discord.snowflakes import when
from simulators.discord.state import THREADS, Bot, Guild, JsonObject, World
from simulators.discord.wire import dump, stamp


class Closing(Exception):
    """The gateway closes the socket with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def identified(world: World, data: Any, root: str) -> Session | None:
    """A new session with READY and its guilds in it; None when it may not start just now. Raises Closing."""
    if not isinstance(data, dict):
        raise Closing(4002, "Error while decoding payload.")
    bot = _bot(world, data)
    shard = data.get("shard") or [0, 1]
    if not (isinstance(shard, list) and len(shard) == 2 and 0 <= shard[0] < shard[1]):
        raise Closing(4010, "Invalid shard.")
    intents = data.get("intents")
    if not isinstance(intents, int) or intents & ~permissions.KNOWN:
        raise Closing(4013, "Invalid intent(s).")
    if intents & permissions.PRIVILEGED & ~world.config.privileged:
        raise Closing(4014, "Disallowed intent(s).")
    if not _counted(world, bot):
        return None
    session = Session(f"{world.rng.getrandbits(128):032x}", bot.id, intents, root)
    world.sessions[session.id] = session
    world.count("identify", "ok")
    _greet(world, bot, session, shard)
    return session


def resumed(world: World, data: Any) -> Session | None:
    """A session that goes on where the client left it, RESUMED at its end; None when it is gone. Raises Closing."""
    if not isinstance(data, dict):
        raise Closing(4002, "Error while decoding payload.")
    bot = _bot(world, data)
    session = next((s for s in live_sessions(world, bot.id) if s.id == data.get("session_id")), None)
    seq = data.get("seq")
    if session is None or not isinstance(seq, int):
        return None
    if seq > session.seq:
        raise Closing(4007, "Invalid seq.")
    if not session.rewind(seq):
        return None
    world.count("resume", "ok")
    session.push("RESUMED", dump({"_trace": ["simulator"]}), world.config.replay_limit)
    return session


def _bot(world: World, data: JsonObject) -> Bot:
    token = str(data.get("token") or "").removeprefix("Bot ")
    bot = world.by_token.get(token)
    if bot is None:
        raise Closing(4004, "Authentication failed.")
    return bot


def _counted(world: World, bot: Bot) -> bool:
    """The session start limit: one identify in five seconds, 1000 a day. More, and the token is reset."""
    config = world.config
    if world.counters.take(f"identify:{bot.id}", config.limits.identify, world.tick()).retry_after:
        new_token(world, bot)
        for session in live_sessions(world, bot.id):
            session.order("close", 4004)
        raise Closing(4004, "Authentication failed.")
    return not (
        config.flood
        and world.counters.take(f"concurrency:{bot.id}", config.limits.concurrency, world.tick()).retry_after
    )


def _greet(world: World, bot: Bot, session: Session, shard: list[int]) -> None:
    keep = world.config.replay_limit
    ready: JsonObject = {
        "v": 10,
        "user": bot.profile() | {"verified": True, "email": None, "mfa_enabled": True, "flags": 0, "bio": ""},
        "guilds": [{"id": str(guild.id), "unavailable": True} for guild in world.guilds.values()],
        "session_id": session.id,
        "session_type": "normal",
        "resume_gateway_url": f"ws{session.root.removeprefix('http')}/gateway",
        "shard": shard,
        "application": {"id": str(bot.id), "flags": application_flags(world)},
        "private_channels": [],
        "_trace": ["simulator"],
    }
    session.push("READY", dump(ready), keep)
    if session.intents & permissions.GUILDS:
        for guild in world.guilds.values():
            session.push("GUILD_CREATE", dump(full_guild(world, bot, guild, session.intents)), keep)


def full_guild(world: World, bot: Bot, guild: Guild, intents: int) -> JsonObject:
    """GUILD_CREATE: with the channels and threads the bot sees; members beyond the bot only under their intent."""
    everybody = guild_members(world, guild)
    known = (
        everybody if intents & permissions.GUILD_MEMBERS else [m for m in everybody if m["user"]["id"] == str(bot.id)]
    )
    channels = [c for c in world.channels.values() if c.guild == guild.id]
    seen = [c for c in channels if can(world, c, bot.id, permissions.VIEW_CHANNEL)]
    return guild_object(world, guild) | {
        "joined_at": stamp(when(guild.id)),
        "large": False,
        "unavailable": False,
        "member_count": len(guild.members),
        "members": known,
        "channels": [channel_object(world, c) for c in channels if c.type not in THREADS],
        "threads": [channel_object(world, c) for c in seen if c.type in THREADS and not c.archived],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }
