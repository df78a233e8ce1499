"""The webhook sender beside other ways to send, on stores and a receiver of its own: `python -m bench.webhooks`.

W1  drain rate of a worker process, beside bare posts, a transaction for each delivery, and an arq job for each
W2  from create to receipt at 50/s and 200/s
W3  what a create costs
W4  how late retries are
W5  a healthy endpoint beside a dead one with 100,000 due

Senders are processes of their own, `parley work` among them. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from bench.goals import Outcome, table
from bench.stores import Stores, stores
from bench.webhooks import latency, patience, rates
from bench.webhooks.sink import Sink, sink

Measure = Callable[[Stores, Sink, bool], Awaitable[list[Outcome]]]


async def _drain(on: Stores, at: Sink, quick: bool) -> list[Outcome]:
    return await rates.measure(on, at, count=320 if quick else 12_800, rounds=1 if quick else 3)


async def _latency(on: Stores, at: Sink, quick: bool) -> list[Outcome]:
    return await latency.measure(on, at, rates=(20.0,) if quick else (50.0, 200.0), seconds=1.0 if quick else 15.0)


async def _lateness(on: Stores, at: Sink, quick: bool) -> list[Outcome]:
    return [await patience.lateness(on, at, rate=20.0 if quick else 100.0, seconds=2.0 if quick else 20.0)]


async def _neighbour(on: Stores, at: Sink, quick: bool) -> list[Outcome]:
    rows, seconds, rounds = (500, 1.0, 1) if quick else (100_000, 12.0, 2)
    return [await patience.neighbour(on, at, rows=rows, rate=20.0 if quick else 100.0, seconds=seconds, rounds=rounds)]


SUITES: dict[tuple[str, ...], Measure] = {
    ("W1",): _drain,
    ("W2", "W3"): _latency,
    ("W4",): _lateness,
    ("W5",): _neighbour,
}


async def run(only: frozenset[str], *, quick: bool, say: Callable[[str], None]) -> list[Outcome]:
    found: list[Outcome] = []
    async with stores() as on, sink() as at:
        for figures, measure in SUITES.items():
            if only and only.isdisjoint(figures):
                continue
            begun = time.perf_counter()
            found += await measure(on, at, quick)
            say(f"{', '.join(figures)}: {time.perf_counter() - begun:.0f} s")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.webhooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="W1,W5", help="these alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="a short round of each: does it run, not how fast it is")
    options = parser.parse_args(argv)
    only = frozenset(filter(None, options.only.upper().split(",")))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(only, quick=options.quick, say=lambda line: print(line, file=sys.stderr)))
    print(json.dumps([outcome.to_json() for outcome in found], indent=2) if options.json else table(found))
    return 1 if any(outcome.verdict == "BELOW" for outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
