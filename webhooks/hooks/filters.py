"""What a placeholder may do with its value: `{{ commit.id | start: 7 | code }}`. Each is pure and takes any JSON value.

One that makes markdown itself (`code`, `block`, `url`) comes last; whatever else comes out is escaped and put on one
line, or after `lines` on several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from webhooks.hooks import markup
from webhooks.hooks.paths import MOST, Fault, Path

LONGEST_VALUE = 20_000  # characters that are looked at
LONGEST_CODE, LONGEST_BLOCK = 500, 3_500  # characters that are shown
_DEEPEST, _MOST_SHOWN = 6, 500  # levels and values of an object that is shown as JSON
_DIRECTIVES = frozenset("YymdHIMSpjbBaAZz%")
_USUAL_DATE = "%Y-%m-%d %H:%M UTC"
# Currencies with other than two decimals: https://docs.stripe.com/currencies#zero-decimal
_NO_DECIMALS = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
_THREE_DECIMALS = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is markdown already and is not escaped again."""

    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Text that keeps its lines, each escaped by itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    """`least` and `most` arguments. `fault` judges one that is given literally, when the template is saved.

    `paths`: an argument may also name a place in the payload. `last`: nothing may follow.
    """

    run: Callable[..., Any]
    least: int = 0
    most: int = 0
    fault: Callable[[Any], str | None] = lambda _: None
    paths: bool = False
    last: bool = False


def text_of(value: Any) -> str:
    """Any JSON value as text: nothing for null, compact JSON for lists and objects."""
    match value:
        case None:
            return ""
        case str():
            return value[:LONGEST_VALUE]
        case Markup() | Lines():
            return value.text
        case dict() | list():
            return orjson.dumps(_bounded(value, [_MOST_SHOWN], _DEEPEST)).decode()[:LONGEST_VALUE]
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            return orjson.dumps(value, default=str).decode()[:LONGEST_VALUE]


def _bounded(value: Any, left: list[int], depth: int) -> Any:
    """A copy of at most so many values, so that nobody writes out a whole megabyte for a line of text."""
    left[0] -= 1
    if isinstance(value, str):
        return value[:200]
    if not isinstance(value, dict | list):
        return value
    if left[0] <= 0 or depth == 0:
        return "…"
    if isinstance(value, list):
        return [_bounded(item, left, depth - 1) for item in value[: max(left[0], 0)]]
    return {key[:200]: _bounded(item, left, depth - 1) for key, item in value.items() if left[0] > 0}


def _truncate(value: Any, most: Any = 80) -> str:
    text, most = text_of(value), _number(most, 80)
    return text if len(text) <= most else text[: max(most - 1, 0)].rstrip() + "…"


def _number(value: Any, otherwise: int) -> int:
    return max(0, min(value, LONGEST_VALUE)) if type(value) is int else otherwise


def _without(value: Any, head: Any) -> str:
    return text_of(value).removeprefix(text_of(head))


def _default(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None or value in ("", [], {}) else value


def _join(value: Any, between: Any = ", ") -> str:
    if not isinstance(value, list):
        return text_of(value)
    shown = [text_of(item)[:1000] for item in value[:MOST]]
    return text_of(between).join(filter(None, shown))[:LONGEST_VALUE]


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list | dict | str) else 0


def _first_line(value: Any) -> str:
    return next((line.strip() for line in text_of(value).splitlines() if line.strip()), "")


def _date(value: Any, form: Any = _USUAL_DATE) -> Any:
    """ISO 8601, or seconds or milliseconds since 1970, in UTC; what is no time stays as it is."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            when = datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        else:
            given = datetime.fromisoformat(text_of(value).strip())
            when = given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC)
        return when.strftime(text_of(form))
    except (ValueError, OverflowError, OSError):
        return value


def _code(value: Any, in_table: bool) -> Markup:
    return Markup(markup.code(_truncate(value, LONGEST_CODE), in_table=in_table))


def _indented(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    return orjson.dumps(_bounded(value, [_MOST_SHOWN], _DEEPEST), option=orjson.OPT_INDENT_2).decode()


def _date_fault(form: Any) -> str | None:
    bad = [sign for sign in re.findall(r"%(.?)", str(form)) if sign not in _DIRECTIVES or not sign]
    return f"no %{bad[0]}; it knows {' '.join(sorted(_DIRECTIVES))}" if bad else None


def _money(value: Any, currency: Any = "") -> Any:
    """An amount in the smallest unit of its currency, as Stripe tells it."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    code = text_of(currency).upper()[:3]
    decimals = 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2
    whole, part = divmod(abs(value), 10**decimals)
    amount = f"{whole:,}.{part:0{decimals}d}" if decimals else f"{whole:,}"
    return f"{'-' if value < 0 else ''}{amount} {code}".rstrip()


def _count_fault(most: Any) -> str | None:
    return None if type(most) is int and 0 < most <= LONGEST_VALUE else f"a number from 1 to {LONGEST_VALUE}"


def _text_fault(given: Any) -> str | None:
    return None if isinstance(given, str) else "a text in quotes"


FILTERS: Mapping[str, Filter] = {
    "upper": Filter(lambda value: text_of(value).upper()),
    "lower": Filter(lambda value: text_of(value).lower()),
    "truncate": Filter(_truncate, 0, 1, _count_fault),
    "start": Filter(lambda value, most: text_of(value)[: _number(most, 80)], 1, 1, _count_fault),
    "without": Filter(_without, 1, 1, _text_fault),
    "default": Filter(_default, 1, 1, paths=True),
    "date": Filter(_date, 0, 1, _date_fault),
    "money": Filter(_money, 0, 1, paths=True),
    "join": Filter(_join, 0, 1, _text_fault),
    "count": Filter(_count),
    "first_line": Filter(_first_line),
    "escape": Filter(lambda value: value),
    "lines": Filter(lambda value: Lines(text_of(value)), last=True),
    "code": Filter(lambda value: _code(value, False), last=True),
    "code_in_table": Filter(lambda value: _code(value, True), last=True),
    "block": Filter(lambda value: Markup(markup.block(_truncate(_indented(value), LONGEST_BLOCK))), last=True),
    "url": Filter(lambda value: Markup(markup.url(text_of(value))), last=True),
    "url_part": Filter(lambda value: Markup(markup.url_part(text_of(value))), last=True),
}


def filter_named(name: str, arguments: Sequence[Any | Path]) -> Filter:
    """Raises Fault when there is no such filter, or it does not take these arguments."""
    known = FILTERS.get(name)
    if known is None:
        raise Fault(f"there is no filter {name!r}")
    if not known.least <= len(arguments) <= known.most:
        counted = "no arguments" if not known.most else "one argument" if known.least else "at most one argument"
        raise Fault(f"the filter {name} takes {counted}")
    for given in arguments:
        if isinstance(given, Path):
            fault = None if known.paths else "a value that stands in the template"
        else:
            fault = known.fault(given)
        if fault:
            raise Fault(f"the filter {name} takes {fault}")
    return known
