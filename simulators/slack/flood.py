"""Slack's rate limits: a tier for each method and workspace, and about one post a second in a channel.

https://docs.slack.dev/apis/web-api/rate-limits
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` on average, with up to `burst` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """Tiers 1 to 4 (1, 20, 50 and 100 calls a minute, with bursts), one post a second in a channel. Tier 5 stands for
    methods such as auth.test, with hundreds of calls a minute."""

    tiers: tuple[Rate, ...] = (
        Rate(1 / 60, 10),
        Rate(20 / 60, 20),
        Rate(50 / 60, 50),
        Rate(100 / 60, 100),
        Rate(600 / 60, 600),
    )
    channel: Rate = Rate(1, 4)


@dataclass(slots=True)
class FloodControl:
    limits: FloodLimits
    _full_at: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def refuse(self, method: str, tier: int, team: str, channel: str, now: float) -> int:
        """Seconds the caller must wait, or 0 when the call may pass (it is then counted). `now`: monotonic seconds.

        tier: 1 to 5, or 0 for posts, which are limited by their `channel`.
        """
        key = (team, channel, "post") if tier == 0 else (team, method, "tier")
        rate = self.limits.channel if tier == 0 else self.limits.tiers[tier - 1]
        full_at = max(self._full_at.get(key, now), now) + 1 / rate.per_second
        # An epsilon, because n additions of 1/rate are not exactly n/rate.
        if (wait := full_at - now - rate.burst / rate.per_second - 1e-9) > 0:
            return max(1, math.ceil(wait))
        self._full_at[key] = full_at
        return 0

    def clear(self) -> None:
        self._full_at.clear()
