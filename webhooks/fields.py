"""What may be said of an endpoint: every field, what it is unless something is said, and what is wrong with a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from kernel.events import pattern_fault
from kernel.types import Json
from webhooks import conditions
from webhooks.credentials import auth_faults, header_faults, tls_faults
from webhooks.urls import Rules, split_credentials, url_fault

MAX_PATTERNS, MAX_DESCRIPTION = 64, 500
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 50, 64, 500
MAX_TRIES, LONGEST_PAUSE, LONGEST_SCHEDULE, MAX_SCHEDULES = 30, 172_800, 604_800, 32
MAX_RATE, MAX_RATE_SECONDS, MAX_IN_FLIGHT = 100_000, 3_600, 1_000
MAX_CHANNELS, MAX_REDACT, MAX_CONDITION = 50, 64, 16_384
SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 1, 30
_LONGEST_NAME, _MOST_FAULTS = 200, 50
UID = r"^[A-Za-z0-9._-]{1,128}$"
CHANNEL = r"^[A-Za-z0-9._:-]{1,128}$"

# A field that is set to null goes back to this. `url` and `status` have nothing to go back to.
DEFAULTS: Mapping[str, Any] = {
    "events": ["*"],
    "description": "",
    "uid": None,
    "metadata": {},
    "headers": {},
    "auth": None,
    "tls": None,
    "timeout_seconds": 15.0,
    "schedule": None,
    "schedules": {},
    "rate_limit": None,
    "max_in_flight": None,
    "payload_mode": "full",
    "redact": [],
    "channels": None,
    "condition": None,
    "signing": "v1",
    "ordering": "none",
    "on_stuck": "block",
}
_KNOWN = {"url", "status", *DEFAULTS}
_MERGED = ("metadata", "headers")
_CHOICES = {
    "status": ("enabled", "disabled"),
    "payload_mode": ("full", "thin", "redacted"),
    "signing": ("v1", "v1a", "v1+v1a"),
    "ordering": ("none", "conversation"),
    "on_stuck": ("block", "skip"),
}
Faults = Iterator[tuple[str, str]]


def merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    """What an endpoint is to be after a change. null takes a field back to its default.

    `metadata` and `headers` are merged member by member, in which null removes one (RFC 7396); a header's name is found
    in whatever case. A user name and password in the URL become `auth`, unless another Authorization is set.
    """
    wanted = {**DEFAULTS, **current}
    for name, value in changes.items():
        if name in _MERGED and isinstance(value, Mapping):
            wanted[name] = _merge(wanted[name], value, fold=name == "headers")
        else:
            wanted[name] = DEFAULTS.get(name) if value is None else value
    if wanted["payload_mode"] != "redacted" and "redact" not in changes:
        wanted["redact"] = []
    if isinstance(wanted["rate_limit"], Mapping):
        wanted["rate_limit"] = {"seconds": 1, **wanted["rate_limit"]}
    return _without_credentials(wanted, changes)


def _merge(current: Mapping[str, Any], change: Mapping[str, Any], *, fold: bool) -> Json:
    gone = {name.lower() if fold else name for name in change}
    kept = {name: value for name, value in current.items() if (name.lower() if fold else name) not in gone}
    return {**kept, **{name: value for name, value in change.items() if value is not None}}


def _without_credentials(wanted: Json, changes: Mapping[str, Any]) -> Json:
    if not isinstance(wanted.get("url"), str) or "@" not in wanted["url"]:
        return wanted
    url, found = split_credentials(wanted["url"])
    headers = wanted["headers"] if isinstance(wanted["headers"], Mapping) else {}
    auth = wanted["auth"]
    other = auth is not None and (changes.get("auth") or not isinstance(auth, Mapping) or auth.get("kind") != "basic")
    if found and not other and "authorization" not in {str(name).lower() for name in headers}:
        wanted["auth"] = {"kind": "basic", "username": found[0], "password": found[1]}
    return {**wanted, "url": url}


def faults(wanted: Mapping[str, Any], changes: Mapping[str, Any], rules: Rules) -> list[Json]:
    """Everything that is wrong with an endpoint as it is to be, each with its field. `changes` is what was asked.

    What is not asked for was judged when it was: rules that became stricter, or a certificate that ended, are no
    obstacle to changing something else.
    """
    found: list[tuple[str, str]] = [(name, "there is no such field") for name in changes if name not in _KNOWN]
    new_url = "url" in changes or not isinstance(wanted.get("url"), str)
    if new_url and (fault := url_fault(wanted.get("url"), rules.allow, https_only=rules.https_only)):
        found.append(("url", fault))
    for name, choices in _CHOICES.items():
        if name in changes and wanted[name] not in choices:
            found.append((name, f"one of {', '.join(choices)}"))
    for name, check in _CHECKS.items():
        found += _under(name, check(wanted[name])) if name in changes else ()
    if new_url or {"headers", "auth", "tls"} & changes.keys():
        url = wanted["url"] if isinstance(wanted.get("url"), str) else ""
        found += _under("headers", header_faults(wanted["headers"], wanted["auth"]))
        found += _under("auth", auth_faults(wanted["auth"], rules))
        found += _under("tls", tls_faults(wanted["tls"], url))
    if changes.get("redact") and wanted["payload_mode"] != "redacted":
        found.append(("redact", "takes effect with payload_mode redacted only"))
    return [{"field": field[:_LONGEST_NAME], "message": message} for field, message in found[:_MOST_FAULTS]]


def _under(name: str, found: Faults) -> list[tuple[str, str]]:
    return [(f"{name}.{inner}" if inner else name, text) for inner, text in found]


def _events(value: Any) -> Faults:
    if not isinstance(value, list | tuple) or not all(isinstance(pattern, str) for pattern in value):
        yield "", "a list of event types or patterns"
    elif not 1 <= len(value) <= MAX_PATTERNS:
        yield "", f"at least one and at most {MAX_PATTERNS} event types or patterns; null or ['*'] stands for all"
    else:
        yield from (("", fault) for fault in map(_pattern_fault, value) if fault)


def _pattern_fault(pattern: str) -> str | None:
    return pattern_fault(pattern) if len(pattern) <= _LONGEST_NAME else "too long for an event type or pattern"


def _description(value: Any) -> Faults:
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION:
        yield "", f"a text of at most {MAX_DESCRIPTION} characters"


def _uid(value: Any) -> Faults:
    if value is not None and not (isinstance(value, str) and re.fullmatch(UID, value)):
        yield "", "1 to 128 letters, digits, dots, hyphens and underscores"


def _metadata(value: Any) -> Faults:
    if not isinstance(value, Mapping) or len(value) > MAX_METADATA:
        yield "", f"an object of at most {MAX_METADATA} texts"
        return
    for name, text in value.items():
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_METADATA_KEY:
            yield "", f"names of 1 to {MAX_METADATA_KEY} characters"
        elif not isinstance(text, str) or len(text) > MAX_METADATA_VALUE:
            yield name, f"a text of at most {MAX_METADATA_VALUE} characters"


def _timeout(value: Any) -> Faults:
    if not _number(value) or not SHORTEST_TIMEOUT <= value <= LONGEST_TIMEOUT:
        yield "", f"{SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT} seconds"


def _schedule(value: Any) -> Faults:
    if value is None:
        return
    if not isinstance(value, list | tuple) or len(value) > MAX_TRIES:
        yield "", f"a list of at most {MAX_TRIES} whole numbers: seconds between tries"
    elif not all(_whole(n, LONGEST_PAUSE) for n in value) or sum(value) > LONGEST_SCHEDULE:
        yield "", f"pauses of 1 to {LONGEST_PAUSE} seconds, in whole numbers, in all at most {LONGEST_SCHEDULE}"


def _schedules(value: Any) -> Faults:
    if not isinstance(value, Mapping) or len(value) > MAX_SCHEDULES:
        yield "", f"an object of at most {MAX_SCHEDULES} schedules by event type or pattern"
        return
    for pattern, schedule in value.items():
        fault = _pattern_fault(pattern) if isinstance(pattern, str) else "an event type or pattern"
        if fault or schedule is None:
            yield str(pattern), fault or "a list"
        else:
            yield from ((str(pattern), text) for _, text in _schedule(schedule))


def _rate_limit(value: Any) -> Faults:
    if value is None:
        return
    if not isinstance(value, Mapping) or not {"count"} <= value.keys() <= {"count", "seconds"}:
        yield "", 'an object {"count": …, "seconds": …}'
        return
    for name, most in (("count", MAX_RATE), ("seconds", MAX_RATE_SECONDS)):
        if not _whole(value.get(name, 1), most):
            yield name, f"a whole number from 1 to {most}"


def _in_flight(value: Any) -> Faults:
    if value is not None and not _whole(value, MAX_IN_FLIGHT):
        yield "", f"a whole number from 1 to {MAX_IN_FLIGHT}"


def _redact(value: Any) -> Faults:
    path = re.compile(r"[^.\x00-\x1f]{1,100}(\.[^.\x00-\x1f]{1,100}){0,9}")
    if not isinstance(value, list | tuple) or len(value) > MAX_REDACT:
        yield "", f"a list of at most {MAX_REDACT} paths"
    elif not all(isinstance(item, str) and path.fullmatch(item) for item in value):
        yield "", "paths of names, like citations.quote"


def _channels(value: Any) -> Faults:
    if value is None:
        return
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_CHANNELS:
        yield "", f"at least one and at most {MAX_CHANNELS} channels; null stands for all"
    elif not all(isinstance(item, str) and re.fullmatch(CHANNEL, item) for item in value):
        yield "", "kinds of channels, ids of accounts or of conversations"


def _condition(value: Any) -> Faults:
    if value is None:
        return
    try:
        conditions.compile_condition(value)
        if len(orjson.dumps(value)) > MAX_CONDITION:
            yield "", f"at most {MAX_CONDITION} bytes of JSON"
    except conditions.ConditionFault as fault:
        yield fault.where, fault.message


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


_CHECKS: Mapping[str, Callable[[Any], Faults]] = {
    "events": _events,
    "description": _description,
    "uid": _uid,
    "metadata": _metadata,
    "timeout_seconds": _timeout,
    "schedule": _schedule,
    "schedules": _schedules,
    "rate_limit": _rate_limit,
    "max_in_flight": _in_flight,
    "redact": _redact,
    "channels": _channels,
    "condition": _condition,
}
