"""Discord's rate limits as its answers tell them: a bucket for each kind of call and top-level resource, one limit for
the bot, and a ban of the whole address for too many invalid requests.

Source: https://docs.discord.com/developers/topics/rate-limits
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

INVALID_SECONDS = 600.0
INVALID_MOST = 5000  # Discord bans an address at 10,000, and other processes may share ours
_INVALID = (401, 403, 429)
_KEPT = 2000
_MAJOR = re.compile(r"(/channels|/guilds)/\d+|(/webhooks|/interactions)/\d+/[^/]+")


@functools.lru_cache(4096)
def route_of(method: str, path: str) -> tuple[str, str]:
    """The kind of call, and the top-level resource for which it is counted."""
    found = _MAJOR.match(path)
    major, kind = (found.group(), found[1] or found[2]) if found else ("", "")
    rest = re.sub(r"\d{15,}", "*", path[len(major) :].partition("?")[0])
    return f"{method} {kind}{rest}", major


@dataclass(slots=True)
class Limits:
    """One bot's. Times are monotonic seconds."""

    global_until: float = 0.0
    _buckets: dict[str, str] = field(default_factory=dict)
    _left: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)

    def wait(self, method: str, path: str, now: float) -> tuple[float, bool]:
        """Seconds until this call may be made, and whether it is the whole bot that has to wait."""
        if self.global_until > now:
            return self.global_until - now, True
        left, until = self._left.get(self._key(method, path), (1, 0.0))
        return (until - now, False) if left <= 0 and until > now else (0.0, False)

    def leaves(self, method: str, path: str, now: float) -> None:
        """A call is about to be made: those that run beside it must not count on its place."""
        key = self._key(method, path)
        left, until = self._left.get(key, (0, 0.0))
        if until > now:
            self._left[key] = (left - 1, until)

    def learn(self, method: str, path: str, headers: Mapping[str, str], now: float) -> None:
        """Reads the headers of an answer that was not a 429."""
        bucket, remaining = headers.get("X-RateLimit-Bucket"), _number(headers.get("X-RateLimit-Remaining"))
        after = _number(headers.get("X-RateLimit-Reset-After"))
        if bucket is None or remaining is None or after is None:
            return
        route, major = route_of(method, path)
        self._buckets[route] = bucket
        key = (bucket, major)
        before, until = self._left.get(key, (0, 0.0))
        # Answers overtake one another; in one window the lowest count is the true one.
        left = min(int(remaining), before) if until > now else int(remaining)
        self._left[key] = (left, now + after)
        if len(self._left) > _KEPT:
            self._left = {key: value for key, value in self._left.items() if value[1] > now}

    def refused(self, method: str, path: str, wait: float, now: float, *, whole: bool) -> None:
        """A 429: this bucket, or the `whole` bot, has to wait."""
        if whole:
            self.global_until = max(self.global_until, now + wait)
        else:
            self._left[self._key(method, path)] = (0, now + wait)

    def _key(self, method: str, path: str) -> tuple[str, str]:
        route, major = route_of(method, path)
        return self._buckets.get(route, route), major


@dataclass(slots=True)
class Invalid:
    """Invalid requests of this process to one API, which Discord counts by address, whoever makes them."""

    _times: deque[float] = field(default_factory=deque)

    def note(self, status: int, scope: str, now: float) -> None:
        """A 429 that is shared between everybody's bots is not held against us."""
        if status in _INVALID and scope != "shared":
            self._times.append(now)

    def wait(self, now: float) -> float:
        """Seconds for which nothing may be asked any more, 0.0 normally."""
        while self._times and self._times[0] < now - INVALID_SECONDS:
            self._times.popleft()
        return self._times[0] + INVALID_SECONDS - now if len(self._times) >= INVALID_MOST else 0.0


@functools.cache
def invalid_of(base_url: str) -> Invalid:
    """The process's count for one API."""
    return Invalid()


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
