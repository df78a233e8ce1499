"""Channels that are made, opened to people and closed to them while the simulator runs."""

from typing import Any

from simulators.discord.events import dispatch, emit
from simulators.discord.payloads import channel_object
from simulators.discord.people import Refused
from simulators.discord.permissions import NAMES
from simulators.discord.state import DM, FORUM, TEXT, THREADS, Channel, Person, World

KINDS = {"text": TEXT, "forum": FORUM}


def any_channel(world: World, which: Any) -> Channel:
    """A channel by id or name, whoever sees it. Raises Refused."""
    name = str(which).removeprefix("#")
    for channel in world.channels.values():
        if str(channel.id) == name or (channel.name == name and channel.type != DM):
            return channel
    raise Refused(f"no channel {which!r}")


def add_channel(world: World, name: str, kind: str, private: bool, users: list[Person]) -> Channel:
    """A new channel in the first guild; bots see it, of people only `users` when it is private. Raises Refused."""
    guild = next(iter(world.guilds.values()))
    name = "-".join(name.strip().removeprefix("#").lower().split())
    if not 1 <= len(name) <= 100 or any(c.name == name and c.type in (TEXT, FORUM) for c in world.channels.values()):
        raise Refused("a channel's name has 1 to 100 characters and belongs to one channel")
    if kind not in KINDS:
        raise Refused(f"type must be one of {', '.join(KINDS)}")
    made = Channel(world.take_id(), KINDS[kind], name, guild.id, private=private, position=len(world.channels))
    if private:
        made.members = {person.id for person in users} | set(world.bots)
    world.channels[made.id] = made
    world.changes += 1
    emit(world, "CHANNEL_CREATE", made, channel_object(world, made))
    world.hub.publish("channel", channel_id=str(made.id))
    return made


def set_member(world: World, channel: Channel, member: int, status: str) -> None:
    """Let somebody into a private channel or thread, or out. Raises Refused."""
    if status not in ("member", "removed") or channel.type == DM:
        raise Refused("status must be member or removed, and the channel one of a guild")
    if not channel.private and channel.type not in THREADS:
        raise Refused(f"everybody sees #{channel.name}")
    gone = status == "removed"
    if gone and member in world.bots:
        dispatch(world, member, "CHANNEL_DELETE", channel, channel_object(world, channel))
    (channel.members.discard if gone else channel.members.add)(member)
    if not gone and member in world.bots:
        dispatch(world, member, "CHANNEL_CREATE", channel, channel_object(world, channel))
    world.changes += 1
    world.hub.publish("channel", channel_id=str(channel.id))


def deny(world: World, channel: Channel, member: int, names: list[str]) -> None:
    """Take these permissions from somebody in a channel, and give back all others. Raises Refused."""
    unknown = [name for name in names if str(name) not in NAMES]
    if unknown:
        raise Refused(f"no permission {unknown[0]!r}; there are {', '.join(NAMES)}")
    channel.denied[member] = sum(NAMES[name] for name in set(names))
    world.changes += 1
    emit(world, "CHANNEL_UPDATE", channel, channel_object(world, channel))
    world.hub.publish("channel", channel_id=str(channel.id))
