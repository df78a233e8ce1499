"""How fast an endpoint, and a workspace altogether, may be sent to: token buckets in Redis, shared by all processes.

Buckets are GCRA (`kernel.ratelimit`) and hold half a second's worth, so a receiver that counts by the second sees
little more than it asked for. They are asked once for each claim, for everything in it. What they answered is
remembered, so the next claim takes no more than there are tokens for. When Redis is away the remembered buckets go on
by themselves: limits become those of one process, and deliveries do not stop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from redis.exceptions import RedisError

from kernel import keys
from kernel.ratelimit import Rate
from webhooks.claims import Claim

_PATIENCE = 0.25  # seconds for an answer; a claim waits for it
_AWAY = 1.0  # seconds until a Redis that did not answer is asked again

# KEYS: buckets, in the order of ARGV[1]: JSON of, for each group of deliveries, how many are wanted and of each of its
# buckets interval and burst. Answers how many each group is granted, then by how many seconds each bucket is ahead.
_SCRIPT = """
local now = redis.call('TIME')
local t = now[1] + now[2] / 1000000
local granted, ahead, at = {}, {}, 0
for n, group in ipairs(cjson.decode(ARGV[1])) do
    local most, first = group[1], at
    for _, bucket in ipairs(group[2]) do
        at = at + 1
        local tat = math.max(tonumber(redis.call('GET', KEYS[at]) or t), t)
        ahead[at] = tat - t
        most = math.min(most, math.max(0, math.floor((bucket[1] * bucket[2] - ahead[at]) / bucket[1] + 0.000001)))
    end
    for m, bucket in ipairs(group[2]) do
        local left = ahead[first + m] + bucket[1] * most
        ahead[first + m] = left
        if most > 0 then
            redis.call('SET', KEYS[first + m], string.format('%.6f', t + left), 'PX', math.ceil(left * 1000) + 1)
        end
    end
    granted[n] = most
end
for n, left in ipairs(ahead) do ahead[n] = string.format('%.6f', left) end
return {granted, ahead}
"""


class Group(NamedTuple):
    """Deliveries that draw from the same buckets: `wanted` of them, from each of `buckets` (subject to rate)."""

    wanted: int
    buckets: Mapping[str, Rate]


def spread(count: float, seconds: float) -> Rate:
    """`count` per `seconds`, of which half a second's worth may come at once."""
    return Rate(count, seconds, max(1, math.ceil(count / seconds / 2)))


def tokens(ahead: float, rate: Rate) -> int:
    """How many a bucket holds that is so many seconds ahead of now."""
    return max(0, math.floor((rate.interval * rate.burst - max(0.0, ahead)) / rate.interval + 1e-6))


class Buckets:
    """Ask `rooms` before a claim and `admit` after it. Raises nothing. `per_workspace` limits each workspace."""

    def __init__(
        self, redis: Any = None, per_workspace: Rate | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_workspace = per_workspace
        self._script = None if redis is None else redis.register_script(_SCRIPT)
        self._clock = clock
        self._asked_again_at = 0.0
        self._tat: dict[str, tuple[float, Rate]] = {}  # of buckets that are not full

    @property
    def per_workspace(self) -> int | None:
        """How many of a workspace whose bucket is full may go at once; None for any number."""
        return self._per_workspace.burst if self._per_workspace else None

    def rooms(self) -> dict[str, int]:
        """How many tokens are left, for each subject whose bucket is not full."""
        now = self._clock()
        self._tat = {subject: held for subject, held in self._tat.items() if held[0] > now}
        return {subject: tokens(tat - now, rate) for subject, (tat, rate) in self._tat.items()}

    async def admit(self, found: Sequence[Claim]) -> tuple[Sequence[Claim], Sequence[Claim]]:
        """What may be sent now, which is counted, and what may not."""
        if not self._per_workspace and not any(claim.terms.rate_count for claim in found):
            return found, ()
        by_endpoint: dict[str, list[Claim]] = {}
        for claim in found:
            by_endpoint.setdefault(claim.webhook_id, []).append(claim)
        groups = [Group(len(claims), self._buckets(claims[0])) for claims in by_endpoint.values()]
        granted = list(zip(by_endpoint.values(), await self.grant(groups), strict=True))
        return (
            [claim for claims, count in granted for claim in claims[:count]],
            [claim for claims, count in granted for claim in claims[count:]],
        )

    def _buckets(self, claim: Claim) -> dict[str, Rate]:
        buckets = {}
        if claim.terms.rate_count:
            buckets[claim.webhook_id] = spread(claim.terms.rate_count, claim.terms.rate_seconds)
        if self._per_workspace:
            buckets[claim.workspace_id] = self._per_workspace
        return buckets

    async def grant(self, groups: Sequence[Group]) -> list[int]:
        """How many of each group may go; they are counted."""
        answer = await self._ask(groups) if self._script and self._clock() >= self._asked_again_at else None
        if answer is None:
            return [self._grant_here(group) for group in groups]
        granted, ahead = answer
        now, left = self._clock(), iter(ahead)
        for _, buckets in groups:
            for subject, rate in buckets.items():
                self._tat[subject] = (now + float(next(left)), rate)
        return granted

    async def _ask(self, groups: Sequence[Group]) -> tuple[list[int], list[bytes]] | None:
        assert self._script is not None
        wanted = [(n, [(rate.interval, rate.burst) for rate in buckets.values()]) for n, buckets in groups]
        named = [keys.limit("delivery", subject) for _, buckets in groups for subject in buckets]
        try:
            async with asyncio.timeout(_PATIENCE):
                granted, ahead = await self._script(keys=named, args=[orjson.dumps(wanted)])
        except (RedisError, OSError, TimeoutError):
            self._asked_again_at = self._clock() + _AWAY
            return None
        return granted, ahead

    def _grant_here(self, group: Group) -> int:
        now = self._clock()
        tats = {subject: max(now, self._tat.get(subject, (0.0,))[0]) for subject in group.buckets}
        most = min([group.wanted, *(tokens(tats[subject] - now, rate) for subject, rate in group.buckets.items())])
        for subject, rate in group.buckets.items():
            self._tat[subject] = (tats[subject] + rate.interval * most, rate)
        return most
