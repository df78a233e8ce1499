"""The ledger that judges fault runs, and a short run: what people wrote is answered once and in order."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.ledger import judge

ROOT = Path(__file__).resolve().parent.parent


def test_the_ledger_finds_what_is_lost_doubled_or_out_of_order() -> None:
    sent = {1: ["a", "b", "c"], 2: ["d", "e"], 3: ["f"]}
    good = judge(sent, sent, ())
    assert good.kept and (good.sent, good.answered) == (6, 6)
    assert judge(sent, {**sent, 2: ["d"]}, ()).lost == ["e"]
    assert judge(sent, {**sent, 3: ["f", "f"]}, ()).doubled == ["f"]
    doubtful = judge(sent, {**sent, 3: ["f", "f"]}, {"f"})
    assert doubtful.kept and doubtful.ambiguous == ["f"]
    swapped = judge(sent, {**sent, 1: ["b", "a", "c"]}, ())
    assert not swapped.kept and set(swapped.disordered) == {"a", "b"}
    assert not judge(sent, {}, ()).kept


async def test_d1_a_short_fault_run_loses_doubles_and_disorders_nothing() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.chaos", "--short",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 400)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
