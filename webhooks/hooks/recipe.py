"""What a hook makes of a call: which text, to whom, and under which name a repeat is known. Compiled when it is saved.

template  {"text": …} or {"cases": [{"when": condition, "text": …}, …]}, of which the first that fits counts; and, if
          wanted, {"ignore": condition, "dedupe": {"key": …, "seconds": …}}
target    {"user_id": …, "channel"?, "account_id"?}, {"conversation_id": …} or {"account_id": …, "chat": …, "thread"?};
          each may be a template
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from webhooks.hooks.conditions import Test, compile_condition
from webhooks.hooks.filters import LONGEST_VALUE
from webhooks.hooks.paths import Fault, Scope
from webhooks.hooks.template import Template, compile_template, render

LONGEST_TEXT = 8_000  # characters of a message
MOST_CASES = 40
_LONGEST_NAME = 200
_TARGETS = ({"user_id"}, {"conversation_id"}, {"account_id", "chat"})
_BESIDE = {"user_id": {"channel", "account_id"}, "conversation_id": set[str](), "chat": {"account_id", "thread"}}
_HIDDEN = ("authorization", "cookie", "signature", "token", "secret", "password", "api-key", "apikey")


@dataclass(frozen=True, slots=True)
class Recipe:
    cases: tuple[tuple[Test | None, Template], ...]
    ignore: Test | None
    key: Template | None
    seconds: int | None
    target: Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a hook. Header names in lower case; `now` in epoch seconds."""

    payload: Any
    headers: Mapping[str, str]
    now: float


@dataclass(frozen=True, slots=True)
class Message:
    """`key` is empty when the template names none; `seconds` is how long it counts, None for as long as it is known."""

    text: str
    target: Mapping[str, str]
    key: str
    seconds: int | None


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing is to be said of this call, and why."""

    reason: str
    key: str = ""
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Unusable:
    """The payload lacks what the target is made of."""

    field: str
    message: str


def compile_recipe(template: Mapping[str, Any], target: Mapping[str, Any]) -> Recipe:
    """Raises Fault, with the field at fault. Remembered by what was given."""
    try:
        given = orjson.dumps([template, target], option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise Fault("this is nested too deeply", "template") from None
    return _compiled(given)


@lru_cache(maxsize=512)
def _compiled(given: bytes) -> Recipe:
    template, target = orjson.loads(given)
    dedupe = template.get("dedupe") or {}
    return Recipe(
        cases=_cases(template),
        ignore=_under("template.ignore", compile_condition, template["ignore"]) if template.get("ignore") else None,
        key=_under("template.dedupe.key", _plain, dedupe["key"]) if dedupe else None,
        seconds=dedupe.get("seconds"),
        target=_target(target),
    )


def _cases(template: Mapping[str, Any]) -> tuple[tuple[Test | None, Template], ...]:
    cases = template.get("cases")
    if (cases is None) == (template.get("text") is None):
        raise Fault("either text or cases", "template")
    if cases is None:
        return ((None, _under("template.text", compile_template, template["text"])),)
    if not 1 <= len(cases) <= MOST_CASES:
        raise Fault(f"from 1 to {MOST_CASES} cases", "template.cases")
    return tuple(
        (
            _under(f"template.cases.{n}.when", compile_condition, case["when"]) if case.get("when") else None,
            _under(f"template.cases.{n}.text", compile_template, case["text"]),
        )
        for n, case in enumerate(cases)
    )


def _target(target: Mapping[str, Any]) -> Mapping[str, Template]:
    given = {name: text for name, text in target.items() if text is not None}
    for needed in _TARGETS:
        lead = "chat" if "chat" in needed else next(iter(needed))
        if needed <= given.keys() and given.keys() <= needed | _BESIDE[lead]:
            return {name: _under(f"target.{name}", _plain, text) for name, text in given.items()}
    allowed = "user_id (with channel or account_id), or conversation_id, or account_id and chat (with thread)"
    raise Fault(f"either {allowed}", "target")


def _plain(source: str) -> Template:
    return compile_template(source, markdown=False)


def _under(field: str, compiled: Any, given: Any) -> Any:
    try:
        return compiled(given)
    except Fault as fault:
        raise fault.under(field) from None


def scope_of(call: Call) -> Scope:
    """What templates see: the payload, `$header` without what may prove something, and `$now`."""
    headers = {name: text for name, text in call.headers.items() if not any(part in name for part in _HIDDEN)}
    return Scope(call.payload, {"$header": headers, "$now": call.now})


def apply(recipe: Recipe, call: Call) -> Message | Passed | Unusable:
    """Pure, and raises nothing."""
    scope = scope_of(call)
    key = short_name(render(recipe.key, scope, LONGEST_VALUE)) if recipe.key else ""
    if recipe.ignore and recipe.ignore(scope):
        return Passed("the condition for ignoring it holds", key, recipe.seconds)
    found = next((text for when, text in recipe.cases if when is None or when(scope)), None)
    if found is None:
        return Passed("none of the cases fits", key, recipe.seconds)
    text = render(found, scope, LONGEST_TEXT)
    if not text:
        return Passed("the text is empty", key, recipe.seconds)
    target = {name: render(made, scope, _LONGEST_NAME) for name, made in recipe.target.items()}
    for name, value in target.items():
        if not value and name not in ("channel", "thread"):
            return Unusable(f"target.{name}", "the payload lacks what the target is made of")
    return Message(text, {name: value for name, value in target.items() if value}, key, recipe.seconds)


def short_name(text: str) -> str:
    """As it is when it is short; otherwise a hash of it, which is as good for telling repeats."""
    if len(text) <= _LONGEST_NAME:
        return text
    return "blake2b:" + hashlib.blake2b(text.encode(), digest_size=24).hexdigest()
