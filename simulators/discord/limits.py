"""Rate limits as Discord documents them (https://docs.discord.com/developers/topics/rate-limits): a window per bucket
and top-level resource, 50 requests a second for a bot, and a ban for 10,000 invalid requests in ten minutes."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests in each window of `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Discord does not publish its buckets; these are what its headers are known to say. The rest share `other`."""

    bot: Rate = Rate(50, 1.0)
    invalid: Rate = Rate(10_000, 600.0)
    identify: Rate = Rate(1000, 24 * 3600.0)
    concurrency: Rate = Rate(1, 5.0)
    socket: Rate = Rate(120, 60.0)
    other: Rate = Rate(10, 10.0)
    routes: tuple[tuple[str, Rate], ...] = (
        ("create_message", Rate(5, 5.0)),
        ("edit_message", Rate(5, 5.0)),
        ("delete_message", Rate(5, 1.0)),
        ("get_messages", Rate(5, 1.0)),
        ("trigger_typing", Rate(5, 5.0)),
        ("create_reaction", Rate(1, 0.25)),
        ("delete_reaction", Rate(1, 0.25)),
        ("create_followup", Rate(5, 2.0)),
    )

    def rate(self, method: str) -> Rate:
        return dict(self.routes).get(method, self.other)


@dataclass(slots=True)
class Window:
    """One counting window. `used` includes the requests that were refused."""

    ends: float
    used: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """retry_after: seconds to wait when refused, 0.0 when the request may pass."""

    limit: int
    remaining: int
    reset_after: float
    retry_after: float


@dataclass(slots=True)
class Counters:
    """Windows by key. `now` is monotonic seconds."""

    windows: dict[str, Window] = field(default_factory=dict)

    def take(self, key: str, rate: Rate, now: float) -> Verdict:
        """Count one request."""
        window = self.windows.get(key)
        if window is None or window.ends <= now:
            window = self.windows[key] = Window(now + rate.seconds)
        window.used += 1
        left = window.ends - now
        return Verdict(rate.count, max(0, rate.count - window.used), left, left if window.used > rate.count else 0.0)

    def used(self, key: str, now: float) -> tuple[int, float]:
        """How many were counted in the present window, and the seconds until it ends."""
        window = self.windows.get(key)
        return (window.used, window.ends - now) if window and window.ends > now else (0, 0.0)


def bucket_hash(seed: int, method: str) -> str:
    """The opaque name that `X-RateLimit-Bucket` gives a route."""
    return hashlib.sha256(f"{seed}:{method}".encode()).hexdigest()[:32]


def limit_headers(bucket: str, verdict: Verdict, now: float) -> dict[str, str]:
    """`now`: Unix seconds."""
    return {
        "X-RateLimit-Limit": str(verdict.limit),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": f"{now + verdict.reset_after:.3f}",
        "X-RateLimit-Reset-After": f"{verdict.reset_after:.3f}",
        "X-RateLimit-Bucket": bucket,
    }
