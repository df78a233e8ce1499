"""Conditions: what compiles says the same in Postgres as read aloud; what does not is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from webhooks.conditions import DEEPEST, LONGEST_LIST, LONGEST_TEXT, MOST_PARTS, ConditionFault, compile_condition
from webhooks.hooks.conditions import compile_condition as on_payload
from webhooks.hooks.paths import Fault, Scope

# What the names mean, read off the documentation: the other half of the property test.


def holds(condition: Any, data: Any) -> bool:
    return all(_member(name, value, data) for name, value in condition.items())


def _member(name: str, value: Any, data: Any) -> bool:
    if name == "$and":
        return all(holds(part, data) for part in value)
    if name == "$or":
        return any(holds(part, data) for part in value)
    if name == "$not":
        return not holds(value, data)
    return _tests(value, list(_found(data, name.split("."))))


def _tests(wanted: Any, found: list[Any]) -> bool:
    if not isinstance(wanted, dict):
        return _any_equal(wanted, found)
    return all(_test(name, value, found) for name, value in wanted.items())


def _test(name: str, value: Any, found: list[Any]) -> bool:
    if name == "$eq":
        return _any_equal(value, found)
    if name == "$ne":
        return not _any_equal(value, found)
    if name in ("$in", "$nin"):
        return any(_any_equal(item, found) for item in value) is (name == "$in")
    if name == "$exists":
        return bool(found) is bool(value)
    if name == "$not":
        return not _tests(value, found)
    return any(_in_order(name, item, value) for item in _items(found))


def _found(data: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield data
        return
    for item in data if isinstance(data, list) else [data]:
        if isinstance(item, dict) and path[0] in item:
            yield from _found(item[path[0]], path[1:])


def _items(found: list[Any]) -> Iterator[Any]:
    """What is compared: a list stands for its items, and once more for theirs."""
    for value in found:
        for item in value if isinstance(value, list) else [value]:
            yield from item if isinstance(item, list) else [item]


def _any_equal(wanted: Any, found: list[Any]) -> bool:
    return any(_kind(item) == _kind(wanted) and _plain(item) == _plain(wanted) for item in _items(found))


def _in_order(name: str, item: Any, wanted: Any) -> bool:
    if _kind(item) != _kind(wanted) or _kind(item) not in ("number", "text"):
        return False
    left, right = _plain(item), _plain(wanted)
    return bool({"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[name])


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    names = {int: "number", float: "number", str: "text", type(None): "null", dict: "object", list: "list"}
    return names[type(value)]


def _plain(value: Any) -> Any:
    return Decimal(repr(value)) if _kind(value) == "number" else value


NAMES = st.sampled_from(["a", "b", "c", 'q"', "a-b", "é", "\\", "@", "*"])
TEXTS = st.sampled_from(["", "x", "xy", "é", '"', "\\", "' || true", "\n", "😀", "\x7f", "\uffff"])
NUMBERS = st.sampled_from([0, 1, -1, 1.0, 2, 1.5, -0.5, 1e23, 2**53 + 1, 2**63 - 1, -(2**63), 1e-7]) | st.integers(
    -3, 3
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
DATA = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
TESTS = st.recursive(
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), SCALARS, min_size=1)
    | st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | TEXTS, min_size=1)
    | st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, min_size=1, max_size=3), min_size=1)
    | st.fixed_dictionaries({"$exists": st.booleans()}),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=2,
)
CONDITIONS = st.recursive(
    st.dictionaries(PATHS, SCALARS | TESTS, min_size=1, max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1)
        | st.fixed_dictionaries({"$not": inner})
    ),
    max_leaves=6,
)


EVENT = {
    "text": "hi",
    "rating": -1,
    "user": {"plan": "pro", "tags": ["vip", "beta"]},
    "files": [{"size": 5}],
    "x": None,
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"text": "hi"}, True),
        ({"text": {"$eq": "ho"}}, False),
        ({"text": {"$ne": "ho"}}, True),
        ({"nothing": {"$ne": "ho"}}, True),
        ({"rating": {"$lt": 0, "$gte": -1}}, True),
        ({"rating": {"$gt": 0}}, False),
        ({"rating": {"$gt": "a"}}, False),
        ({"user.plan": {"$in": ["free", "pro"]}}, True),
        ({"user.plan": {"$nin": ["free", "pro"]}}, False),
        ({"user.tags": "vip"}, True),
        ({"files.size": {"$lte": 5}}, True),
        ({"user.name": {"$exists": False}, "user": {"$exists": True}}, True),
        ({"x": {"$exists": True}}, True),
        ({"x": None}, True),
        ({"$or": [{"text": "no"}, {"rating": -1}]}, True),
        ({"$and": [{"text": "hi"}, {"rating": 1}]}, False),
        ({"$not": {"text": "hi"}}, False),
        ({"rating": {"$not": {"$gt": 0}}}, True),
        ({'text") || exists($': "hi"}, False),
        ({"text": '" || true || @ == "'}, False),
    ],
)
async def test_what_operators_mean(admin: asyncpg.Connection[Any], condition: Any, expected: bool) -> None:
    assert await matches(admin, condition, EVENT) is expected
    assert holds(condition, EVENT) is expected


SIMPLE = st.sampled_from(["a", "b", "c"])
SIMPLE_DATA = st.dictionaries(
    SIMPLE,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SIMPLE, inner, max_size=3), max_leaves=8
    ),
    max_size=4,
)
SIMPLE_CONDITIONS = st.recursive(
    st.dictionaries(st.lists(SIMPLE, min_size=1, max_size=3).map(".".join), SCALARS | TESTS, min_size=1, max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1)
        | st.fixed_dictionaries({"$not": inner})
    ),
    max_leaves=4,
)


@settings(max_examples=500)
@given(SIMPLE_CONDITIONS, SIMPLE_DATA)
@example({"a": 1}, {"a": [[1], 2]})
@example({"a.b": {"$not": {"$gt": 0}}}, {"a": [{"b": 1}]})
@example({"a": True}, {"a": 1})
def test_conditions_of_hooks_mean_the_same(condition: Any, data: Any) -> None:
    """Those are run on a payload where it comes in, these by the database; operators are told of once."""
    try:
        test = on_payload(condition)
    except Fault as fault:
        assert "deep" in fault.message or "members" in fault.message  # theirs are bounded more tightly
        return
    assert test(Scope(data, {})) is holds(condition, data)


def deep(levels: int) -> Any:
    return {"$not": deep(levels - 1)} if levels else {"a": 1}


@pytest.mark.parametrize(
    ("condition", "where"),
    [
        ({}, ""),
        ([], ""),
        ("text", ""),
        ({"": 1}, ""),
        ({"a..b": 1}, "a..b"),
        ({".".join("a" * 11): 1}, ".".join("a" * 11)),
        ({"$where": "1"}, "$where"),
        ({"a": {"$regex": "x"}}, "a.$regex"),
        ({"a": {}}, "a"),
        ({"a": {"b": 1}}, "a"),
        ({"a": {"$eq": 1, "b": 1}}, "a"),
        ({"a": {"$eq": [1]}}, "a.$eq"),
        ({"a": [1]}, "a"),
        ({"a": {"$in": []}}, "a.$in"),
        ({"a": {"$in": 1}}, "a.$in"),
        ({"a": {"$in": [1] * (LONGEST_LIST + 1)}}, "a.$in"),
        ({"a": {"$in": [1, {"b": 1}]}}, "a.$in.1"),
        ({"a": {"$gt": True}}, "a.$gt"),
        ({"a": {"$gt": None}}, "a.$gt"),
        ({"a": {"$exists": 1}}, "a.$exists"),
        ({"a": "x" * (LONGEST_TEXT + 1)}, "a"),
        ({"a": "\0"}, "a"),
        ({"a": float("inf")}, "a"),
        ({"a": 2**63}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"$or": {"a": 1}}, "$or"),
        ({"$or": [{"a": 1}, 5]}, "$or.1"),
        ({"$or": [{"a": 1}, {"b": {"$in": 1}}]}, "$or.1.b.$in"),
        ({"$not": 1}, "$not"),
        ({f"a{n}": 1 for n in range(MOST_PARTS + 1)}, ""),
        (deep(DEEPEST + 1), ""),
    ],
)
def test_what_cannot_be_compiled_names_the_part_at_fault(condition: Any, where: str) -> None:
    with pytest.raises(ConditionFault) as caught:
        compile_condition(condition)
    assert caught.value.where == where


async def test_the_largest_that_is_taken_compiles(admin: asyncpg.Connection[Any]) -> None:
    assert await matches(admin, {f"a{n}": {"$exists": False} for n in range(MOST_PARTS // 2)}, EVENT) is True
    assert await matches(admin, deep(DEEPEST), {"a": 1}) is (DEEPEST % 2 == 0)


async def matches(admin: asyncpg.Connection[Any], condition: Any, data: Any) -> bool | None:
    found: bool | None = await admin.fetchval(
        "SELECT $1::text::jsonb @@ $2::text::jsonpath", json.dumps(data), compile_condition(condition)
    )
    return found


@given(condition=CONDITIONS, data=DATA)
@settings(
    max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
async def test_postgres_and_the_reading_of_a_condition_agree(
    admin: asyncpg.Connection[Any], condition: Any, data: Any
) -> None:
    assert await matches(admin, condition, data) is holds(condition, data)
