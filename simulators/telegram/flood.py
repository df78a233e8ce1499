"""Flood control: the limits Telegram's FAQ documents for bots, as generic cell rate limits (one float per key)."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` on average, with up to `burst` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """About 30 messages a second for a bot, one a second in a chat, 20 a minute in a group."""

    bot: Rate = Rate(30, 30)
    chat: Rate = Rate(1, 3)
    group: Rate = Rate(20 / 60, 20)


@dataclass(slots=True)
class FloodControl:
    limits: FloodLimits
    _full_at: dict[tuple[int, int, str], float] = field(default_factory=dict)

    def refuse(self, bot: int, chat: int, now: float) -> int:
        """Seconds the caller must wait, or 0 when the message may pass (it is then counted). `now`: monotonic s."""
        rates = [((bot, 0, "bot"), self.limits.bot), ((bot, chat, "chat"), self.limits.chat)]
        if chat < 0:
            rates.append(((bot, chat, "group"), self.limits.group))
        waits = [self._wait(key, rate, now) for key, rate in rates]
        if (worst := max(waits)) > 0:
            return max(1, math.ceil(worst))
        for key, rate in rates:
            self._full_at[key] = max(self._full_at.get(key, now), now) + 1 / rate.per_second
        return 0

    def _wait(self, key: tuple[int, int, str], rate: Rate, now: float) -> float:
        # An epsilon, because n additions of 1/rate are not exactly n/rate.
        return max(self._full_at.get(key, now), now) + 1 / rate.per_second - now - rate.burst / rate.per_second - 1e-9

    def clear(self) -> None:
        self._full_at.clear()
