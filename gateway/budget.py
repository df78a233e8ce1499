"""What may be sent, over all processes: buckets per bot, chat and workspace, kept in Redis, asked for in batches.

The buckets are GCRA (`kernel.ratelimit`). A message takes one of each or none; a pause that a platform asked for
stands in their way. When Redis is away the buckets of this process take over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError

from kernel import keys
from kernel.batcher import NaturalBatcher
from kernel.platform import Pace
from kernel.ratelimit import Rate, gcra
from kernel.types import Account, Channel, Json

_WORKSPACE = Rate(500, 1, 1000)  # messages a second by all bots of a workspace
_MOST = 50_000  # buckets remembered here while Redis is away

# KEYS: for each message its pauses and buckets, in order. ARGV[1]: JSON of, for each message, the number of pauses, and
# of each bucket interval, burst and share (what part of the burst this message may use). Answers seconds to wait.
_SCRIPT = """
local now = redis.call('TIME')
local t = now[1] + now[2] / 1000000
local answers, at = {}, 0
for n, message in ipairs(cjson.decode(ARGV[1])) do
    local wait, moved = 0, {}
    for _ = 1, message.pauses do
        at = at + 1
        local left = redis.call('PTTL', KEYS[at])
        if left > 0 then wait = math.max(wait, left / 1000) end
    end
    for _, bucket in ipairs(message.buckets) do
        at = at + 1
        local interval, burst, share = bucket[1], bucket[2], bucket[3]
        local tat = math.max(tonumber(redis.call('GET', KEYS[at]) or t), t)
        wait = math.max(wait, tat + interval - interval * burst * share - t)
        moved[#moved + 1] = {KEYS[at], tat + interval}
    end
    if wait <= 0.0000005 then
        wait = 0
        for _, move in ipairs(moved) do
            local ttl = math.max(1, math.ceil((move[2] - t) * 1000))
            redis.call('SET', move[1], string.format('%.6f', move[2]), 'PX', ttl)
        end
    end
    answers[n] = tostring(wait)
end
return answers
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """One message: `buckets` are (key, rate) of bot, chat, workspace; `share` 1.0, or less for what may be left out."""

    pauses: Sequence[str]
    buckets: Sequence[tuple[str, Rate]]
    share: float


def asking(account: Account, pace: Pace, chat: str, share: float) -> Ask:
    """What a message to `chat` asks for. `account.settings["pace"]` overrides "bot", "chat" and "workspace"."""
    own: Json = account.settings.get("pace") or {}
    bot, bot_burst = _own(own.get("bot"), pace.bot, pace.bot_burst)
    place, place_burst = _own(own.get("chat"), pace.chat, pace.chat_burst)
    shared, shared_burst = _own(own.get("workspace"), _WORKSPACE.count, _WORKSPACE.burst)
    name = f"{account.account_id}:{chat}"
    return Ask(
        (keys.pace("pause", account.account_id), keys.pace("pause", name)),
        (
            (keys.pace("bot", account.account_id), Rate(bot, 1, bot_burst)),
            (keys.pace("chat", name), Rate(place, 1, place_burst)),
            (keys.pace("workspace", account.workspace_id), Rate(shared, 1, shared_burst)),
        ),
        share,
    )


def _own(wanted: float | None, usual: float, burst: int) -> tuple[float, int]:
    return (usual, burst) if wanted is None else (wanted, max(1, int(wanted)))


def chat_of(address: Json) -> str:
    """The chat of an address, whatever its platform calls it."""
    return str(address.get("chat_id") or address.get("channel") or address.get("channel_id") or address.get("user_id"))


class Budget:
    """Ask before each send. Raises nothing."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._asks: NaturalBatcher[Ask, float] = NaturalBatcher(self._take, splits=lambda _: False, limit=128)
        self._here: dict[str, float] = {}
        self._paused: dict[str, float] = {}

    async def take(self, account: Account, channel: Channel, address: Json) -> float:
        """Seconds to wait before asking again; 0 when the message may leave (and is counted)."""
        if channel.pace is None:
            return 0.0
        return await self._asks.submit(asking(account, channel.pace(address), chat_of(address), 1.0))

    async def spare(self, account: Account, channel: Channel, address: Json) -> bool:
        """Whether there is room for something that may be left out: it leaves half of every burst to answers."""
        if channel.pace is None:
            return True
        return await self._asks.submit(asking(account, channel.pace(address), chat_of(address), 0.5)) == 0

    async def pause(self, account: Account, address: Json | None, seconds: float) -> None:
        """A platform asks to wait: in one chat, or (`address` None) the whole bot."""
        subject = account.account_id if address is None else f"{account.account_id}:{chat_of(address)}"
        key = keys.pace("pause", subject)
        self._paused[key] = time.monotonic() + seconds
        try:
            await self._redis.set(key, b"1", px=max(1, int(seconds * 1000)))
        except (RedisError, OSError, TimeoutError):
            return

    async def close(self) -> None:
        await self._asks.close()

    async def _take(self, asks: Sequence[Ask]) -> list[float]:
        named = [key for ask in asks for key in (*ask.pauses, *(bucket for bucket, _ in ask.buckets))]
        wanted = [
            {"pauses": len(a.pauses), "buckets": [(r.interval, r.burst, a.share) for _, r in a.buckets]} for a in asks
        ]
        try:
            return [float(wait) for wait in await self._script(keys=named, args=[orjson.dumps(wanted)])]
        except (RedisError, OSError, TimeoutError):
            return [self._take_here(ask) for ask in asks]

    def _take_here(self, ask: Ask) -> float:
        now = time.monotonic()
        wait = max((self._paused.get(key, 0.0) - now for key in ask.pauses), default=0.0)
        moved: dict[str, float] = {}
        for key, rate in ask.buckets:
            allowed = Rate(rate.count, rate.seconds, max(1, int(rate.burst * ask.share)))
            moved[key], needed = gcra(self._here.get(key, 0.0), now, allowed, 1)
            wait = max(wait, needed)
        if wait > 0:
            return wait
        if len(self._here) > _MOST:
            self._here.clear()
        self._here.update(moved)
        return 0.0
