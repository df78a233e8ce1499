"""GCRA, the leaky bucket that keeps one timestamp per key, in one Lua script: exact over all processes.

Source of the algorithm: the Generic Cell Rate Algorithm of ITU-T I.371, as in Redis-cell. When Redis is away a
bucket in this process takes over with the same numbers: limits become per process, and are never switched off.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from kernel import keys

_SCRIPT = """
local now = redis.call('TIME')
local t = now[1] + now[2] / 1000000
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or t), t)
local wait = tat + interval * cost - interval * burst - t
if wait > 0.0000005 then return tostring(wait) end
tat = tat + interval * cost
redis.call('SET', KEYS[1], string.format('%.6f', tat), 'PX', math.max(1, math.ceil((tat - t) * 1000)))
return '0'
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` per `seconds`, of which `burst` may come at once."""

    count: float
    seconds: float
    burst: int

    @property
    def interval(self) -> float:
        return self.seconds / self.count


def gcra(tat: float, now: float, rate: Rate, cost: int) -> tuple[float, float]:
    """The new theoretical arrival time and the seconds to wait (0: let through, otherwise tat is unchanged)."""
    start = max(tat, now)
    wait = start + rate.interval * cost - rate.interval * rate.burst - now
    return (tat, wait) if wait > 5e-7 else (start + rate.interval * cost, 0.0)


class RateLimiter:
    """Asks Redis; falls back to this process's own buckets while Redis does not answer."""

    def __init__(self, redis: Any, *, remembered: int = 100_000) -> None:
        self._script = redis.register_script(_SCRIPT)
        self._local: OrderedDict[str, float] = OrderedDict()
        self._remembered = remembered

    async def take(self, scope: str, subject: str, rate: Rate, cost: int = 1) -> float:
        """Seconds to wait before trying again; 0 when the call may go ahead (and is counted)."""
        key = keys.limit(scope, subject)
        try:
            return float(await self._script(keys=[key], args=[rate.interval, rate.burst, cost]))
        except (RedisError, OSError, TimeoutError):
            return self._take_here(key, rate, cost)

    def _take_here(self, key: str, rate: Rate, cost: int) -> float:
        self._local[key], wait = gcra(self._local.get(key, 0.0), time.monotonic(), rate, cost)
        self._local.move_to_end(key)
        if len(self._local) > self._remembered:
            self._local.popitem(last=False)
        return wait
