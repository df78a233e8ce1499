"""Who may see what, and do what there."""

from simulators.discord.errors import missing_access, missing_permissions, unknown
from simulators.discord.permissions import EVERYONE, MANAGE_MESSAGES, MENTION_EVERYONE, VIEW_CHANNEL
from simulators.discord.state import DM, PRIVATE_THREAD, THREADS, Channel, World

IN_DM = EVERYONE | MENTION_EVERYONE


def permissions(world: World, channel: Channel, member: int) -> int:
    """The permission bits of a person or bot in a channel; 0 when they do not see it."""
    if channel.type == DM:
        return IN_DM if member in channel.members else 0
    guild = world.guilds[channel.guild]
    if member not in guild.members:
        return 0
    if channel.type in THREADS:
        parent = world.channels[channel.parent]
        if channel.type == PRIVATE_THREAD and member not in channel.members:
            return 0
        return permissions(world, parent, member) & ~channel.denied.get(member, 0) & ~channel.denied.get(0, 0)
    if channel.private and member not in channel.members:
        return 0
    everything = EVERYONE | (MANAGE_MESSAGES | MENTION_EVERYONE if member == guild.owner else 0)
    held = everything & ~channel.denied.get(member, 0) & ~channel.denied.get(0, 0)
    return held if held & VIEW_CHANNEL else 0


def can(world: World, channel: Channel, member: int, bit: int) -> bool:
    return bool(permissions(world, channel, member) & bit)


def audience(world: World, channel: Channel) -> list[int]:
    """The people who see a channel."""
    if channel.type == DM:
        return sorted(number for number in channel.members if number in world.people)
    return [number for number in sorted(world.people) if can(world, channel, number, VIEW_CHANNEL)]


def seen_channel(world: World, member: int, number: int, *bits: int) -> Channel:
    """The channel a bot means, in which it holds all these permissions. Raises ApiError."""
    channel = world.channels.get(number)
    if channel is None:
        raise unknown(10003)
    held = permissions(world, channel, member)
    if not held:
        raise missing_access()
    if any(not held & bit for bit in bits):
        raise missing_permissions()
    return channel
