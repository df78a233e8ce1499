"""Whole turns over a simulated Bot API in this process: a message in, the reply's `sendMessage` out (G5, G7, G8).

The gateway echoes (an account's setting) and does everything else as always: the update committed before the 200, the
turn, its messages and events, the reply's row before and after it is sent. E is a bare aiohttp bot that stores
nothing. Every user has one message in flight and writes the next one when it is acknowledged and its reply has come.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from bench.goals import Outcome, above, below, judge, percentile
from bench.intake import HEADERS, Rounds, update
from bench.load import Answers, Cost, connect, post
from bench.process import Program, running
from bench.stores import Stores

_TEXT = "When do you open on Saturday, and may I bring my dog along to the workshop?"
_FIRST_CHAT = 10_000_000
_CHAT = re.compile(rb'"chat_id": ?(\d+)')
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_SENT = b'{"ok":true,"result":{"message_id":1,"date":1790000000,"chat":{"id":1,"type":"private"}}}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_SENT), _SENT)


class BotApi(asyncio.Protocol):
    """One connection of a bot to the Bot API. `heard(chat_id)` is called for each `sendMessage`."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (head := self._held.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._held, 0, head)
            whole = head + 4 + (int(found[1]) if found else 0)
            if len(self._held) < whole:
                return
            request, self._held = self._held[:whole], self._held[whole:]
            self._transport.write(_ANSWER)
            chat = _CHAT.search(request, head)
            if chat and b"/sendMessage " in request[:head]:
                self._heard(int(chat[1]))


class Crowd:
    """The users of one bot. `url` is where the bot finds its Bot API."""

    def __init__(self) -> None:
        self.url = ""
        self._waiting: dict[int, Callable[[], None]] = {}
        self._number = 1_000_000_000

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def listen(self, chat_id: int, reply: Callable[[], None]) -> None:
        """Calls `reply` for each message to this chat."""
        self._waiting[chat_id] = reply

    def heard(self, chat_id: int) -> None:
        reply = self._waiting.get(chat_id)
        if reply:
            reply()

    async def talk(self, bot: Program, path: str, *, users: int, seconds: float, rest: float = 0.0) -> Cost:
        """`users` talk for `seconds`, each resting `rest` seconds between turns; the first fifth is not counted."""
        window = Cost(0, 0.0, 0.0, [])
        people = [_User(self, _FIRST_CHAT + n, bot.url + path, window, rest) for n in range(users)]
        for user in people:
            await user.arrive(bot.url)
            self.listen(user.chat_id, user.replied)
        for user in people:
            user.say()
        await asyncio.sleep(seconds / 5)
        window.latencies.clear()
        cpu, begun = bot.cpu(), time.perf_counter()
        await asyncio.sleep(seconds)
        window.wall, window.cpu, window.count = time.perf_counter() - begun, bot.cpu() - cpu, len(window.latencies)
        window.latencies = window.latencies[: window.count]
        await asyncio.gather(*(user.leave() for user in people))
        self._waiting.clear()
        return window


class _User:
    """Somebody who talks to the bot, over a webhook connection of their own."""

    def __init__(self, crowd: Crowd, chat_id: int, target: str, window: Cost, rest: float) -> None:
        self.chat_id = chat_id
        self._crowd = crowd
        self._target = target
        self._window = window
        self._rest = rest
        self._missing = 0  # of the acknowledgement and the reply
        self._since = 0.0
        self._leaving: asyncio.Event | None = None
        self._connection: Answers

    async def arrive(self, url: str) -> None:
        (self._connection,) = await connect(url, self._acknowledged, 1)

    def say(self) -> None:
        if self._leaving:
            self._leaving.set()
            return
        body = update(self._crowd.next_number(), self.chat_id, _TEXT)
        self._missing = 2
        self._since = time.perf_counter()
        self._connection.send(post(self._target, body, HEADERS), self._since)

    def _acknowledged(self, status: int, _: Answers) -> None:
        self._window.failures += status != 200
        self._came()

    def replied(self) -> None:
        self._window.latencies.append(time.perf_counter() - self._since)
        self._came()

    def _came(self) -> None:
        self._missing -= 1
        if self._missing > 0:
            return
        if self._rest and not self._leaving:
            asyncio.get_running_loop().call_later(self._rest, self.say)
        else:
            self.say()

    async def leave(self) -> None:
        """After the turn under way."""
        self._leaving = asyncio.Event()
        await asyncio.wait_for(self._leaving.wait(), 30)
        self._connection.since = 0.0
        self._connection.transport.close()


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """A crowd with its Bot API on a port of its own."""
    made = Crowd()
    server = await asyncio.get_running_loop().create_server(lambda: BotApi(made.heard), "127.0.0.1", 0, backlog=1024)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


async def measure(stores: Stores, *, rounds: int = 3, seconds: float = 2.5) -> list[Outcome]:
    account = await stores.telegram_account(await stores.workspace(), answer="echo")
    path, seen = f"/channels/telegram/{account}", Rounds()
    async with AsyncExitStack() as stack:
        people = await stack.enter_async_context(crowd())
        where = {"TELEGRAM_API_BASE_URL": people.url}
        bare = await stack.enter_async_context(running("bench.baselines", "echo", environment=where))
        ours = await stack.enter_async_context(
            running("bench.server", "whole", environment=stores.environment(**where))
        )
        await people.talk(ours, path, users=256, seconds=1)  # makes the conversations
        for _ in range(rounds):
            seen.add("E", await people.talk(bare, "/hook", users=100, seconds=seconds / 2))
            seen.add("turns", await people.talk(ours, path, users=100, seconds=seconds))
            seen.add("1", await people.talk(ours, path, users=1, seconds=seconds / 2))
            seen.add("256", await people.talk(ours, path, users=256, seconds=seconds))
            seen.add("idle E", await people.talk(bare, "/hook", users=1, seconds=seconds / 2, rest=0.01))
            seen.add("idle", await people.talk(ours, path, users=1, seconds=seconds, rest=0.02))
    return outcomes(seen)


def outcomes(seen: Rounds) -> list[Outcome]:
    """The three goals of a run."""
    cost = 1 / seen.by_cpu("turns", "E")
    many = seen.by_rate("256", "1")
    idle, base = seen.latencies("idle"), seen.latencies("idle E")
    p50, p99 = percentile(idle, 0.5) * 1000, percentile(idle, 0.99) * 1000
    return [
        Outcome(
            "G5", "durable turn, 100 users; vs E", seen.show("E"), seen.show("turns"), "≤ 2.5 × CPU", "≤ 1.5 × CPU",
            below(cost, 2.5, 1.5), cost, seen.by_rate("turns", "E"), note="by CPU: the gateway's for a turn over E's",
        ),
        Outcome(
            "G7", "turns/s with 256 in flight; vs 1", f"{seen.rate('1'):,.0f}/s", f"{seen.rate('256'):,.0f}/s",
            "≥ 1.0", "≥ 1.5", above(many, 1.0, 1.5), 1 / seen.ratio("256", "1", lambda c: c.micros), many,
            note="judged by rate",
        ),
        Outcome(
            "G8", "idle: webhook in to reply out",
            f"E: p50 {percentile(base, 0.5) * 1000:.1f}, p99 {percentile(base, 0.99) * 1000:.1f} ms",
            f"p50 {p50:.1f}, p99 {p99:.1f} ms", "p50 ≤ 10 ms", "p50 ≤ 3, p99 ≤ 15 ms",
            judge(below(p50, 10, 3), "ambition" if p99 <= 15 else "floor met"),
        ),
    ]  # fmt: skip
