"""Conditions on a payload: `{"action": {"$in": ["opened", "closed"]}, "draft": false}`, compiled when they are saved.

All members have to hold. A bare value means $eq. Where a path meets a list, any item of it will do. What is not there,
or is of another kind, fits nothing: so `$ne`, `$nin` and `$not` hold for it. Evaluating never raises. The operators are
those of endpoints' conditions (`webhooks.conditions`): those are compiled for the database, these run on a payload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webhooks.hooks.paths import Fault, Path, Scope, find, flat, parse_path

Test = Callable[[Scope], bool]
_DEEPEST, _MOST, _LONGEST_LIST = 6, 60, 100
_JOINED: dict[str, Callable[[list[Test]], Test]] = {
    "$and": lambda tests: lambda scope: all(test(scope) for test in tests),
    "$or": lambda tests: lambda scope: any(test(scope) for test in tests),
}


def compile_condition(condition: Any) -> Test:
    """Raises Fault, with the member at fault."""
    left = [_MOST]
    return _object(condition, _DEEPEST, left)


def _object(condition: Any, depth: int, left: list[int]) -> Test:
    if not isinstance(condition, dict) or not condition:
        raise Fault("a condition is an object with at least one member")
    if depth == 0:
        raise Fault(f"conditions are at most {_DEEPEST} deep")
    tests = []
    for name, value in condition.items():
        left[0] -= 1
        if left[0] < 0:
            raise Fault(f"a condition has at most {_MOST} members")
        try:
            tests.append(_member(str(name), value, depth, left))
        except Fault as fault:
            raise fault.under(str(name)) from None
    return _JOINED["$and"](tests)


def _member(name: str, value: Any, depth: int, left: list[int]) -> Test:
    if name in _JOINED:
        if not isinstance(value, list) or not value:
            raise Fault("a list of conditions")
        return _JOINED[name]([_object(inner, depth - 1, left) for inner in value])
    if name == "$not":
        denied = _object(value, depth - 1, left)
        return lambda scope: not denied(scope)
    return _tested(parse_path(name), value, depth)


def _tested(path: Path, value: Any, depth: int) -> Test:
    if not isinstance(value, dict):
        return _compared(path, "$eq", value, depth)
    if not value:
        raise Fault("an object of operators, such as {'$exists': true}")
    return _JOINED["$and"]([_compared(path, str(operator), given, depth) for operator, given in value.items()])


def _compared(path: Path, operator: str, given: Any, depth: int) -> Test:
    if operator == "$not":
        if depth == 0:
            raise Fault(f"conditions are at most {_DEEPEST} deep")
        denied = _tested(path, given, depth - 1)
        return lambda scope: not denied(scope)
    if operator == "$exists":
        if not isinstance(given, bool):
            raise Fault("$exists is true or false")
        return lambda scope: bool(find(scope, path, in_lists=True)) is given
    if operator in ("$in", "$nin"):
        if not isinstance(given, list) or len(given) > _LONGEST_LIST:
            raise Fault(f"{operator} has a list of at most {_LONGEST_LIST} values")
        return _among(path, [_scalar(item) for item in given], there=operator == "$in")
    if operator in ("$eq", "$ne"):
        return _among(path, [_scalar(given)], there=operator == "$eq")
    if operator not in _ORDERED:
        raise Fault(f"there is no operator {operator!r}")
    if _kind(given) not in ("number", "text"):
        raise Fault(f"{operator} compares numbers or texts")
    before = _ORDERED[operator]
    return lambda scope: any(_kind(value) == _kind(given) and before(value, given) for value in _values(scope, path))


_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, given: bool(value > given),
    "$gte": lambda value, given: bool(value >= given),
    "$lt": lambda value, given: bool(value < given),
    "$lte": lambda value, given: bool(value <= given),
}


def _among(path: Path, wanted: list[Any], *, there: bool) -> Test:
    among = {(_kind(item), item) for item in wanted}
    return lambda scope: any((_kind(v), v) in among for v in _values(scope, path)) is there


def _scalar(given: Any) -> Any:
    if _kind(given) == "other":
        raise Fault("a text, a number, true, false or null is compared")
    return given


def _values(scope: Scope, path: Path) -> list[Any]:
    """What may be compared: a list stands for its items, and once more for theirs, as in a jsonpath."""
    return [value for value in flat(flat(find(scope, path, in_lists=True))) if _kind(value) != "other"]


def _kind(value: Any) -> str:
    """`True` is not 1 here, as in JSON."""
    match value:
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case str():
            return "text"
        case None:
            return "nothing"
        case _:
            return "other"
