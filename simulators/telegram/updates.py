"""A bot's mailbox: updates waiting to be fetched or pushed, in order, for at most 24 hours."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

KEPT_SECONDS = 24 * 3600

# What a bot gets unless it asks otherwise: everything but these (Bot API, getUpdates, allowed_updates).
NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


@dataclass(frozen=True, slots=True)
class Update:
    """id: the bot's sequence number. chat: the unit of delivery order. body: the JSON object, encoded once."""

    id: int
    kind: str
    chat: int
    date: int
    body: bytes


@dataclass(slots=True)
class Mailbox:
    """Entries have a serial of their own, so that one update can wait twice (a duplicate) or out of order."""

    next_id: int
    allowed: frozenset[str] = frozenset()
    entries: OrderedDict[int, Update] = field(default_factory=OrderedDict)
    ordered: bool = True
    _serial: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def wants(self, kind: str) -> bool:
        return kind in self.allowed if self.allowed else kind not in NOT_BY_DEFAULT

    def take_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def put(self, update: Update) -> int:
        self._expire(update.date)
        if self.entries:
            last = self.entries[next(reversed(self.entries))]
            self.ordered = self.ordered and last.id <= update.id
        else:
            self.ordered = True
        self._serial += 1
        self.entries[self._serial] = update
        return self._serial

    def forget(self, serial: int) -> None:
        self.entries.pop(serial, None)

    def clear(self) -> None:
        self.entries.clear()

    def confirm(self, offset: int) -> None:
        """getUpdates semantics: all below `offset` are confirmed; a negative one keeps the last -offset."""
        if offset < 0:
            while len(self.entries) > -offset:
                self.entries.popitem(last=False)
        elif not self.ordered:
            for serial in [s for s, update in self.entries.items() if update.id < offset]:
                del self.entries[serial]
        else:
            while self.entries and self.entries[next(iter(self.entries))].id < offset:
                self.entries.popitem(last=False)

    def first(self, limit: int) -> list[Update]:
        return list(islice(self.entries.values(), limit))

    def waiting(self) -> Iterator[tuple[int, Update]]:
        yield from list(self.entries.items())

    def _expire(self, now: int) -> None:
        while self.entries and self.entries[next(iter(self.entries))].date < now - KEPT_SECONDS:
            self.entries.popitem(last=False)
