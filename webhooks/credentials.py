"""Credentials of an endpoint as they are given: what is wrong with them, and what of them may be shown again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from kernel.types import Json
from webhooks import headers, tls
from webhooks.options import Tls
from webhooks.urls import Rules, url_fault

Faults = Iterator[tuple[str, str]]
_Check = Callable[[object], str | None]
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")  # RFC 6749 3.3
_MOST_SCOPES = 32


def _text(most: int, *, least: int = 1, pattern: str = r"[^\x00-\x1f\x7f]*") -> _Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str) or not least <= len(value) <= most or not re.fullmatch(pattern, value):
            return (
                f"a text of {least} to {most} characters, without control characters or others that cannot stand here"
            )
        return None

    return check


def _scopes(value: Any) -> str | None:
    good = isinstance(value, list | tuple) and all(isinstance(item, str) and _SCOPE.fullmatch(item) for item in value)
    if not good or len(value) > _MOST_SCOPES:
        return f"a list of at most {_MOST_SCOPES} scopes, each without blanks"
    return None


def _client_auth(value: object) -> str | None:
    return None if value in ("basic", "body") else "either basic or body"


# By kind: what has to be given, and what may be.
_KINDS: Mapping[str, tuple[Mapping[str, _Check], Mapping[str, _Check]]] = {
    "basic": (
        {"username": _text(255, least=0, pattern=r"[^\x00-\x1f\x7f:]*"), "password": _text(1_024, least=0)},
        {},
    ),
    "bearer": ({"token": _text(4_096, pattern=r"[\x21-\x7e]+")}, {}),
    "oauth2": (
        {"token_url": lambda _: None, "client_id": _text(255), "client_secret": _text(1_024)},
        {"scopes": _scopes, "audience": _text(500, least=0), "client_auth": _client_auth},
    ),
}


def auth_faults(auth: object, rules: Rules) -> Faults:
    """What is wrong with `auth`, with the name of the member that is at fault, '' for all of it."""
    if auth is None:
        return
    kind = str(auth.get("kind")) if isinstance(auth, Mapping) else ""
    if not isinstance(auth, Mapping) or kind not in _KINDS:
        yield "", f"an object whose kind is one of {', '.join(_KINDS)}"
        return
    needed, possible = _KINDS[kind]
    for name in auth.keys() - {"kind"} - needed.keys() - possible.keys():
        yield name, f"there is no such field for the kind {kind}"
    for name in needed.keys() - auth.keys():
        yield name, f"the kind {kind} needs it"
    for name, check in {**needed, **possible}.items():
        if name in auth and (fault := check(auth[name])):
            yield name, fault
    if "token_url" in auth and (fault := url_fault(auth["token_url"], rules.allow, https_only=rules.https_only)):
        yield "token_url", fault


def tls_faults(given: object, url: str) -> Faults:
    """What is wrong with `tls`, as above."""
    if given is None:
        return
    names = ("certificate", "key", "ca")
    if not isinstance(given, Mapping) or not given.keys() <= set(names) or not any(given.values()):
        yield "", f"an object of PEM texts: {', '.join(names)}"
    elif not all(isinstance(value, str) for value in given.values()):
        yield "", "PEM texts"
    elif not url.lower().startswith("https:"):
        yield "", "a certificate needs an https URL"
    elif fault := tls.fault(Tls(**given), datetime.now(UTC)):
        yield fault


def header_faults(given: object, auth: object) -> Faults:
    """What is wrong with `headers`, as above."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        yield "", "an object of names and values"
        return
    yield from headers.faults(given)
    if auth is not None:
        yield from ((name, "auth is set as well") for name in given if name.lower() == "authorization")


def shown(options: Mapping[str, Any]) -> Json:
    """What of an endpoint's sealed options may be shown: names, who logs in, whose certificate; no secret."""
    auth, own = options.get("auth"), options.get("tls")
    return {
        "headers": {name: headers.masked(name, value) for name, value in (options.get("headers") or {}).items()},
        "auth": {k: v for k, v in auth.items() if k not in ("password", "token", "client_secret")} if auth else None,
        "tls": tls.shown(Tls(**own)) if own else None,
    }
