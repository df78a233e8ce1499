"""Taking updates in, on the gateway's real app with turns left lying (G1 to G4).

G1 drops an update that needs no answer (a group's chatter), G2 acknowledges distinct updates after their commit, G3
compares that with one INSERT for each request, G4 looks at latency at half of G2's rate. H is a bare aiohttp handler
that is sent the same bytes. Rounds alternate; medians count.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import orjson

from bench.goals import Outcome, above, below, judge, percentile
from bench.load import Compose, Cost, closed, paced, post
from bench.process import running
from bench.stores import SECRET, Stores

HEADERS = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
_MARK = 1_000_000_000  # update ids keep one width, so that every request has one length
CHATS = 1_000


def update(number: int, chat_id: int, text: str, *, group: bool = False) -> bytes:
    """A text message as Telegram delivers it, about 550 bytes."""
    chat = {"id": chat_id, "first_name": "Ada", "last_name": "Lovelace", "username": "ada", "type": "private"}
    if group:
        chat = {"id": -chat_id, "title": "The analytical engine's friends", "type": "supergroup"}
    sender = {
        "id": chat_id,
        "is_bot": False,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "username": "ada_lovelace",
        "language_code": "en",
    }
    message = {
        "message_id": number,
        "from": sender,
        "chat": chat,
        "date": 1_790_000_000,
        "text": text,
        "entities": [{"offset": 5, "length": 20, "type": "url"}, {"offset": 40, "length": 8, "type": "bold"}],
    }
    return orjson.dumps({"update_id": number, "message": message})


def distinct(url: str) -> Compose:
    """Requests that differ in their update id and chat; composed once for each chat."""
    text = "When https://parley.example/ opens on Saturday I would like to hear about it, thank you very much. " * 2
    made = [post(url, update(_MARK, _MARK + chat, text), HEADERS) for chat in range(CHATS)]
    mark, size = str(_MARK).encode(), len(str(_MARK))
    at = [request.index(b'"update_id":' + mark) + len(b'"update_id":') for request in made]
    number = 0

    def compose() -> bytes:
        nonlocal number
        number += 1
        chat = number % CHATS
        request, start = made[chat], at[chat]
        return request[:start] + b"%d" % (_MARK + number) + request[start + size :]

    return compose


def same(url: str, *, group: bool) -> Compose:
    request = post(
        url, update(_MARK, _MARK, "When https://parley.example/ opens we will see. " * 4, group=group), HEADERS
    )
    return lambda: request


@dataclass
class Rounds:
    """The costs of each contender, round by round."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def add(self, name: str, cost: Cost) -> None:
        if cost.failures or not cost.count:
            raise RuntimeError(f"{name}: {cost.failures} of {cost.count} requests failed")
        self.costs.setdefault(name, []).append(cost)

    def micros(self, name: str) -> float:
        return statistics.median(cost.micros for cost in self.costs[name])

    def rate(self, name: str) -> float:
        return statistics.median(cost.rate for cost in self.costs[name])

    def ratio(self, ours: str, base: str, of: Callable[[Cost], float]) -> float:
        """Median over the rounds of ours against the baseline next to it."""
        return statistics.median(of(a) / of(b) for a, b in zip(self.costs[ours], self.costs[base], strict=True))

    def by_cpu(self, ours: str, base: str) -> float:
        return 1 / self.ratio(ours, base, lambda cost: cost.micros)

    def by_rate(self, ours: str, base: str) -> float:
        return self.ratio(ours, base, lambda cost: cost.rate)

    def latencies(self, name: str) -> list[float]:
        """Of all rounds, in seconds."""
        return [latency for cost in self.costs[name] for latency in cost.latencies]

    def show(self, name: str) -> str:
        return f"{self.micros(name):.0f} µs, {self.rate(name):,.0f}/s"


async def measure(stores: Stores, *, rounds: int = 3, seconds: float = 1.5) -> list[Outcome]:
    account = await stores.telegram_account(await stores.workspace())
    seen = Rounds()
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        hello = await start(running("bench.baselines", "hello"))
        ours = await start(running("bench.server", "intake", environment=stores.environment()))
        single = await start(running("bench.baselines", "insert", environment={"DATABASE_ADMIN_URL": stores.admin_url}))
        path = f"{ours.url}/channels/telegram/{account}"
        bare, dropped = same(hello.url + "/hook", group=False), same(path, group=True)
        acknowledged, inserted = distinct(path), distinct(single.url + "/hook")
        for _ in range(rounds):
            seen.add("hello", await closed(hello, bare, seconds=seconds))
            seen.add("drop", await closed(ours, dropped, seconds=seconds))
            seen.add("ack", await closed(ours, acknowledged, seconds=seconds))
            seen.add("insert", await closed(single, inserted, seconds=seconds))
        half = await paced(ours, acknowledged, rate=seen.rate("ack") / 2, seconds=seconds * 2)
        seen.add("half", half)
    async with stores.admin() as conn:
        await conn.execute("TRUNCATE inbound_updates, bench_inbox")
    return outcomes(seen)


def outcomes(seen: Rounds) -> list[Outcome]:
    """The four goals of a run."""
    drop = seen.by_cpu("drop", "hello"), seen.by_rate("drop", "hello")
    ack = seen.by_cpu("ack", "hello"), seen.by_rate("ack", "hello")
    single = seen.by_cpu("ack", "insert"), seen.by_rate("ack", "insert")
    (half,) = seen.costs["half"]
    p50, p99 = (percentile(half.latencies, share) * 1000 for share in (0.5, 0.99))
    hello, left = seen.show("hello"), "turns are left lying, so that intake is measured alone"
    delays = f"p50 {p50:.1f}, p99 {p99:.1f} ms"
    return [
        Outcome(
            "G1", "Telegram: verify, parse, drop; vs H", hello, seen.show("drop"), "≥ 0.55", "≥ 0.80",
            judge(above(min(drop), 0.55, 0.80)), *drop,
        ),
        Outcome(
            "G2", "durable ack, fsync on; vs H", hello, seen.show("ack"), "≥ 0.45", "≥ 0.60",
            judge(above(min(ack), 0.45, 0.60)), *ack, note=left,
        ),
        Outcome(
            "G3", "durable ack; vs one INSERT a request", seen.show("insert"), seen.show("ack"), "≥ 1.4", "≥ 1.8",
            above(single[0], 1.4, 1.8), *single, note="judged by CPU",
        ),
        Outcome(
            "G4", "ack latency at half of G2's rate", f"paced at {half.rate:,.0f}/s", delays,
            "p99 ≤ 50 ms", "p99 ≤ 10 ms", below(p99, 50, 10), note="latency from the moment a request was due",
        ),
    ]  # fmt: skip
