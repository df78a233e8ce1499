"""Where a value stands in a payload: `alerts.0.status`, `labels.*.name`, `"key with.dots".id`, or `.` for all of it.

Names that begin with $ stand beside the payload: `$header.x-github-event`, `$now`. Looking something up never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

LONGEST, DEEPEST = 200, 16  # characters and parts of a path
MOST = 100  # values that a path with * finds
WHOLE = "."

_PART = re.compile(r'\.(?:(\$?[A-Za-z_][\w-]*)|([0-9]{1,4})|(\*)|("(?:[^"\\]|\\.)*"))', re.ASCII)


class Fault(ValueError):
    """Why something that was given cannot be used. `field` says where in what was given."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def under(self, field: str) -> Fault:
        return Fault(self.message, f"{field}.{self.field}" if self.field else field)


@dataclass(frozen=True, slots=True)
class Path:
    """`parts`: names, positions in lists, and None for every item of a list. No parts: the whole payload."""

    parts: tuple[str | int | None, ...]

    @property
    def many(self) -> bool:
        return None in self.parts


@dataclass(frozen=True, slots=True)
class Scope:
    """What paths look into: the payload, and names beside it that come first."""

    payload: Any
    names: Mapping[str, Any]

    def naming(self, **more: Any) -> Scope:
        return Scope(self.payload, {**self.names, **more})


def parse_path(text: str) -> Path:
    """Raises Fault."""
    if text == WHOLE:
        return Path(())
    if len(text) > LONGEST:
        raise Fault(f"a path has at most {LONGEST} characters")
    dotted, position = f".{text}", 0
    parts: list[str | int | None] = []
    while position < len(dotted):
        found = _PART.match(dotted, position)
        if found is None:
            raise Fault(f"{text!r} is no path: names, numbers and *, parted by dots; anything else in quotes")
        parts.append(_part(found))
        position = found.end()
    if len(parts) > DEEPEST:
        raise Fault(f"a path has at most {DEEPEST} parts")
    return Path(tuple(parts))


def _part(found: re.Match[str]) -> str | int | None:
    name, number, star, quoted = found.groups()
    if quoted:
        try:
            return str(orjson.loads(quoted))
        except orjson.JSONDecodeError:
            raise Fault(f"{quoted} is no text in quotes") from None
    return None if star else int(number) if number else str(name)


def find(scope: Scope, path: Path, *, in_lists: bool = False) -> list[Any]:
    """Every value that the path names, at most MOST of them; none when there is nothing.

    `in_lists`: where a name meets a list, it is looked for in the list's items.
    """
    parts = path.parts
    values = [scope.payload]
    if parts and parts[0] in scope.names:
        values, parts = [scope.names[str(parts[0])]], parts[1:]
    for part in parts:
        if in_lists and isinstance(part, str):
            values = flat(values)
        values = [inner for value in values for inner in _inside(value, part)][:MOST]
    return values


def flat(values: list[Any]) -> list[Any]:
    """Lists among the values replaced by their items."""
    return [item for value in values for item in (value[:MOST] if isinstance(value, list) else [value])][:MOST]


def _inside(value: Any, part: str | int | None) -> Iterator[Any]:
    match value, part:
        case list(), None:
            yield from value[:MOST]
        case list(), int():
            yield from value[part : part + 1]
        case dict(), str() | int() if str(part) in value:
            yield value[str(part)]


def one(scope: Scope, path: Path) -> Any:
    """The value, None when there is none, and a list where the path has a *."""
    values = find(scope, path)
    return values if path.many else values[0] if values else None
