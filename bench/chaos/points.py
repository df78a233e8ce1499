"""Kill points: a gateway is killed at a chosen moment of a chosen channel, seen from the wire, and what was hit is
counted by what wire and store say, not by what was meant.

K1  the platform has delivered, and has no acknowledgement
K2  acknowledged, and the turn is not over
K3  the answer is made, and not sent
K4  the platform has the answer, and the gateway does not know it
K5  between two messages of an answer
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from bench.chaos.ledger import WORD
from bench.chaos.relay import WHOLE, Exchange
from bench.chaos.stand import Run

POINTS = ("K1", "K2", "K3", "K4", "K5")
ONE_UNIT = {("web", "K5"), ("rest", "K5")}  # there an answer is one message
CHANNELS = ("telegram", "slack-http", "slack-socket", "discord", "discord-http", "web", "rest")
EVERYWHERE = tuple((c, p) for c in CHANNELS for p in POINTS if (c, p) not in ONE_UNIT)
ON_SOCKETS = tuple((c, p) for c in ("slack-socket", "discord") for p in POINTS)
_MESSAGES = re.compile(r"^/api/v10/channels/\d+/messages$")
_AFTER_ACK = (0.0, 0.0, 0.001, 0.002)  # seconds; a turn that echoes is over in some milliseconds
_BY_BOT = re.compile(rb'"bot_id": ?"|"bot": ?true')


@dataclass
class Aim:
    """The points of which any one is to be hit next."""

    wanted: frozenset[tuple[str, str]]
    struck: asyncio.Event = field(default_factory=asyncio.Event)


class Points:
    """Watches the wire of a run. `hits` counts what was hit, by channel and point; `broken` what must not be: words
    that were acknowledged and are nowhere in the store."""

    def __init__(self, seed: random.Random) -> None:
        self.run: Run | None = None
        self.accounts: dict[str, str] = {}
        self.hits: Counter[tuple[str, str]] = Counter()
        self.broken: list[str] = []
        self._seed = seed
        self._aim: Aim | None = None
        self._tried: Counter[tuple[str, str]] = Counter()
        self._accepted: set[str] = set()
        self._envelopes: dict[bytes, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def strike(self, points: Sequence[tuple[str, str]], patience: float) -> bool:
        """Waits for the first chance to hit one of those `points` that were hit and tried least; False when none came
        in `patience` seconds."""
        effort = {one: 2 * self.hits[one] + self._tried[one] for one in points}
        wanted = {one for one in points if effort[one] == min(effort.values())}
        aim = self._aim = Aim(frozenset(wanted))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await aim.struck.wait()
        self._aim = None
        if not aim.struck.is_set():
            self._tried.update(wanted)  # their moment does not come often: others must not wait for them
        await asyncio.gather(*self._tasks)
        return aim.struck.is_set()

    def _aimed(self, channel: str, *points: str) -> str:
        """The point that is aimed at in this channel, if it is one of these; it is struck with that."""
        aim = self._aim
        if aim is None or aim.struck.is_set():
            return ""
        found = [point for point in points if (channel, point) in aim.wanted]
        if not found:
            return ""
        point = self._seed.choice(found)
        self._tried[channel, point] += 1
        aim.struck.set()
        return point

    async def _slay(self, gateway: str) -> None:
        assert self.run is not None
        await self.run.keepers[gateway].slay()

    def _soon(self, gateway: str, delay: float, channel: str, point: str, word: str = "") -> None:
        """Kills after a moment, and looks what that has hit."""
        task = asyncio.create_task(self._later(gateway, delay, channel, point, word))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, gateway: str, delay: float, channel: str, point: str, word: str) -> None:
        await asyncio.sleep(delay)
        await self._slay(gateway)
        if word:
            point = await self._found(word, acknowledged=point == "K2")
        if point:
            self.hits[channel, point] += 1

    async def _found(self, word: str, *, acknowledged: bool) -> str:
        """Which point a word has come to, by the store. Empty when it is answered, or nobody can say."""
        assert self.run is not None
        try:
            conn = await asyncpg.connect(self.run.admin_url, timeout=2)
            row = await conn.fetchrow(
                """
                SELECT u.status, (SELECT count(*) FROM outbound_messages o WHERE o.turn_id = u.turn_id
                    AND o.state IN ('pending', 'sending')) AS unsent
                FROM inbound_updates u WHERE u.received_at > now() - interval '1 minute'
                    AND position(convert_to($1, 'UTF8') IN u.payload) > 0 LIMIT 1
                """,
                word,
            )
            await conn.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return ""
        if row is None:
            if acknowledged:
                self.broken.append(word)
            return "" if acknowledged else "K1"
        if row["status"] in ("pending", "taken"):
            return "K2"
        return "K3" if row["unsent"] and not any(one.startswith(word) for one in self._accepted) else ""

    async def asked(self, exchange: Exchange) -> bool:
        channel, word = self._channel(exchange), _asked(exchange.body) if not exchange.outward else _word(exchange.body)
        exchange.tag = channel
        if not channel or not word:
            return True
        if not exchange.outward:
            if self._aimed(channel, "K1"):
                exchange.tag = "cut"
                self._soon(exchange.gateway, self._seed.uniform(0, 0.006), channel, "K1")
            return True
        later_unit = "p" in word and not word.endswith("p0")
        point = self._aimed(channel, "K3", "K4", *(["K5"] if later_unit else []))
        if point in ("K3", "K5"):
            await self._slay(exchange.gateway)
            self.hits[channel, point] += 1
            return False
        if point == "K4":
            exchange.tag = "lost answer"
        return True

    async def answered(self, exchange: Exchange) -> int:
        channel, word = exchange.tag, _word(exchange.body) if exchange.outward else _asked(exchange.body)
        if channel == "cut":
            await asyncio.gather(*self._tasks)
            return 0
        if channel == "lost answer":
            await self._slay(exchange.gateway)
            self.hits[self._channel(exchange), "K4"] += 1
            return 0
        if not channel or not word or exchange.status >= 300:
            return WHOLE
        if exchange.outward:
            self._accepted.update(WORD.findall(exchange.body.decode(errors="replace")))
            return WHOLE
        if channel == "rest" and exchange.status == 200:
            return await self._handed(exchange, channel, len(exchange.answer), "K3", "K4")
        if self._aimed(channel, "K2"):
            self._soon(exchange.gateway, self._seed.choice(_AFTER_ACK), channel, "K2", word)
        return WHOLE

    async def _handed(self, exchange: Exchange, channel: str, size: int, *points: str) -> int:
        """An answer that the reader fetches: kept back, cut in the middle, or handed over whole."""
        point = self._aimed(channel, *points)
        if not point:
            return WHOLE
        if point == "K5":
            self._soon(exchange.gateway, 0.0, channel, point)
            return WHOLE
        await self._slay(exchange.gateway)
        self.hits[channel, point] += 1
        return 0 if point == "K3" else size // 2

    async def passing(self, exchange: Exchange, piece: bytes, back: bool) -> int:
        if not exchange.outward:
            seen = back and exchange.tag == "web" and b'"role":"assistant"' in piece
            return await self._handed(exchange, "web", len(piece), "K3", "K4") if seen else WHOLE
        if exchange.tag == "cut":
            return 0
        if exchange.path.startswith("/link/"):
            return self._envelope(exchange, piece, back)
        word = _asked(piece) if back and b'"MESSAGE_CREATE"' in piece else ""
        if word and (point := self._aimed("discord", "K1", "K2")):
            delay = self._seed.uniform(0, 0.003) if point == "K1" else self._seed.uniform(0.003, 0.015)
            self._soon(exchange.gateway, delay, "discord", "K1", word)
        return WHOLE

    def _envelope(self, exchange: Exchange, piece: bytes, back: bool) -> int:
        found = re.search(rb'"envelope_id": ?"([\w-]+)"', piece)
        if not found:
            return WHOLE
        if back:
            if word := _asked(piece):
                self._envelopes[found[1]] = word
                if self._aimed("slack-socket", "K1"):
                    exchange.tag = "cut"
                    self._soon(exchange.gateway, self._seed.uniform(0, 0.006), "slack-socket", "K1")
        elif (word := self._envelopes.pop(found[1], "")) and self._aimed("slack-socket", "K2"):
            self._soon(exchange.gateway, self._seed.choice(_AFTER_ACK), "slack-socket", "K2", word)
        return WHOLE

    def _channel(self, exchange: Exchange) -> str:
        """Whose message or answer this is, empty for everything else."""
        path = exchange.path
        if not exchange.outward:
            if path.startswith("/api/v1/messages"):
                return "rest"
            account = path.split("/")[3] if path.count("/") >= 3 else ""
            return next((name for name, known in self.accounts.items() if known == account), "")
        if path.startswith("/bot"):
            return "telegram" if path.endswith("/sendMessage") else ""
        if path.startswith("/api/chat."):
            assert self.run is not None
            return self.run.reached(exchange.head)
        if path.startswith("/api/v10/webhooks/"):
            return "discord-http"
        return "discord" if _MESSAGES.match(path) and exchange.method == "POST" else ""


def _word(data: bytes) -> str:
    found = WORD.search(data.decode(errors="replace"))
    return found[0] if found else ""


def _asked(data: bytes) -> str:
    """The word that a person says. Platforms tell a bot of its own messages, too."""
    return "" if _BY_BOT.search(data) else _word(data)


def table(hits: Counter[tuple[str, str]]) -> list[str]:
    """How often each point was hit, a line for each channel."""
    lines = ["kill points   " + "".join(f"{point:>6}" for point in POINTS)]
    for channel in CHANNELS:
        cells = ["-" if (channel, point) in ONE_UNIT else str(hits[channel, point]) for point in POINTS]
        lines.append(f"{channel:14}" + "".join(f"{cell:>6}" for cell in cells))
    return lines
