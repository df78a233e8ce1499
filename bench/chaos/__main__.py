"""Kill things under load and count what was lost: `python -m bench.chaos`.

People write to bots on four simulated platforms, on a web page and over REST, while gateways are killed at chosen
moments (`bench.chaos.points`), and gateways, workers, Postgres, Redis and the platforms themselves fail at random. At
the end what people saw is compared with what they wrote, and what a webhook receiver got with the events in the store.
Everything runs on loopback and stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from bench.chaos import bots, faults
from bench.chaos.hooks import receiving, undelivered
from bench.chaos.ledger import Verdict, messages
from bench.chaos.points import Points, table
from bench.chaos.stand import Run, standing, start_gateways
from bench.chaos.talk import Table, arrivals, doubtful, evidence, greet, leftovers, settle, tables, talk
from kernel.secrets import generate_ring

_SETTLING = 240.0


async def chaos(options: argparse.Namespace, folder: Path) -> bool:
    """Runs everything and prints the ledger. True when every promise was kept."""
    seed = random.Random(options.seed)
    points = Points(seed)
    each = max(1, round(options.messages / options.conversations) - 1)
    async with AsyncExitStack() as stack:
        run = points.run = await stack.enter_async_context(standing(folder, seed, generate_ring(), points))
        bad: list[str] = []
        hook = await stack.enter_async_context(receiving(run.received, bad))
        made = await bots.install(run, hook.url)
        hook.secret, points.accounts = made.secret, made.accounts
        await start_gateways(run)
        await bots.point(run, made)
        await bots.hasten(run, options.seconds)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        seated = tables(run, http, made, options.conversations)
        await greet(seated)
        print(f"{options.messages} messages over {options.conversations} conversations in {options.seconds:g} s")
        written = asyncio.Event()
        # Whoever repeats a call waits for the lease of one that was cut off: endless trouble would keep them for ever.
        asyncio.get_running_loop().call_later(options.seconds, written.set)
        troubles = asyncio.gather(
            faults.kill_at_points(run, points, written, options.pause),
            faults.trouble(run, written, 10 * options.pause),
            faults.platform_trouble(run, written, options.pause),
        )
        people = [talk(run, one, user, each, options.seconds) for one in seated for user in one.users]
        await asyncio.gather(*people)
        written.set()
        await troubles
        started = time.monotonic()
        left = await settle(run, seated, _SETTLING)
        print(f"settled {time.monotonic() - started:.1f} s after the last message" if not left else f"LEFT: {left}")
        for owed in await leftovers(run) if left else ():
            print(owed)
        unsure = await doubtful(run)
        arrived = await arrivals(run)
        verdicts = {one.crowd.name: await one.verdict(unsure, arrived) for one in seated}
        missing = await undelivered(run)
        report(run, points, seated, verdicts)
        hooks(run, missing, bad)
        if options.keep:
            await evidence(run, http)
        kept = all(verdict.kept for verdict in verdicts.values())
        return kept and not (left or missing or bad or points.broken)


def report(run: Run, points: Points, seated: Sequence[Table], verdicts: dict[str, Verdict]) -> None:
    for fault, count in sorted(run.faults.items()):
        print(f"  {count:4} x {fault}")
    print("\n".join(table(points.hits)))
    heads = ("sent", "answered", "lost", "doubled", "ambiguous", "disordered", "astray", "told failed", "late")
    print(f"{'':14}" + "".join(f"{head:>12}" for head in heads))
    for one in seated:
        verdict = verdicts[one.crowd.name]
        said = [token for tokens in one.said.values() for token in tokens if token not in one.excused]
        gone = messages(verdict.lost)
        lists = (
            verdict.lost,
            verdict.doubled,
            verdict.ambiguous,
            verdict.disordered,
            verdict.astray,
            one.excused,
            one.late,
        )
        cells = [messages(said), messages(said) - gone, *map(messages, lists)]
        print(f"{one.crowd.name:14}" + "".join(f"{cell:>12}" for cell in cells))
    for name, verdict in verdicts.items():
        for what, words in verdict.faults.items():
            if words:
                print(f"{name} {what}: {' '.join(words[:20])}")
    if points.broken:
        print(f"acknowledged and not stored: {' '.join(points.broken)}")


def hooks(run: Run, missing: set[str], bad: list[str]) -> None:
    repeats = sum(count - 1 for count in run.received.values())
    for name, value in (
        ("webhook events", len(run.received) + len(missing)),
        ("webhook events lost", len(missing)),
        ("webhook repeats, same id", repeats),
        ("webhook bad signatures", len(bad)),
    ):
        print(f"{name:28}{value:8}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=150.0, help="over which people write")
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between two kill points")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    parser.add_argument("--short", action="store_true", help="280 messages over 28 conversations in 25 s")
    options = parser.parse_args()
    if options.short:
        options.messages, options.conversations, options.seconds, options.pause = 280, 28, 25.0, 0.4
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="parley-chaos-"))
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
