"""What was owed, what receivers took, and what the two say about a run. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

Owed = tuple[str, str]
"""An endpoint's name and an event's id."""


@dataclass
class Ledger:
    """`acknowledged` are the ids of events whose publishing was confirmed; `taken` the digests of the bodies that a
    receiver took, in order; `refused` counts what it should not have been sent; `sequences` are the numbers and events
    that an ordered endpoint took, by conversation."""

    acknowledged: set[str] = field(default_factory=set)
    taken: dict[Owed, list[str]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    lost_answers: int = 0
    sequences: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def take(self, endpoint: str, event_id: str, body: bytes) -> None:
        self.taken.setdefault((endpoint, event_id), []).append(digest(body))

    def take_in_order(self, key: str, number: int, event_id: str) -> None:
        """One of an ordered endpoint, by its ordering key."""
        self.sequences.setdefault(key, []).append((number, event_id))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost` was owed and never taken; `invented` was taken and not owed; `changed` came with other bytes than those in
    the store; `unstored` was confirmed and is in no table; `false` is recorded as delivered and was never taken;
    `disordered` are ordering keys whose numbers did not come as 1, 2, 3, …; `repeats` counts what was taken more than
    once."""

    published: int
    owed: int
    taken: int
    repeats: int
    bound: int
    lost: Sequence[Owed]
    invented: Sequence[Owed]
    changed: Sequence[Owed]
    unstored: Sequence[str]
    false: Sequence[Owed]
    disordered: Sequence[str]

    @property
    def faults(self) -> Mapping[str, Sequence[object]]:
        return {
            "lost": self.lost, "invented": self.invented, "changed bytes": self.changed, "unstored": self.unstored,
            "recorded as delivered, never taken": self.false, "out of order": self.disordered,
        }  # fmt: skip

    @property
    def kept(self) -> bool:
        return not any(self.faults.values()) and self.repeats <= self.bound


def judge(
    ledger: Ledger, stored: Mapping[str, bytes], endpoints: Collection[str], delivered: Collection[Owed], bound: int
) -> Verdict:
    """`stored` are the events in the store with their bytes, `delivered` what is recorded as delivered there."""
    bytes_of = {event_id: digest(body) for event_id, body in stored.items()}
    owed = {(endpoint, event_id) for endpoint in endpoints for event_id in stored}
    return Verdict(
        len(stored),
        len(owed),
        len(owed & ledger.taken.keys()),
        sum(len(digests) - 1 for digests in ledger.taken.values()),
        bound,
        sorted(owed - ledger.taken.keys()),
        sorted(ledger.taken.keys() - owed),
        sorted(one for one, digests in ledger.taken.items() if set(digests) != {bytes_of.get(one[1])}),
        sorted(ledger.acknowledged - stored.keys()),
        sorted(set(delivered) - ledger.taken.keys()),
        sorted(key for key, seen in ledger.sequences.items() if not _in_order(seen)),
    )


def _in_order(seen: Sequence[tuple[int, str]]) -> bool:
    """Numbers from 1 without a gap, by their first sightings; one event for each, and one number for each event."""
    first = dict[int, str]()
    for number, event_id in seen:
        if first.setdefault(number, event_id) != event_id:
            return False
    return list(first) == list(range(1, len(first) + 1)) and len(set(first.values())) == len(first)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
