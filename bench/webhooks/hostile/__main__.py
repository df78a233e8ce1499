"""What receivers that mean harm cost the sender: `python -m bench.webhooks.hostile`.

Sends to each of them side by side, as the worker does, and prints what came of it, how much of the answer was kept and
how much the receiver got rid of, how long it took, and by how much the sender's memory grew at its peak for each send.
Exit status 1 when one of them got more than it may: 64 KiB of memory, or more time than the deadline.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from typing import Any

import psutil  # type: ignore[import-untyped]
import uvloop

from webhooks.transport import MAX_BODY, open_session, post, timeouts

LOOPBACK = [ip_network("127.0.0.0/8")]
MOST_MEMORY = 64.0  # KiB for each send
MOST_PUSHED = 16 << 20  # bytes of one answer, the kernel's buffers on both sides included
_BODY = b'{"data":"' + b"x" * 1_000 + b'"}'


@dataclass(frozen=True, slots=True)
class Finding:
    """What one kind of receiver came to. `outcomes` counts error codes with their status; `late` are sends that went on
    after the deadline. `memory` is KiB at the peak for each send; `kept` and `pushed` are bytes of the longest answer.
    """

    receiver: str
    outcomes: dict[str, int]
    connections: int
    kept: int
    pushed: int
    seconds: float
    late: int
    memory: float

    @property
    def bounded(self) -> bool:
        return self.memory <= MOST_MEMORY and self.kept <= MAX_BODY and self.pushed <= MOST_PUSHED and not self.late


class Peak:
    """The process's memory at its highest, watched from a thread."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self.base = self.highest = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _now(self) -> float:
        return float(self._process.memory_info().rss) / 1024

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.highest = max(self.highest, self._now())

    def __enter__(self) -> Peak:
        gc.collect()
        self.base = self.highest = self._now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.highest = max(self.highest, self._now())
        self._stop.set()
        self._thread.join()


class Receivers:
    """The process with the receivers in it."""

    def __init__(self, process: asyncio.subprocess.Process, ports: dict[str, int]) -> None:
        self._process = process
        self.ports = ports

    async def seen(self, name: str) -> dict[str, int]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(name.encode() + b"\n")
        found: dict[str, int] = json.loads(await self._process.stdout.readline())
        return found


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.webhooks.hostile.receivers",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        yield Receivers(process, json.loads(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


async def attack(at: Receivers, name: str, sends: int, deadline: float) -> Finding:
    """So many sends at once to one kind of receiver, two after the other over each line."""
    scheme = "https" if "TLS" in name else "http"
    url = f"{scheme}://127.0.0.1:{at.ports[name]}/hook"
    limits = timeouts(deadline, deadline / 2)
    async with open_session(LOOPBACK, concurrency=sends) as session:

        async def lane() -> list[tuple[str, int, float]]:
            found = []
            for _ in range(2):
                begun = time.monotonic()
                outcome = await post(session, url, {"content-type": "application/json"}, _BODY, limits)
                spent = time.monotonic() - begun
                found.append((f"{outcome.error_code or 'ok'} {outcome.status or ''}".strip(), len(outcome.body), spent))
            return found

        before = await at.seen(name)
        with Peak() as peak:
            done = [one for lane_ in await asyncio.gather(*(lane() for _ in range(sends))) for one in lane_]
    after = await at.seen(name)
    # A timer may fire late on a busy machine; a send without a deadline would go on for ever.
    late = sum(spent > 2 * deadline + 5 for _, _, spent in done)
    return Finding(
        name,
        dict(Counter(code for code, _, _ in done).most_common()),
        after["connections"] - before["connections"],
        max(kept for _, kept, _ in done),
        after["pushed"],
        round(max(spent for _, _, spent in done), 2),
        late,
        round((peak.highest - peak.base) / sends, 1),
    )


async def run(sends: int, deadline: float, only: str = "") -> list[Finding]:
    async with receivers() as at:
        names = [name for name in at.ports if only in name]
        await attack(
            at, "well-behaved", 2 * sends, deadline
        )  # what the first sends load and keep is not the others' doing
        return [await attack(at, name, sends, deadline) for name in names]


def table(findings: Sequence[Finding]) -> str:
    lines = [f"{'receiver':38}{'outcome':34}{'dials':>6}{'kept':>8}{'pushed':>12}{'seconds':>9}{'KiB/send':>10}"]
    for one in findings:
        codes = ", ".join(one.outcomes)
        flag = "" if one.bounded else "  UNBOUNDED"
        lines.append(
            f"{one.receiver:38}{codes:34}{one.connections:>6}{one.kept:>8}{one.pushed:>12,}{one.seconds:>9.2f}"
            f"{one.memory:>10.1f}{flag}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.webhooks.hostile", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--sends", type=int, default=50, help="at once to each receiver")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds for one try")
    parser.add_argument("--only", default="", metavar="TEXT", help="receivers whose name holds this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--short", action="store_true", help="a deadline of 1.5 s")
    options = parser.parse_args(argv)
    if options.short:
        options.deadline = 1.5
    findings = uvloop.run(run(options.sends, options.deadline, options.only))
    said: Any = json.dumps([{**asdict(one), "bounded": one.bounded} for one in findings]) if options.json else None
    print(said or table(findings))
    return 0 if all(one.bounded for one in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
