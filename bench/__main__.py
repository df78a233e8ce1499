"""`python -m bench`: measures the goals, each beside its baseline of the same run, and prints one table.

Everything runs on this machine, stores included, in about four minutes: the process under test on one core, load and
stores on the other. CPU is user and system time of the process under test for each operation; the ratio of CPU moves
little when the machine is busy, the one of rate much. Exit status 1 when a goal is below its floor or not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from bench import channels, embedding, intake, process, rendering, streams, turns
from bench.goals import Outcome, above, table
from bench.stores import Stores, stores
from bench.webhooks import drain
from kernel.db import Database

Measure = Callable[[Stores, bool], Awaitable[list[Outcome]]]


async def _intake(on: Stores, quick: bool) -> list[Outcome]:
    return await intake.measure(on, rounds=1 if quick else 5, seconds=0.5 if quick else 1.0)


async def _channels(on: Stores, quick: bool) -> list[Outcome]:
    return await channels.measure(on, rounds=1 if quick else 3, seconds=0.4 if quick else 1.0)


async def _turns(on: Stores, quick: bool) -> list[Outcome]:
    return await turns.measure(on, rounds=1 if quick else 5, seconds=1.0 if quick else 2.5)


async def _outbound(on: Stores, quick: bool) -> list[Outcome]:
    """Load and process under test share a process there, so it is given both cores."""
    process.pin(process.ALL)
    try:
        database = await Database.connect(on.app_url, name="parley-bench")
        try:
            figures = await drain.measure(database, requests=1_000 if quick else 6_000, rounds=1 if quick else 3)
        finally:
            await database.close()
    finally:
        process.pin(process.cores()[1])
    ratio = figures["ratio"]
    return [
        Outcome(
            "G10",
            "outbound, every attempt recorded; vs D",
            f"{figures['bare_cpu_us']:.0f} µs, {figures['bare_per_second']:,}/s",
            f"{figures['outbox_cpu_us']:.0f} µs, {figures['outbox_per_second']:,}/s",
            f"≥ {figures['floor']}",
            f"≥ {figures['ambition']}",
            above(ratio, figures["floor"], figures["ambition"]),
            ratio,
            figures["outbox_per_second"] / figures["bare_per_second"],
            note="judged by CPU",
        )
    ]


async def _embedding(on: Stores, quick: bool) -> list[Outcome]:
    return await embedding.measure(rounds=1 if quick else 3, queries=16 if quick else 40)


async def _streams(on: Stores, quick: bool) -> list[Outcome]:
    return await streams.measure(on, streams=300 if quick else 1_500)


async def _process(on: Stores, quick: bool) -> list[Outcome]:
    return await process.measure(on, rounds=1 if quick else 3)


async def _rendering(on: Stores, quick: bool) -> list[Outcome]:
    return rendering.measure(rounds=3 if quick else 20)


SUITES: dict[tuple[str, ...], Measure] = {
    ("G1", "G2", "G3", "G4"): _intake,
    ("G5", "G7", "G8"): _turns,
    ("G10",): _outbound,
    ("G11", "G12"): _embedding,
    ("G15",): _streams,
    ("G17",): _process,
    ("G18",): _rendering,
    ("G19",): _channels,
}
GOALS = [goal for goals in SUITES for goal in goals]


def wanted(text: str) -> frozenset[str]:
    """The goals in a list like "G5,G8". Raises argparse's error for one that there is not."""
    goals = frozenset(part.strip().upper() for part in text.split(",") if part.strip())
    if unknown := goals - set(GOALS):
        raise argparse.ArgumentTypeError(f"no such goal: {', '.join(sorted(unknown))}; there are {', '.join(GOALS)}")
    return goals


async def run(only: frozenset[str], *, quick: bool, say: Callable[[str], None]) -> list[Outcome]:
    """Measures what is asked for, a suite of goals at a time."""
    found: list[Outcome] = []
    process.pin(process.cores()[1])
    async with stores() as on:
        for goals, measure in SUITES.items():
            if only.isdisjoint(goals):
                continue
            begun = time.perf_counter()
            found += [outcome for outcome in await measure(on, quick) if outcome.goal in only]
            say(f"{', '.join(goals)}: {time.perf_counter() - begun:.0f} s")
    return found


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=wanted, default=frozenset(GOALS), metavar="G5,G8", help="these goals alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="one short round each: does it run, not how fast it is")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(options.only, quick=options.quick, say=lambda line: print(line, file=sys.stderr)))
    print(json.dumps([outcome.to_json() for outcome in found], indent=2) if options.json else table(found))
    return 1 if any(outcome.verdict == "BELOW" for outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
