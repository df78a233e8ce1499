"""People in all channels write, and at the end what they saw is compared with what they wrote, channel by channel."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import asyncpg

from bench.chaos.bots import Bots
from bench.chaos.callers import OnPage, OnRest
from bench.chaos.ledger import Verdict, judge, long_text, message_of, words
from bench.chaos.people import Crowd, OnCommands, OnDiscord, OnSlack, OnTelegram, Refused
from bench.chaos.stand import Run

_AGAIN = 1000  # added to the number of a message that its writer repeats in other words
_REST = 1.0
LONG_EVERY = 3


@dataclass
class Table:
    """One channel's people and what they wrote. `excused`: what they were told had failed; `late`: what the
    platform delivered in another order than it was written."""

    crowd: Crowd
    users: Sequence[int]
    said: dict[int, list[str]] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)

    async def write(self, user: int, number: int, *, long: bool = False) -> None:
        """One message; who is told that it failed says it again."""
        while True:
            word = f"c{user}m{number}"
            text = long_text(word, self.crowd.rows) if long and self.crowd.rows else word
            tokens = words([text])
            self.said.setdefault(user, []).extend(tokens)
            try:
                await self.crowd.say(user, word, text)
                return
            except Refused:
                self.excused.update(tokens)
                number += _AGAIN
                await asyncio.sleep(_REST)

    async def verdict(self, doubtful: Collection[str], arrival: Mapping[str, int]) -> Verdict:
        """Slack delivers what it has to deliver again after what came later; there the order is that of arrival."""
        said = dict(self.said)
        if self.crowd.name.startswith("slack"):
            for user, tokens in self.said.items():
                said[user] = sorted(tokens, key=lambda token: arrival.get(message_of(token), 0))
                self.late |= {token for token, other in zip(tokens, said[user], strict=True) if token != other}
        return judge(said, await self.crowd.seen(), doubtful, excused=self.excused)


def tables(run: Run, http: aiohttp.ClientSession, bots: Bots, conversations: int) -> list[Table]:
    """All channels, with about as many people in each."""
    crowds: list[Crowd] = [
        OnTelegram(run, http), OnSlack(run, http, "http"), OnSlack(run, http, "socket"), OnDiscord(run, http),
        OnCommands(run, http), OnPage(run, http, bots), OnRest(run, http, bots),
    ]  # fmt: skip
    users = range(1, conversations + 1)
    return [Table(crowd, users[n :: len(crowds)]) for n, crowd in enumerate(crowds)]


async def greet(tables: Sequence[Table]) -> None:
    """Everybody comes and says something while all is well: of a first direct message that nobody hears, Discord tells
    nobody later either."""
    for table in tables:
        for user in table.users:
            await table.crowd.arrive(user)
    await asyncio.gather(*(table.write(user, 0) for table in tables for user in table.users))


async def talk(run: Run, table: Table, user: int, count: int, seconds: float) -> None:
    """One person writes `count` messages at any times within `seconds`; every few a long one."""
    offset, began = run.seed.randrange(LONG_EVERY), time.monotonic()
    for number, at in enumerate(sorted(run.seed.uniform(0, seconds) for _ in range(count)), start=1):
        await asyncio.sleep(began + at - time.monotonic())
        await table.write(user, number, long=(number + offset) % LONG_EVERY == 0)


async def settle(run: Run, tables: Sequence[Table], seconds: float) -> str:
    """Waits until neither platforms nor store owe anything any more. Returns what is left, or an empty string."""
    left = "no answer from the store"
    deadline = time.monotonic() + seconds
    quiet = 0
    while time.monotonic() < deadline:
        left = await _left(run, tables)
        quiet = 0 if left else quiet + 1
        if quiet >= 3:
            return ""
        await asyncio.sleep(0.5)
    return left


async def _left(run: Run, tables: Sequence[Table]) -> str:
    for table in tables:
        if waiting := await table.crowd.owed():
            return f"{waiting} undelivered on {table.crowd.name}"
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        conn = await asyncpg.connect(run.admin_url, timeout=5)
        row = await conn.fetchrow(
            """
            SELECT (SELECT count(*) FROM inbound_updates WHERE status IN ('pending', 'taken')) AS updates,
                (SELECT count(*) FROM outbound_messages WHERE state IN ('pending', 'sending')) AS sends,
                (SELECT count(*) FROM webhook_deliveries WHERE status IN ('pending', 'leased')) AS deliveries
            """
        )
        await conn.close()
        return ", ".join(f"{count} {name}" for name, count in dict(row or {}).items() if count)
    return "no answer from the store"


async def missing(tables: Sequence[Table]) -> int:
    """Words that have not been seen yet, on platforms whose screens can be looked at again and again."""
    count = 0
    for table in tables:
        seen = {token for shown in (await table.crowd.seen()).values() for token in shown}
        count += sum(1 for said in table.said.values() for token in said if token not in seen | table.excused)
    return count


async def doubtful(run: Run) -> set[str]:
    """Words on Telegram whose send the store has marked as ambiguous: that platform cannot be asked."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch(
        """
        SELECT o.plain FROM outbound_messages o JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE o.ambiguous > 0 AND a.kind = 'telegram'
        """
    )
    await conn.close()
    return set(words(row["plain"] for row in rows))


async def arrivals(run: Run) -> dict[str, int]:
    """The order in which messages were stored."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch(
        "SELECT substring(convert_from(payload, 'UTF8') FROM 'c\\d+m\\d+') AS word, seq FROM inbound_updates"
    )
    await conn.close()
    return {row["word"]: row["seq"] for row in rows if row["word"]}


async def leftovers(run: Run) -> list[str]:
    """What the store still owes, in words that help to find out why."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch(
        """
        SELECT a.name, u.status, u.external_id, u.conversation_key, now() - u.received_at AS age, t.status AS turn,
            t.attempt, t.lease_until - now() AS lease
        FROM inbound_updates u JOIN channel_accounts a USING (workspace_id, account_id)
            LEFT JOIN turns t USING (workspace_id, turn_id)
        WHERE u.status IN ('pending', 'taken') LIMIT 20
        """
    )
    sends = await conn.fetch(
        """
        SELECT a.name, o.state, o.attempts, o.ambiguous, o.cause, left(o.plain, 40) AS plain, o.due_at - now() AS due
        FROM outbound_messages o JOIN channel_accounts a USING (workspace_id, account_id)
        WHERE o.state NOT IN ('sent', 'failed') LIMIT 20
        """
    )
    await conn.close()
    return [" ".join(f"{name}={value}" for name, value in row.items()) for row in (*rows, *sends)]


async def evidence(run: Run, http: aiohttp.ClientSession) -> None:
    """Leaves what the platforms and the outbox say of every send beside the logs."""
    for platform, url in run.simulators.items():
        async with http.get(f"{url}/sim/truth", params={"limit": 1_000_000}) as response:
            (run.folder / f"truth-{platform}.json").write_bytes(await response.read())
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch(
        """
        SELECT a.name, o.* FROM outbound_messages o JOIN channel_accounts a USING (workspace_id, account_id)
        ORDER BY o.created_at
        """
    )
    await conn.close()
    lines = [" ".join(f"{name}={value}" for name, value in row.items() if name != "unit") for row in rows]
    (run.folder / "outbox.txt").write_text("\n".join(lines))
