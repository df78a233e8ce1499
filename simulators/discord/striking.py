"""Faults that strike as soon as they are armed."""

from simulators.discord.events import live_sessions, order
from simulators.discord.faults import SOCKET_KINDS, Fault
from simulators.discord.state import World

GOING_AWAY = 1001


def arm(world: World, fault: Fault) -> int:
    """Arm a fault, and let one on sockets that waits for nothing strike those that are open; its number."""
    number = world.faults.add(fault)
    if fault.kind == "outage":
        _cut_off(world)
    if fault.kind in SOCKET_KINDS and fault.method == "*":
        for bot in world.bots:
            if fault.bot in (None, bot):
                order(world, bot, fault.kind, fault.code, fault.resumable)
        world.faults.spend(number)
    return number


def _cut_off(world: World) -> None:
    """The platform goes down: sockets close, and no session outlives it."""
    for bot in world.bots:
        for session in live_sessions(world, bot):
            session.order("close", GOING_AWAY)
    world.sessions.clear()
