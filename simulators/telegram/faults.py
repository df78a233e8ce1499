"""What may be made to go wrong: rules are values, drawing from them is the only state (what is left of each count)."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

CALL_KINDS = ("delay", "status", "drop_before", "drop_after", "hang", "hang_after")
UPDATE_KINDS = ("duplicate", "reorder")


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    kind: delay (answer `ms` later), status (answer an error, nothing accepted), drop_before (reset the socket, nothing
    accepted), drop_after (accept, then reset), hang and hang_after (never answer, without and with acceptance);
    for updates on their way to the bot: duplicate (deliver twice), reorder (let the next update of the chat overtake;
    `ms` is the longest it waits for one). method: a pattern such as "send*", or for updates their kind ("message").
    chat, bot: only this chat or bot. skip: let that many pass first. count: how often at most. probability: per match.
    """

    kind: str
    method: str = "*"
    chat: int | None = None
    bot: int | None = None
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    ms: int = 0
    code: int = 500
    description: str = "Internal Server Error"
    retry_after: int = 0

    def applies(self, method: str, bot: int, chat: int | None) -> bool:
        return (
            (self.chat is None or self.chat == chat)
            and (self.bot is None or self.bot == bot)
            and fnmatchcase(method.lower(), self.method.lower())
        )


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """A rule from JSON. Raises ValueError on unknown fields, an unknown kind or a value of the wrong type."""
    known = {f.name for f in fields(Fault)}
    unknown = set(body) - known
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}, expected some of {sorted(known)}")
    kind = body.get("kind")
    if kind not in CALL_KINDS + UPDATE_KINDS:
        raise ValueError(f"kind must be one of {', '.join(CALL_KINDS + UPDATE_KINDS)}")
    numbers = {k: v for k, v in body.items() if k not in ("kind", "method", "description") and v is not None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number")
    whole = {k: v if k == "probability" else int(v) for k, v in numbers.items()}
    words = {k: str(body[k]) for k in ("kind", "method", "description") if body.get(k) is not None}
    values: dict[str, Any] = whole | words
    return Fault(**values)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done to one call: wait, then perhaps one fault."""

    delay: float = 0.0
    fault: Fault | None = None


CALM = Plan()


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    left: int | None
    hits: int = 0


class FaultBook:
    """The rules in force. Randomness is handed in, so a seeded run repeats."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._armed: dict[int, _Armed] = {}
        self._next = 1

    def add(self, fault: Fault) -> int:
        number = self._next
        self._next += 1
        self._armed[number] = _Armed(fault, fault.skip, fault.count)
        return number

    def remove(self, number: int) -> bool:
        return self._armed.pop(number, None) is not None

    def clear(self) -> None:
        self._armed.clear()

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its number, what is left of its count and how often it struck."""
        return [
            {"id": number, **asdict(armed.fault), "left": armed.left, "hits": armed.hits}
            for number, armed in self._armed.items()
        ]

    def for_call(self, method: str, bot: int, chat: int | None) -> Plan:
        """Delays add up; of the other kinds the first that strikes wins."""
        if not self._armed:
            return CALM
        delay = 0.0
        chosen: Fault | None = None
        for armed in self._armed.values():
            kind = armed.fault.kind
            if kind in UPDATE_KINDS or (chosen and kind != "delay"):
                continue
            if self._strikes(armed, method, bot, chat):
                if kind == "delay":
                    delay += armed.fault.ms / 1000
                else:
                    chosen = armed.fault
        return Plan(delay, chosen)

    def for_update(self, kind: str, bot: int, chat: int) -> Fault | None:
        for armed in self._armed.values():
            if armed.fault.kind in UPDATE_KINDS and self._strikes(armed, kind, bot, chat):
                return armed.fault
        return None

    def _strikes(self, armed: _Armed, method: str, bot: int, chat: int | None) -> bool:
        if armed.left == 0 or not armed.fault.applies(method, bot, chat):
            return False
        if armed.skip > 0:
            armed.skip -= 1
            return False
        if armed.fault.probability < 1 and self._rng.random() >= armed.fault.probability:
            return False
        if armed.left is not None:
            armed.left -= 1
        armed.hits += 1
        return True
