"""Both gateways are away for a while and people write all the same: `python -m bench.outage`.

Nothing is killed and nothing else fails. Once the gateways are back, every message is to be answered once: the
platforms deliver again what was not taken, what they do not deliver again is read from their history, pages and
programs repeat their calls, and whoever gave a slash command was told that it failed and gives it again.
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
import asyncpg

from bench.chaos import bots
from bench.chaos.hooks import receiving
from bench.chaos.ledger import Verdict, message_of, messages, words
from bench.chaos.points import Points
from bench.chaos.stand import GATEWAYS, Run, standing, start_gateways
from bench.chaos.talk import Table, arrivals, doubtful, greet, leftovers, missing, settle, tables
from kernel.secrets import generate_ring

_PATIENCE = 420.0  # Slack tries for the last time six minutes after
_SHORT_PATIENCE = 60.0  # and sooner where it is told to


async def outage(options: argparse.Namespace, folder: Path) -> bool:
    """Runs it and prints a line for each channel. True when every message was answered once."""
    seed = random.Random(options.seed)
    points = Points(seed)  # which strikes nowhere here
    patience = _SHORT_PATIENCE if options.short else _PATIENCE
    async with AsyncExitStack() as stack:
        run = points.run = await stack.enter_async_context(standing(folder, seed, generate_ring(), points))
        hook = await stack.enter_async_context(receiving(run.received, []))
        made = await bots.install(run, hook.url)
        hook.secret, points.accounts = made.secret, made.accounts
        await start_gateways(run)
        await bots.point(run, made)
        if options.short:
            await bots.hasten(run, options.seconds)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        seated = tables(run, http, made, options.conversations)
        await greet(seated)
        await settle(run, seated, 60)
        for name in GATEWAYS:
            await run.keepers[name].rest()
        print(f"both gateways are away for {options.seconds:g} s", flush=True)
        writing = [asyncio.create_task(_write(run, one, user, options)) for one in seated for user in one.users]
        await asyncio.sleep(options.seconds)
        back = time.time()
        for name in GATEWAYS:
            run.keepers[name].wake()
        await asyncio.gather(*writing)
        left = await settle(run, seated, patience)
        for owed in await leftovers(run) if left else ():
            print(owed)
        await _seen(seated, patience if not left else 0)
        unsure, arrived = await doubtful(run), await arrivals(run)
        last = {one.crowd.name: await _last(run, made.accounts[one.crowd.name]) - back for one in seated}
        verdicts = {one.crowd.name: await one.verdict(unsure, arrived) for one in seated}
        print(f"back after {options.seconds:g} s" + (f"; LEFT: {left}" if left else ""))
        report(seated, verdicts, last)
        return not left and all(verdict.kept for verdict in verdicts.values())


async def _write(run: Run, table: Table, user: int, options: argparse.Namespace) -> None:
    """One person writes at any times of the outage. Slash commands, pages and programs go on until they are taken."""
    began = time.monotonic()
    for number, at in enumerate(sorted(run.seed.uniform(0, options.seconds) for _ in range(options.each)), start=1):
        await asyncio.sleep(began + at - time.monotonic())
        await table.write(user, number)


async def _seen(seated: Sequence[Table], seconds: float) -> None:
    """Waits until every word was seen; history is read only some time after a return, and owes nothing before that.
    Of pages, whose readers are asked once, the store has told before that all is answered."""
    watched, deadline = [one for one in seated if one.crowd.name != "web"], time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not await missing(watched):
            return
        await asyncio.sleep(1.0)


async def _last(run: Run, account: str) -> float:
    """When the account's last answer was done, in epoch seconds."""
    conn = await asyncpg.connect(run.admin_url)
    last: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM max(coalesce(sent_at, created_at))) FROM outbound_messages WHERE account_id = $1",
        account,
    )
    await conn.close()
    return float(last or 0)


def report(seated: Sequence[Table], verdicts: dict[str, Verdict], last: dict[str, float]) -> None:
    heads = ("written", "answered", "lost", "doubled", "out of order", "told failed", "last after")
    print(f"{'':14}" + "".join(f"{head:>14}" for head in heads))
    for one in seated:
        verdict = verdicts[one.crowd.name]
        said = {message_of(token) for tokens in one.said.values() for token in tokens if token not in one.excused}
        meanwhile = [word for word in said if not word.endswith("m0")]
        lost, doubled = messages(verdict.lost), messages([*verdict.doubled, *verdict.ambiguous])
        cells = [len(meanwhile), len(meanwhile) - lost, lost, doubled, messages(verdict.disordered), len(one.excused)]
        print(f"{one.crowd.name:14}" + "".join(f"{cell:>14}" for cell in cells) + f"{last[one.crowd.name]:>12.1f} s")
    for name, verdict in verdicts.items():
        for what, tokens in verdict.faults.items():
            if tokens:
                print(f"{name} {what}: {' '.join(words(tokens)[:20])}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of the outage")
    parser.add_argument("--conversations", type=int, default=70)
    parser.add_argument("--each", type=int, default=4, help="messages that each person writes meanwhile")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    parser.add_argument("--short", action="store_true", help="28 messages in 5 s")
    options = parser.parse_args()
    if options.short:
        options.seconds, options.conversations, options.each = 5.0, 14, 2
    folder = Path(tempfile.mkdtemp(prefix="parley-outage-"))
    folder.chmod(0o711)
    try:
        return 0 if asyncio.run(outage(options, folder)) else 1
    finally:
        if options.keep:
            print(f"logs in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
