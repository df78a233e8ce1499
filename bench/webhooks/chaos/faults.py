"""What goes wrong in a fault run of the sender, beside the kill points."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

from bench.webhooks.chaos.points import POINTS, Points
from bench.webhooks.chaos.stand import Run

AHEAD, BACK = 3_600.0, -5.0  # seconds by which the clock is stepped


async def kill_worker(run: Run) -> None:
    await run.slay(await run.busiest(), "kill -9 at random")


async def stop_worker(run: Run) -> None:
    """Asked to end, as by an update: it has to finish or hand back what it holds, so it is allowed no repeat."""
    run.keepers[run.rand.choice(run.workers)].kill(signal.SIGTERM)
    run.note("worker asked to end")


async def restart_postgres(run: Run) -> None:
    """What is in hand is recorded when it is back, which is before any lease has ended: no repeat is allowed for it."""
    run.note("Postgres restarted")
    run.keepers["postgres"].kill(signal.SIGINT)


async def crash_postgres(run: Run) -> None:
    run.note("Postgres crashed")
    run.keepers["postgres"].kill(signal.SIGQUIT)


async def silence_names(run: Run) -> None:
    run.note("name server away")
    run.names.silent = True
    await asyncio.sleep(2.0)
    run.names.silent = False


KINDS: tuple[Callable[[Run], Awaitable[None]], ...] = (
    kill_worker,
    restart_postgres,
    stop_worker,
    crash_postgres,
    silence_names,
)

DIFFERENT = len(POINTS) + len(KINDS) + 3  # and a worker that is frozen, and two steps of the clock


async def over(run: Run, done: asyncio.Event, pause: float) -> bool:
    """A pause of about that many seconds; True when the run is over before it ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(run.rand.uniform(0.5, 1.5) * pause):
            await done.wait()
    return done.is_set()


async def at_work(run: Run, done: asyncio.Event, pause: float) -> bool:
    """After a pause and when every worker is there: a fault that meets nobody proves nothing. False when the run is
    over."""
    while not await over(run, done, pause):
        if run.at_work():
            return True
        pause = 0.1
    return False


async def kill_at_points(run: Run, points: Points, done: asyncio.Event, pause: float) -> None:
    while await at_work(run, done, pause):
        await points.strike(4 * pause)


async def trouble(run: Run, done: asyncio.Event, pause: float) -> None:
    """One kind after the other, each once before any comes again."""
    order: list[Callable[[Run], Awaitable[None]]] = []
    while await at_work(run, done, pause):
        order = order or run.rand.sample(KINDS, len(KINDS))
        await order.pop()(run)


async def freeze(run: Run, done: asyncio.Event, times: int, pause: float) -> None:
    """Workers are stopped until others have taken over what they held, and wake to find it gone."""
    for _ in range(times):
        if await at_work(run, done, pause):
            await run.freeze(await run.busiest(), run.lease.seconds + 2.0)


async def step_clock(run: Run, done: asyncio.Event, pause: float) -> None:
    """An hour ahead, at which every lease has ended, and later some seconds back."""
    for seconds in (AHEAD, BACK):
        if await at_work(run, done, pause):
            run.note(f"clock stepped {seconds:+g} s", await run.held() if seconds > 0 else 0)
            run.clock.step(seconds)
