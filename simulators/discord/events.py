"""Events on their way to bots: who may see them, what their intents leave of them, what faults do to them."""

from collections.abc import Callable
from functools import partial

from simulators.discord.access import can
from simulators.discord.faults import EVENT_KINDS, SOCKET_KINDS
from simulators.discord.payloads import member_object, message_object
from simulators.discord.permissions import (
    DIRECT_MESSAGE_REACTIONS,
    DIRECT_MESSAGE_TYPING,
    DIRECT_MESSAGES,
    GUILD_MESSAGE_REACTIONS,
    GUILD_MESSAGE_TYPING,
    GUILD_MESSAGES,
    GUILDS,
    MESSAGE_CONTENT,
    VIEW_CHANNEL,
)
from simulators.discord.sessions import Session
from simulators.discord.state import DM, HELD_MS, Channel, JsonObject, Seen, World
from simulators.discord.wire import dump

Payload = Callable[[Session], JsonObject]
NEEDS = {
    "MESSAGE": (GUILD_MESSAGES, DIRECT_MESSAGES),
    "MESSAGE_REACTION": (GUILD_MESSAGE_REACTIONS, DIRECT_MESSAGE_REACTIONS),
    "TYPING": (GUILD_MESSAGE_TYPING, DIRECT_MESSAGE_TYPING),
    "INTERACTION": (0, 0),
}


def emit(world: World, name: str, channel: Channel, payload: Payload | JsonObject, but: int = 0) -> None:
    """Send an event of a channel to every bot that sees the channel, except `but`."""
    for bot in world.bots.values():
        if bot.id != but and can(world, channel, bot.id, VIEW_CHANNEL):
            dispatch(world, bot.id, name, channel, payload)


def dispatch(world: World, bot: int, name: str, channel: Channel, payload: Payload | JsonObject) -> None:
    """Send an event of a channel to one bot."""
    needs = NEEDS.get(name.rpartition("_")[0], (GUILDS, 0))[channel.type == DM]
    push = partial(_push, world, bot, name, payload, needs)
    fault = world.faults.strike(EVENT_KINDS, name, bot, channel.id)
    key = (bot, channel.id)
    if fault and fault.kind == "reorder" and key not in world.held:
        world.held[key] = [push]
        world.after((fault.ms or HELD_MS) / 1000, partial(release, world, key))
        return
    if cut := world.faults.strike(SOCKET_KINDS, name, bot, channel.id):
        order(world, bot, cut.kind, cut.code, cut.resumable)
    push()
    if fault and fault.kind == "duplicate":
        push()
    release(world, key)


def release(world: World, key: tuple[int, int]) -> None:
    """Let go of an event that waited to be overtaken."""
    for push in world.held.pop(key, []):
        push()


def _push(world: World, bot: int, name: str, payload: Payload | JsonObject, needs: int) -> None:
    world.changes += 1
    reached = False
    for session in live_sessions(world, bot):
        reached = True
        if session.intents & needs == needs:
            data = payload(session) if callable(payload) else payload
            session.push(name, dump(data), world.config.replay_limit)
    if not reached:
        world.missed += 1


def order(world: World, bot: int, kind: str, code: int, resumable: bool) -> int:
    """Have the open sockets of a bot closed in the way of a fault; how many there are."""
    sessions = [session for session in live_sessions(world, bot) if session.attached]
    for session in sessions:
        session.order(kind, int(resumable) if kind == "invalid_session" else code)
    return len(sessions)


def live_sessions(world: World, bot: int) -> list[Session]:
    """A bot's sessions, without those that nobody can resume any more."""
    limit = world.tick() - world.config.resume_seconds
    gone = [s.id for s in world.sessions.values() if s.detached is not None and s.detached < limit]
    for number in gone:
        del world.sessions[number]
    return [session for session in world.sessions.values() if session.bot == bot]


def message_event(world: World, name: str, channel: Channel, seen: Seen) -> None:
    """MESSAGE_CREATE or MESSAGE_UPDATE, as each bot may see it."""
    if seen.only is not None:
        return
    extra = place_of(world, channel, int(seen.message["author"]["id"]))
    kept = Seen(seen.message, reactions={k: list(v) for k, v in seen.reactions.items()})

    def payload(session: Session) -> JsonObject:
        full = bool(session.intents & MESSAGE_CONTENT)
        shown = message_object(channel, kept, session.bot, session.root, secret(world), full)
        if seen.message.get("nonce") is not None and seen.message["author"]["id"] != str(session.bot):
            shown.pop("nonce", None)
        return shown | extra

    emit(world, name, channel, payload)


def place_of(world: World, channel: Channel, author: int) -> JsonObject:
    """What events add to a message: guild and member."""
    if not channel.guild:
        return {}
    guild = world.guilds[channel.guild]
    place: JsonObject = {"guild_id": str(channel.guild)}
    return place | {"member": member_object(guild)} if author in guild.members else place


def secret(world: World) -> str:
    """What attachment URLs are signed with."""
    return f"attachments:{world.config.seed}"
