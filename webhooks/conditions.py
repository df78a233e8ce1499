"""Conditions on an event's `data`, compiled when they are saved to the jsonpath that fan-out evaluates with `@@`.

    {"user.plan": "pro", "rating": {"$lt": 0}, "$or": [{"channel": {"$in": ["slack", "web"]}}, {"tags": "urgent"}]}

Members of one object all have to hold. A bare value means $eq. A path names members, from `data` on; where it meets a
list, any item of it may fit. What is not there, or of another type, fits nothing: so $ne, $nin and $not hold for it.
Every part is true or false, never unknown, because each comparison stands as a filter inside `exists()`.
Source: https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-SQLJSON-PATH
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

MOST_PARTS, DEEPEST, LONGEST_LIST, LONGEST_TEXT, LONGEST_PATH = 100, 8, 100, 1_000, 10
_ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class ConditionFault(ValueError):
    """A condition that cannot be compiled. `where` is the path to the part at fault, '' for all of it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where
        self.message = message


def compile_condition(condition: object) -> str:
    """The jsonpath of a condition, in text. Raises ConditionFault."""
    budget = _Budget()
    return _object(condition, (), budget)


class _Budget:
    def __init__(self) -> None:
        self._left = MOST_PARTS

    def take(self, where: tuple[str, ...]) -> None:
        self._left -= 1
        if self._left < 0:
            raise ConditionFault("", f"a condition has at most {MOST_PARTS} parts")
        if sum(part.startswith("$") for part in where) > DEEPEST:
            raise ConditionFault("", f"at most {DEEPEST} operators may stand in one another")


def _object(value: object, where: tuple[str, ...], budget: _Budget) -> str:
    if not isinstance(value, Mapping) or not value:
        raise _fault(where, "an object with at least one member")
    return _all("&&", [_member(name, item, (*where, name), budget) for name, item in value.items()])


def _member(name: str, value: object, where: tuple[str, ...], budget: _Budget) -> str:
    budget.take(where)
    if name in ("$and", "$or"):
        return _several(name, value, where, lambda item, at: _object(item, at, budget))
    if name == "$not":
        return f"!({_object(value, where, budget)})"
    if name.startswith("$"):
        raise _fault(where, "no such operator here; $and, $or and $not may stand here, or a path")
    return _tests(_path(name, where), value, where, budget)


def _tests(path: str, value: object, where: tuple[str, ...], budget: _Budget) -> str:
    if not isinstance(value, Mapping):
        return _equals(path, value, where)
    if not value or not all(isinstance(name, str) and name.startswith("$") for name in value):
        raise _fault(where, 'a value, or operators like {"$eq": …}; a member inside is reached by a path like "a.b"')
    found = []
    for name, item in value.items():
        budget.take((*where, name))
        found.append(_test(path, name, item, (*where, name), budget))
    return _all("&&", found)


def _test(path: str, name: str, value: object, where: tuple[str, ...], budget: _Budget) -> str:
    if name == "$eq":
        return _equals(path, value, where)
    if name == "$ne":
        return f"!({_equals(path, value, where)})"
    if name in ("$in", "$nin"):
        any_of = _several("$or", value, where, lambda item, at: _equals(path, item, at))
        return any_of if name == "$in" else f"!({any_of})"
    if name in _ORDERS:
        return f"exists({path} ? (@ {_ORDERS[name]} {_ordered(value, where)}))"
    if name == "$exists":
        if not isinstance(value, bool):
            raise _fault(where, "true or false")
        return f"exists({path})" if value else f"!(exists({path}))"
    if name == "$not":
        return f"!({_tests(path, value, where, budget)})"
    raise _fault(where, "no such operator; there are $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists and $not")


def _several(name: str, value: object, where: tuple[str, ...], read: Callable[[Any, tuple[str, ...]], str]) -> str:
    if not isinstance(value, list) or not 1 <= len(value) <= LONGEST_LIST:
        raise _fault(where, f"a list of 1 to {LONGEST_LIST}")
    parts = [read(item, (*where, str(n))) for n, item in enumerate(value)]
    return _all("||" if name == "$or" else "&&", parts)


def _all(sign: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else "(" + f" {sign} ".join(f"({part})" for part in parts) + ")"


def _equals(path: str, value: object, where: tuple[str, ...]) -> str:
    return f"exists({path} ? (@ == {_scalar(value, where)}))"


def _scalar(value: object, where: tuple[str, ...]) -> str:
    if value is None or isinstance(value, bool):
        return orjson.dumps(value).decode()
    return _ordered(value, where)


def _ordered(value: object, where: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _fault(where, "a text, a number, and where it is compared for being equal also true, false or null")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _fault(where, "a number of 64 bits")
    return repr(value)


def _text(value: str, where: tuple[str, ...]) -> str:
    """A string of jsonpath, which reads the escapes of JSON."""
    if len(value) > LONGEST_TEXT or "\0" in value:
        raise _fault(where, f"a text of at most {LONGEST_TEXT} characters, without NUL")
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise _fault(where, "a text in Unicode") from error


def _path(name: str, where: tuple[str, ...]) -> str:
    parts = name.split(".")
    if len(parts) > LONGEST_PATH or not all(parts):
        raise _fault(where, f'a path of 1 to {LONGEST_PATH} names, like "user.plan"')
    return "$" + "".join(f".{_text(part, where)}" for part in parts)


def _fault(where: tuple[str, ...], message: str) -> ConditionFault:
    return ConditionFault(".".join(where), message)
