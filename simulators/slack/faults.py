"""What may be made to go wrong: rules are values, drawing from them is the only state (what is left of each count)."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

CALL_KINDS = ("delay", "status", "drop_before", "drop_after", "hang", "hang_after")
EVENT_KINDS = ("duplicate", "reorder", "deaf")
ATTEMPT_KINDS = ("bad_signature", "close_socket")
KINDS = (*CALL_KINDS, *EVENT_KINDS, *ATTEMPT_KINDS, "outage")


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    kind: delay (answer `ms` later), status (answer HTTP `code` with `description` as Slack's error, nothing accepted;
    429 tells `retry_after`; code 200 is a plain {"ok": false}), drop_before (reset the socket, nothing accepted),
    drop_after (accept, then reset), hang and hang_after (never answer, without and with acceptance); for events on
    their way to the app: duplicate (deliver twice), reorder (let the next event of the channel overtake; `ms` is the
    longest it waits for one), deaf (swallow the event, though the connection stays), bad_signature (sign an attempt
    wrongly), close_socket (close the connection instead of an attempt); outage (nothing works until it is disarmed,
    or for `ms`; events wait). method: a pattern such as "chat.*", or for events their type ("message").
    channel, team: only there. skip: let that many pass first. count: how often at most. probability: per match.
    """

    kind: str
    method: str = "*"
    channel: str | None = None
    team: str | None = None
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    ms: int = 0
    code: int = 500
    description: str = "internal_error"
    retry_after: int = 0

    def applies(self, method: str, team: str, channel: str) -> bool:
        return (
            (self.channel is None or self.channel == channel)
            and (self.team is None or self.team == team)
            and fnmatchcase(method.lower(), self.method.lower())
        )


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """A rule from JSON. Raises ValueError on unknown fields, an unknown kind or a value of the wrong type."""
    known = {f.name for f in fields(Fault)}
    unknown = set(body) - known
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}, expected some of {sorted(known)}")
    kind = body.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    texts = ("kind", "method", "description", "channel", "team")
    numbers = {k: v for k, v in body.items() if k not in texts and v is not None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number")
    whole = {k: v if k == "probability" else int(v) for k, v in numbers.items()}
    words = {k: str(body[k]) for k in texts if body.get(k) is not None}
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

    @property
    def outage(self) -> bool:
        return any(armed.fault.kind == "outage" for armed in self._armed.values())

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its number, what is left of its count and how often it struck."""
        return [
            {"id": number, **asdict(armed.fault), "left": armed.left, "hits": armed.hits}
            for number, armed in self._armed.items()
        ]

    def for_call(self, method: str, team: str, channel: str) -> Plan:
        """Delays add up; of the other kinds the first that strikes wins."""
        if not self._armed:
            return CALM
        delay = 0.0
        chosen: Fault | None = None
        for armed in self._armed.values():
            kind = armed.fault.kind
            if kind not in CALL_KINDS or (chosen and kind != "delay"):
                continue
            if self._strikes(armed, method, team, channel):
                if kind == "delay":
                    delay += armed.fault.ms / 1000
                else:
                    chosen = armed.fault
        return Plan(delay, chosen)

    def for_event(self, kinds: tuple[str, ...], event_type: str, team: str, channel: str) -> Fault | None:
        """The first rule of these kinds that strikes an event (EVENT_KINDS) or an attempt (ATTEMPT_KINDS)."""
        for armed in self._armed.values():
            if armed.fault.kind in kinds and self._strikes(armed, event_type, team, channel):
                return armed.fault
        return None

    def _strikes(self, armed: _Armed, method: str, team: str, channel: str) -> bool:
        if armed.left == 0 or not armed.fault.applies(method, team, channel):
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
