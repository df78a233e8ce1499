"""People, channels and messages as the control API shows them. Ids are strings, as everywhere in Discord's JSON."""

from simulators.discord.access import audience
from simulators.discord.events import live_sessions, secret
from simulators.discord.payloads import channel_object, message_object
from simulators.discord.state import DM, Bot, Channel, JsonObject, Seen, World


def bot_view(world: World, bot: Bot) -> JsonObject:
    sessions = live_sessions(world, bot.id)
    return bot.profile() | {
        "connected": sum(1 for session in sessions if session.attached),
        "sessions": [{"id": s.id, "intents": s.intents, "seq": s.seq, "connected": s.attached} for s in sessions],
        "interactions_url": bot.interactions_url,
        "commands": [{"guild_id": str(guild), **one} for guild, some in bot.commands.items() for one in some],
    }


def channel_view(world: World, channel: Channel) -> JsonObject:
    """A channel with who sees it and who is typing in it now."""
    now = world.now()
    shown = channel_object(world, channel)
    shown |= {"private": channel.private, "users": [str(number) for number in audience(world, channel)]}
    if channel.type == DM:
        shown["bot_id"] = next((str(number) for number in channel.members if number in world.bots), None)
    typing = [{"user_id": str(n), "until": until} for n, until in channel.typing.items() if until > now]
    return shown | {"typing": typing}


def seen_view(world: World, channel: Channel, seen: Seen, root: str) -> JsonObject:
    """A message now, what it said before each edit, when it was deleted, the reactions to it, who alone sees it."""
    return {
        "message": message_object(channel, seen, 0, root, secret(world), True),
        "edits": seen.edits,
        "deleted": seen.deleted,
        "reactions": {emoji: [str(user) for user in users] for emoji, users in seen.reactions.items()},
        "only": None if seen.only is None else str(seen.only),
    }


def undelivered(world: World) -> JsonObject:
    """events: waiting for a socket, of sessions that may still resume; missed: nobody was there to get them, for good;
    interactions: still waiting for their first response."""
    sessions = [session for bot in world.bots for session in live_sessions(world, bot)]
    return {
        "events": sum(session.seq - session.sent for session in sessions),
        "missed": world.missed,
        "interactions": sum(1 for one in world.interactions.values() if one.state == "waiting"),
    }
