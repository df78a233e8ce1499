"""What goes wrong by itself in a fault run: processes, stores and platforms."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from bench.chaos.bots import post
from bench.chaos.points import EVERYWHERE, ON_SOCKETS, Points
from bench.chaos.stand import GATEWAYS, LEASE, WORKERS, Run
from kernel.queue import open_redis

_SOCKETS_EVERY = 4
_TAKEN_OVER = 16.0  # seconds within which another gateway holds a bot's socket


async def freeze_gateway(run: Run) -> None:
    """Longer than its lease: others take over; when it wakes, the database refuses what it still wants to write."""
    keeper = run.keepers[run.seed.choice(GATEWAYS)]
    keeper.kill(signal.SIGSTOP)
    await asyncio.sleep(LEASE + 1.5)
    keeper.kill(signal.SIGCONT)


async def kill_gateway(run: Run) -> None:
    run.keepers[run.seed.choice(GATEWAYS)].kill(signal.SIGKILL)


async def kill_worker(run: Run) -> None:
    run.keepers[run.seed.choice(WORKERS)].kill(signal.SIGKILL)


async def restart_postgres(run: Run) -> None:
    run.keepers["postgres"].kill(signal.SIGINT)


async def crash_postgres(run: Run) -> None:
    run.keepers["postgres"].kill(signal.SIGQUIT)


async def empty_redis(run: Run) -> None:
    redis = open_redis(run.redis_url)
    with contextlib.suppress(Exception):
        await redis.flushall()
    await redis.aclose()


async def kill_redis(run: Run) -> None:
    run.keepers["redis"].kill(signal.SIGKILL)


OURS: dict[str, tuple[int, Callable[[Run], Awaitable[None]]]] = {
    "gateway kill -9": (1, kill_gateway),
    "gateway frozen past its lease": (1, freeze_gateway),
    "worker kill -9": (2, kill_worker),
    "postgres restart": (1, restart_postgres),
    "postgres crash": (1, crash_postgres),
    "redis emptied": (2, empty_redis),
    "redis kill -9": (1, kill_redis),
}


def _sends(method: str) -> dict[str, dict[str, Any]]:
    """What happens to one call that sends."""
    return {
        "answer to a send lost": {"kind": "drop_after", "method": method},
        "send lost": {"kind": "drop_before", "method": method},
        "send told to wait": {"kind": "status", "method": method, "code": 429, "status": 429, "retry_after": 1},
        "send slow": {"kind": "delay", "method": method, "ms": 700},
    }


def _known(faults: dict[str, dict[str, Any]], *without: str) -> dict[str, dict[str, Any]]:
    return {name: {k: v for k, v in one.items() if k not in without} for name, one in faults.items()}


_SLACK = {
    **_known(_sends("chat.postMessage"), "status"),
    "event delivered twice": {"kind": "duplicate", "method": "message"},
    "event overtaken": {"kind": "reorder", "method": "message", "ms": 400},
    "platform away": {"kind": "outage", "ms": 1500},
}
THEIRS: dict[str, dict[str, dict[str, Any]]] = {
    "telegram": {
        **_known(_sends("sendMessage"), "status"),
        "event delivered twice": {"kind": "duplicate", "method": "message"},
    },
    "slack-http": _SLACK,
    "slack-socket": {**_SLACK, "socket closed": {"kind": "close_socket", "method": "message"}},
    "discord": {
        **_known(_sends("create_message"), "code"),
        "answer to an edit lost": {"kind": "drop_after", "method": "edit_response"},
        "event delivered twice": {"kind": "duplicate", "method": "message_create"},
        "socket closed": {"kind": "close", "code": 4000},
        "session not to be resumed": {"kind": "invalid_session"},
        "told to reconnect": {"kind": "reconnect"},
    },
}


async def disturb(run: Run, platform: str, what: str, fault: dict[str, Any]) -> None:
    """Arms one fault at a platform, which strikes once."""
    lasting = {} if fault["kind"] == "outage" else {"count": 1}
    await post(f"{run.simulators[platform]}/sim/faults", {**fault, **lasting})
    run.note(f"{platform}: {what}")


async def _over(run: Run, done: asyncio.Event, pause: float) -> bool:
    """A pause of about that many seconds; True when everything is written before it ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(run.seed.uniform(0.5, 1.5) * pause):
            await done.wait()
    return done.is_set()


async def kill_at_points(run: Run, points: Points, done: asyncio.Event, pause: float) -> None:
    """One kill point after the other until everything is written; each when both gateways are there, for without that
    the next would meet nobody. A socket is held by one gateway, and by nobody for some seconds after that one's death:
    so every few times its points alone are waited for."""
    strikes = 0
    while not await _over(run, done, pause):
        if not await run.all_up():
            continue
        strikes += 1
        listening = strikes % _SOCKETS_EVERY == 0
        wanted, patience = (ON_SOCKETS, _TAKEN_OVER) if listening else (EVERYWHERE, 4 * pause)
        if await points.strike(wanted, patience):
            run.note("gateway kill -9 at a kill point")


async def trouble(run: Run, done: asyncio.Event, pause: float) -> None:
    """One fault of ours after the other. Each kind comes at least once if there is time."""
    names, weights = list(OURS), [weight for weight, _ in OURS.values()]
    order = run.seed.sample(names, len(names))
    while not await _over(run, done, pause):
        name = order.pop() if order else run.seed.choices(names, weights)[0]
        run.note(name)
        await OURS[name][1](run)


async def platform_trouble(run: Run, done: asyncio.Event, pause: float) -> None:
    """One fault of theirs after the other, each once before any comes again."""
    every = [(platform, what) for platform, kinds in THEIRS.items() for what in kinds]
    order: list[tuple[str, str]] = []
    while not await _over(run, done, pause):
        order = order or _shuffled(run.seed, every)
        platform, what = order.pop()
        await disturb(run, platform, what, THEIRS[platform][what])


def _shuffled(seed: random.Random, items: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return seed.sample(items, len(items))
