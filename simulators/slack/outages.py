"""Arming and disarming faults, and the outage: the one fault that is a state of the whole server."""

import asyncio
from collections.abc import Mapping
from typing import Any

from simulators.slack.faults import parse_fault
from simulators.slack.sockets import Sockets
from simulators.slack.state import World


def arm(world: World, sockets: Sockets, body: Mapping[str, Any]) -> int:
    """Put a rule in force; its number. Raises ValueError for what `Fault` does not know."""
    fault = parse_fault(body)
    number = world.faults.add(fault)
    if fault.kind == "outage":
        world.calm.clear()
        cutting = asyncio.get_running_loop().create_task(sockets.cut())
        world.chores.add(cutting)
        cutting.add_done_callback(world.chores.discard)
        if fault.ms:
            asyncio.get_running_loop().call_later(fault.ms / 1000, disarm, world, number)
    return number


def disarm(world: World, number: int | None = None) -> bool:
    """Take one rule, or all, out of force; whether there was one. The end of an outage sends what waited."""
    if number is None:
        world.faults.clear()
    elif not world.faults.remove(number):
        return False
    if not world.faults.outage:
        world.calm.set()
    return True
