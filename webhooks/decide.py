"""What a try's outcome means for its delivery. Pure: time and randomness come in as arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from kernel.backoff import jittered
from webhooks.transport import Outcome

# Seconds to wait after each failed try: ten tries over 75.6 hours (Standard Webhooks, "Retry schedule").
SCHEDULE = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_ATTEMPTS = len(SCHEDULE) + 1
LONGEST_WAIT = 86_400.0
# An endpoint that has enough (429) and does not say for how long is left alone for this many seconds.
BREATH = 5.0

# Faults of the registration that time does not heal: two tries tell.
_CONFIG_FAULTS = frozenset({"blocked_address", "invalid_url"})
_CONFIG_TRIES = 2
# Nothing is left to send.
_HOPELESS = frozenset({"event_gone"})
_ASKS_TO_WAIT = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Delivered:
    """`disable` names why the endpoint has to go all the same, or is ''."""

    disable: str = ""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The next try is due at this epoch second."""

    at: float


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No more tries: they are used up, or (`aborted`) the receiver asked for no more of this delivery."""

    aborted: bool = False


@dataclass(frozen=True, slots=True)
class DisableEndpoint:
    """The receiver wants no more: this delivery ends, and the endpoint with it."""

    reason: str


Decision = Delivered | RetryAt | Exhausted | DisableEndpoint


def decide(
    attempt: int, outcome: Outcome, now: float, rand: float, schedule: Sequence[float] | None = None
) -> Decision:
    """`attempt` counts from 1, `now` is epoch seconds, `rand` is in [0, 1). No try comes earlier than asked.

    `schedule` holds the seconds to wait after each failed try; None is SCHEDULE, an empty one means a single try. A
    receiver may answer with the header `webhook-delivery`: `disable` ends the endpoint, `abort-message` this delivery.
    """
    waits = SCHEDULE if schedule is None else schedule
    wish = outcome.headers.get("webhook-delivery", "")
    if wish:
        wish = wish.strip().lower()
    if outcome.ok:
        return Delivered("by receiver" if wish == "disable" else "")
    if outcome.status == 410:
        return DisableEndpoint("gone")
    if wish == "disable":
        return DisableEndpoint("by receiver")
    if wish == "abort-message":
        return Exhausted(aborted=True)
    if attempt > len(waits) or outcome.error_code in _HOPELESS:
        return Exhausted()
    if outcome.error_code in _CONFIG_FAULTS and attempt >= _CONFIG_TRIES:
        return Exhausted()
    if outcome.error_code == "interrupted":
        return RetryAt(now)
    wait = float(waits[attempt - 1])
    if outcome.status in _ASKS_TO_WAIT:
        wait = max(wait, retry_after(outcome.headers.get("retry-after", ""), now))
    return RetryAt(now + jittered(wait, rand))


def slow_until(outcome: Outcome, now: float, rand: float) -> float | None:
    """Until which epoch second the whole endpoint wants to be left alone: after a 429, for as long as it says."""
    if outcome.status != 429:
        return None
    return now + jittered(retry_after(outcome.headers.get("retry-after", ""), now) or BREATH, rand)


def retry_after(header: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date), at most a day; 0 for junk."""
    text = header.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text, re.ASCII):
        wanted = float(text)
    else:
        try:
            wanted = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return min(max(wanted, 0.0), LONGEST_WAIT)
