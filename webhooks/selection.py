"""What bulk work on deliveries is about: of which endpoint, in which state, of which types, from when to when. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from kernel.errors import InvalidRequest
from kernel.events import pattern_fault
from kernel.types import Json

Kind = Literal["resend", "recover", "replay_missing"]

# As far back as failed deliveries of an endpoint are recovered.
RECOVERABLE = timedelta(days=14)
STATUSES = ("pending", "delivered", "exhausted", "cancelled")
MAX_IDS = 500
_EPOCH = datetime.fromtimestamp(0, UTC)
_ID = re.compile(r"dlv_[0-9a-f]{32}")
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries to send again, or events to deliver for the first time. What is empty does not narrow it.

    webhook_id      of this endpoint alone
    statuses        of deliveries; `pending` are those that wait for a retry
    event_type      a type or a pattern like `chat.*`
    error_code      what came of the last try
    since, until    when the event was published: from the first, up to but not with the second
    delivery_ids    exactly these
    keep_days       events are kept at least so many days; 0 where that does not matter
    """

    kind: Kind
    until: datetime
    since: datetime | None = None
    webhook_id: str = ""
    statuses: tuple[str, ...] = ()
    event_type: str = ""
    error_code: str = ""
    delivery_ids: tuple[str, ...] = ()
    keep_days: int = 0

    def within(self, first: datetime, last: datetime) -> Selection:
        """The same, of events published from `first` to `last`."""
        since = max(first, self.since) if self.since else first
        return replace(self, since=since, until=min(self.until, last + timedelta(milliseconds=1)))

    def filter(self) -> Json:
        """As an operation keeps it, and as its SQL reads it: `from` and `to` bound the ids of events."""
        kept: Json = {
            "since": _text(max(self.since, _EPOCH)) if self.since else "",
            "until": _text(self.until),
            "from": floor_id("evt", self.since) if self.since else "",
            "to": floor_id("evt", self.until),
            "statuses": list(self.statuses),
            "event_type": self.event_type,
            "error_code": self.error_code,
            "delivery_ids": list(self.delivery_ids),
            "keep_days": self.keep_days,
        }
        return {name: value for name, value in kept.items() if value}


def floor_id(prefix: str, at: datetime) -> str:
    """What sorts before every id made at this time or later, and after every earlier one (see `kernel.ids.new_id`)."""
    millis = (at - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{max(0, millis):012x}"


def resend(
    now: datetime,
    *,
    webhook_id: str = "",
    status: str = "",
    event_type: str = "",
    error_code: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    delivery_ids: Sequence[str] = (),
) -> Selection:
    """Deliveries by filter; those that were given up unless a status is named. Raises InvalidRequest.

    It has to name deliveries, an endpoint or a time to start from, so that nobody sends everything again by accident.
    """
    faults = [
        ("delivery_ids", _ids_fault(delivery_ids)),
        ("status", None if status in ("", *STATUSES) else f"one of {', '.join(STATUSES)}"),
        ("event_type", pattern_fault(event_type) if event_type else None),
        ("error_code", None if not error_code or _ERROR_CODE.fullmatch(error_code) else "this is no error code"),
        *_time_faults(now, since, until),
    ]
    if not (webhook_id or since or delivery_ids):
        faults.append(("filter", "name deliveries, an endpoint or a time to start from"))
    _refuse(faults)
    return Selection(
        "resend",
        webhook_id=webhook_id,
        statuses=(status,) if status else STATUSES if delivery_ids else ("exhausted",),
        event_type=event_type,
        error_code=error_code,
        since=since,
        until=min(until or now, now),
        delivery_ids=tuple(dict.fromkeys(delivery_ids)),
    )


def recover(now: datetime, webhook_id: str, since: datetime) -> Selection:
    """What failed at this endpoint since then: given up, or waiting for a retry. Raises InvalidRequest."""
    faults = _time_faults(now, since, None)
    if since < now - RECOVERABLE:
        faults.append(("since", f"at most {RECOVERABLE.days} days back"))
    _refuse(faults)
    return Selection("recover", webhook_id=webhook_id, statuses=("exhausted", "pending"), since=since, until=now)


def replay_missing(
    now: datetime, webhook_id: str, since: datetime, until: datetime | None = None, *, keep_days: int = 30
) -> Selection:
    """Events that this endpoint would want and was never owed. Raises InvalidRequest.

    Of days that may have gone by now nobody knows any more what was owed, so their events are no longer missing.
    """
    faults = _time_faults(now, since, until)
    if since < now - timedelta(days=keep_days):
        faults.append(("since", f"at most {keep_days} days back: older events are not kept"))
    _refuse(faults)
    until = min(until or now, now)
    return Selection("replay_missing", webhook_id=webhook_id, since=since, until=until, keep_days=keep_days)


def _ids_fault(ids: Sequence[str]) -> str | None:
    if len(ids) > MAX_IDS:
        return f"at most {MAX_IDS}"
    wrong = next((one for one in ids if not _ID.fullmatch(one)), None)
    return None if wrong is None else f"{wrong[:64]!r} is no delivery's id"


def _time_faults(now: datetime, since: datetime | None, until: datetime | None) -> list[tuple[str, str | None]]:
    return [
        ("since", "this lies in the future" if since and since > now else None),
        ("until", "this is not after `since`" if since and until and until <= since else None),
    ]


def _refuse(faults: Sequence[tuple[str, str | None]]) -> None:
    details = [{"field": name, "message": message} for name, message in faults if message]
    if details:
        raise InvalidRequest("; ".join(f"{d['field']}: {d['message']}" for d in details), details=details)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
