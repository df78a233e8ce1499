"""What may be made to go wrong: rules are values, drawing from them is the only state (what is left of each count)."""

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

CALL_KINDS = ("delay", "status", "drop_before", "drop_after", "hang", "hang_after")
EVENT_KINDS = ("duplicate", "reorder")
SOCKET_KINDS = ("close", "reconnect", "invalid_session")
LASTING_KINDS = ("deaf", "outage")
KINDS = (*CALL_KINDS, *EVENT_KINDS, *SOCKET_KINDS, *LASTING_KINDS, "bad_signature")


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    For calls, with `method` a pattern such as "create_*" of `simulators.discord.routes`: delay (answer `ms` later),
    status (answer an error of HTTP status `status` and Discord's `code`; nothing accepted; 429 with `retry_after`
    seconds and `scope`), drop_before (reset the socket, nothing accepted), drop_after (accept, then reset), hang and
    hang_after (never answer, without and with acceptance).
    For events on their way to the bot, with `method` a pattern such as "message_*": duplicate (deliver twice), reorder
    (let the next event of the channel overtake; `ms` is the longest it waits for one).
    For gateway sockets: close (with `code`), reconnect (op 7), invalid_session (op 9; `resumable`: may be resumed).
    With method "*" they strike the open sockets at once; otherwise when that event is due, or at "identify"
    or "resume".
    While armed, or for `ms`: deaf (heartbeats are acknowledged, events are not delivered), outage (nothing answers,
    sockets close and their sessions are gone). bad_signature: an interaction over HTTP comes with a wrong signature.
    channel, bot: only this one. skip: let that many pass first. count: how often at most. probability: per match.
    """

    kind: str
    method: str = "*"
    channel: int | None = None
    bot: int | None = None
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    ms: int = 0
    status: int = 500
    code: int = 0
    description: str = "Internal Server Error"
    retry_after: float = 0.0
    scope: str = "user"
    resumable: bool = False

    def applies(self, method: str, bot: int | None, channel: int | None) -> bool:
        return (
            (self.channel is None or self.channel == channel)
            and (self.bot is None or self.bot == bot)
            and fnmatchcase(method.lower(), self.method.lower())
        )


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """A rule from JSON. Raises ValueError on unknown fields, an unknown kind or a value of the wrong type."""
    known = {f.name for f in fields(Fault)}
    unknown = set(body) - known
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}, expected some of {sorted(known)}")
    if body.get("kind") not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    values = {name: _value(name, value) for name, value in body.items() if value is not None}
    return Fault(**values)


def _value(name: str, value: Any) -> Any:
    if name in ("kind", "method", "description", "scope"):
        return str(value)
    if name == "resumable":
        return bool(value)
    if name in ("channel", "bot") and isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")
    return float(value) if name in ("probability", "retry_after") else int(value)


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
    until: float | None
    hits: int = 0


class FaultBook:
    """The rules in force. Randomness and the monotonic clock are handed in, so a seeded run repeats."""

    def __init__(self, rng: random.Random, tick: Callable[[], float]) -> None:
        self._rng = rng
        self._tick = tick
        self._armed: dict[int, _Armed] = {}
        self._next = 1

    def add(self, fault: Fault) -> int:
        number = self._next
        self._next += 1
        lasting = fault.kind in LASTING_KINDS and fault.ms
        self._armed[number] = _Armed(
            fault, fault.skip, fault.count, self._tick() + fault.ms / 1000 if lasting else None
        )
        return number

    def remove(self, number: int) -> bool:
        return self._armed.pop(number, None) is not None

    def clear(self) -> None:
        self._armed.clear()

    def spend(self, number: int) -> None:
        """This one has struck, once and for all."""
        armed = self._armed[number]
        armed.left = 0
        armed.hits += 1

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its number, what is left of its count and how often it struck."""
        return [
            {"id": number, **asdict(armed.fault), "left": self._left(armed), "hits": armed.hits}
            for number, armed in self._armed.items()
        ]

    def _left(self, armed: _Armed) -> int | None:
        return 0 if armed.until is not None and armed.until <= self._tick() else armed.left

    def for_call(self, method: str, bot: int | None, channel: int | None) -> Plan:
        """Delays add up; of the other kinds the first that strikes wins."""
        if not self._armed:
            return CALM
        delay = 0.0
        chosen: Fault | None = None
        for armed in self._armed.values():
            kind = armed.fault.kind
            if kind not in CALL_KINDS or (chosen and kind != "delay"):
                continue
            if self._strikes(armed, method, bot, channel):
                if kind == "delay":
                    delay += armed.fault.ms / 1000
                else:
                    chosen = armed.fault
        return Plan(delay, chosen)

    def strike(self, kinds: tuple[str, ...], method: str, bot: int, channel: int | None = None) -> Fault | None:
        """The first rule of these kinds that strikes now."""
        for armed in self._armed.values():
            if armed.fault.kind in kinds and self._strikes(armed, method, bot, channel):
                return armed.fault
        return None

    def lasts(self, kind: str, bot: int | None) -> bool:
        """Whether a lasting fault is in force."""
        return any(
            armed.fault.kind == kind and armed.fault.applies("*", bot, armed.fault.channel) and self._left(armed) != 0
            for armed in self._armed.values()
        )

    def _strikes(self, armed: _Armed, method: str, bot: int | None, channel: int | None) -> bool:
        if armed.left == 0 or not armed.fault.applies(method, bot, channel):
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
