"""Files that we send people: what may be sent, under which name and kind, and what the outbox is told of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, count
from pathlib import PurePosixPath

from kernel.ids import new_id
from kernel.types import OutgoingFile, Unit
from pipeline.files.kinds import kind_of
from pipeline.files.reading import MOST

MOST_FILES = 5  # of one message
# Kinds that the bytes alone do not tell apart: there the sender is believed.
_VAGUE = frozenset(("application/octet-stream", "application/zip", "text/plain"))


def fault_of(name: str, data: bytes) -> str:
    """Why this is not sent, but for its size; empty when it may be."""
    if not data:
        return "it is empty"
    return "programs are not sent" if kind_of(name, data).reading == "refused" else ""


def is_too_large(data: bytes) -> bool:
    return len(data) > MOST


def mime_of(name: str, data: bytes, claimed: str) -> str:
    """What the bytes are, or `claimed` where they leave that open."""
    found = kind_of(name, data).mime
    return claimed if claimed and found in _VAGUE else found


def apart(names: Iterable[str]) -> list[str]:
    """The names, no two alike: a person could not tell the files apart, nor could who looks for one that was sent."""
    given: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        tries = chain([name], (f"{path.stem} ({n}){path.suffix}" for n in count(2)))
        free = next(one for one in tries if one.casefold() not in given)
        given[free.casefold()] = free
    return list(given.values())


def named(files: Iterable[OutgoingFile]) -> dict[str, OutgoingFile]:
    """The files by new ids, which sort in their order."""
    first = new_id("att")
    return {f"{first}_{n}": file for n, file in enumerate(files)}


def units(files: Mapping[str, OutgoingFile]) -> list[Unit]:
    """What the outbox holds of each: where it is and what it is called, not its bytes."""
    return [_unit(attachment_id, file) for attachment_id, file in files.items()]


def _unit(attachment_id: str, file: OutgoingFile) -> Unit:
    payload = {"attachment_id": attachment_id, "name": file.name, "mime": file.mime}
    return Unit(payload | ({"caption": file.caption} if file.caption else {}), file.name)
