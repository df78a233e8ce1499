"""The templates that come along, as data: `shipped/*.toml`, each with calls as the system documents them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from kernel.types import Json
from webhooks.hooks.verify import Kind

_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True, slots=True)
class Sample:
    """A call: its headers, in lower case, and its payload."""

    headers: Mapping[str, str]
    payload: Any


@dataclass(frozen=True, slots=True)
class Example:
    name: str
    title: str
    verify: Kind
    template: Json
    samples: Mapping[str, Sample]


@lru_cache(maxsize=1)
def examples() -> Mapping[str, Example]:
    """By name, in order."""
    return {path.stem: _read(path) for path in sorted(_SHIPPED.glob("*.toml"))}


def _read(path: Path) -> Example:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    samples = {name: _sample(f"{path.stem}.{name}") for name in told["samples"]}
    return Example(path.stem, told["title"], told["verify"], told["template"], samples)


def _sample(name: str) -> Sample:
    told = orjson.loads((_SHIPPED / "samples" / f"{name}.json").read_bytes())
    return Sample(told["headers"], told["payload"])
