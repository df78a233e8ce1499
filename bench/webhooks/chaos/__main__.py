"""Kill the sender under load and count what was lost: `python -m bench.webhooks.chaos`.

Events are published to receivers of ours that take, fail, hang and lose answers, while workers are killed at chosen
moments (`bench.webhooks.chaos.points`) and at random, frozen past their leases and asked to end, Postgres restarts and
crashes, the clock is stepped, the name server goes away, and one name flips between an address that may be called and
one that must not be. Redis is away all the time. At the end what receivers took is held against what the store owed,
and what came to an endpoint that asked for order against its numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench.webhooks.chaos import faults
from bench.webhooks.chaos.ledger import Ledger, Verdict, judge
from bench.webhooks.chaos.names import serving, trap
from bench.webhooks.chaos.owing import House, moving_in
from bench.webhooks.chaos.points import POINTS, Points
from bench.webhooks.chaos.receivers import Receiver, flapping, mostly_well, receiving, slow, steady
from bench.webhooks.chaos.stand import REAL, SHORT, Run, standing, start
from kernel.secrets import generate_ring

FLIPPING = "flipping name"
_SETTLING = 300.0


async def chaos(options: argparse.Namespace, folder: Path) -> bool:
    """Runs everything and prints the ledger. True when every promise was kept."""
    rand, points, ledger = random.Random(options.seed), Points(), Ledger()
    lease = SHORT if options.short else REAL
    ring = generate_ring()
    async with AsyncExitStack() as stack:
        names, names_port = await stack.enter_async_context(serving())
        run = points.run = await stack.enter_async_context(
            standing(folder, rand, lease, (names, names_port), ring, points, options.workers)
        )
        receivers = [
            Receiver("steady", ledger, steady, points.arrived, rand),
            Receiver("slow", ledger, slow, points.arrived, rand),
            Receiver("flapping", ledger, flapping, points.arrived, rand),
            Receiver("ordered", ledger, mostly_well, points.arrived, rand, ordered=True),
            Receiver(FLIPPING, ledger, steady, points.arrived, rand),
        ]
        ports = [await stack.enter_async_context(receiving(each)) for each in receivers]
        caught = await stack.enter_async_context(trap(ports[-1]))
        urls = [f"http://127.0.0.1:{port}/" for port in ports[:-1]] + [f"http://flip.test:{ports[-1]}/"]
        house = await stack.enter_async_context(moving_in(run, ring, receivers, urls))
        await start(run, run.workers)
        print(f"{options.rate:g} events/s to {len(receivers)} endpoints for {options.seconds:g} s")
        print(f"leases of {lease.seconds:g} s; {run.clock.reach}")
        published = asyncio.Event()
        troubles = asyncio.gather(
            faults.kill_at_points(run, points, published, options.pause),
            faults.trouble(run, published, 2 * options.pause),
            faults.freeze(run, published, max(1, round(options.seconds / 90)), options.seconds / 10),
            faults.step_clock(run, published, options.seconds / 3),
        )

        def enough(seconds: float) -> bool:
            """A machine that starts workers slowly gets three times the time to be struck at every point."""
            whole = points.complete and len(run.faults) >= faults.DIFFERENT
            return seconds > options.seconds and (whole or seconds > 3 * options.seconds)

        await house.publish(ledger, options.rate, enough)
        published.set()
        await troubles
        begun = time.monotonic()
        names.honest = True
        for each in receivers:
            each.well = True
        left = await house.settle(_SETTLING)
        print(f"settled {time.monotonic() - begun:.1f} s after the last event" if not left else f"LEFT: {left}")
        bound = sum(run.in_hand.values()) + ledger.lost_answers
        verdict = judge(ledger, await house.stored(), house.names, await house.delivered(), bound)
        report(run, points, ledger, verdict, house, caught["connections"])
        given_up = house.resent.keys() - {FLIPPING}
        return verdict.kept and not (left or caught or ledger.refused or given_up) and points.complete


def report(run: Run, points: Points, ledger: Ledger, verdict: Verdict, house: House, caught: int) -> None:
    print(f"\n{'fault':44}{'times':>8}{'in hand':>10}")
    for fault, count in sorted(run.faults.items()):
        print(f"{fault:44}{count:>8}{run.in_hand[fault]:>10}")
    print()
    for name, value in (
        ("events published", verdict.published),
        ("deliveries owed", verdict.owed),
        ("deliveries taken", verdict.taken),
        ("lost", len(verdict.lost)),
        ("taken more than once", verdict.repeats),
        ("… allowed: in hand at each fault", sum(run.in_hand.values())),
        ("… and answers lost on the way", ledger.lost_answers),
        ("repeats with another id or other bytes", len(verdict.changed)),
        ("names that led to a forbidden address", run.names.misled),
        ("dials of a forbidden address", caught),
        ("given up by a refused address, sent again", house.resent[FLIPPING]),
        ("given up for another reason", house.resent.total() - house.resent[FLIPPING]),
        ("conversations with numbers in order", len(ledger.sequences) - len(verdict.disordered)),
        ("conversations out of order", len(verdict.disordered)),
        ("bad signatures", sum(ledger.refused.values())),
    ):
        print(f"{name:44}{value:>8}")
    for name, ones in verdict.faults.items():
        if ones:
            print(f"{name}: {len(ones)}: {' '.join(map(str, ones[:10]))}")
    if verdict.repeats > verdict.bound:
        print("MORE REPEATS THAN ALLOWED")
    for point in POINTS:
        if not points.hits[point]:
            print(f"NEVER HIT: {point}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=float, default=50.0, help="events a second; each is owed to five endpoints")
    parser.add_argument("--seconds", type=float, default=240.0, help="over which events are published")
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two kill points")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    parser.add_argument("--short", action="store_true", help="about 45 s, with leases of 7 s instead of 45 s")
    options = parser.parse_args(argv)
    if options.short:
        options.rate, options.seconds, options.pause, options.workers = 15.0, 28.0, 1.0, 3
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # its pool tells of every restart of Postgres
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="parley-hooks-"))
    folder.chmod(0o711)
    try:
        return 0 if asyncio.run(chaos(options, folder)) else 1
    finally:
        if options.keep:
            print(f"logs in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
