"""What a bot of each kind and mode is known by, as the channels' rows tell it, checked as it comes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from channels.table import CHANNELS
from kernel.errors import InvalidRequest
from kernel.platform import Credential, Mode
from kernel.types import Json

KINDS = tuple(kind for kind, channel in CHANNELS.items() if channel.modes)
_TELLS = "What the bot of this kind and mode is known by"


def _known() -> Iterator[Credential]:
    return (c for kind in KINDS for mode in CHANNELS[kind].modes.values() for c in mode.credentials)


def _schema() -> Json:
    return {
        "type": "object",
        "description": f"{_TELLS}: {'; '.join(_told())}",
        "properties": {c.name: {"type": "string", "pattern": c.pattern} for c in _known()},
        "additionalProperties": False,
    }


def _told() -> Iterator[str]:
    for kind in KINDS:
        for name, mode in CHANNELS[kind].modes.items():
            if needed := [c.name for c in mode.credentials if c.required]:
                yield f"{kind} ({name}) {', '.join(needed + [' and '.join(group) for group in mode.one_of[:1]])}"


def _channel(kind: str) -> str:
    if kind not in CHANNELS:
        raise ValueError(f"one of {', '.join(CHANNELS)}")
    return kind


Kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(KINDS)})]
AnyChannel = Annotated[str, AfterValidator(_channel), WithJsonSchema({"type": "string", "enum": list(CHANNELS)})]
Credentials = Annotated[dict[str, str | None], WithJsonSchema(_schema())]


def mode_of(kind: str, name: str) -> Mode:
    """Raises InvalidRequest."""
    if kind not in KINDS:
        raise fault("kind", f"one of {', '.join(KINDS)}")
    mode = CHANNELS[kind].modes.get(name)
    if mode is None:
        raise fault("mode", f"{kind} knows the modes {', '.join(CHANNELS[kind].modes)}")
    return mode


def checked(kind: str, name: str, given: Mapping[str, Any]) -> Json:
    """What was given, without what is null. Raises InvalidRequest for what is missing, wrong or means nothing here."""
    mode, here = mode_of(kind, name), f"{kind} in {name} mode"
    found = {key: value for key, value in given.items() if value is not None}
    known = {c.name: c for c in mode.credentials}
    for key, value in found.items():
        if key not in known:
            raise fault(f"credentials.{key[:100]}", f"{here} has no use for it")
        if not re.fullmatch(known[key].pattern, value, re.ASCII):
            raise fault(f"credentials.{key}", f"this is not what it looks like; it matches {known[key].pattern}")
    for c in mode.credentials:
        if c.required and c.name not in found:
            raise fault(f"credentials.{c.name}", f"{here} needs it")
    if mode.one_of and not any(set(group) <= found.keys() for group in mode.one_of):
        ways = ", or ".join(" and ".join(group) for group in mode.one_of)
        raise fault(f"credentials.{mode.one_of[0][0]}", f"{here} needs {ways}")
    return found


def fault(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", details=[{"field": field, "message": message}])
