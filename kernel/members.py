"""Members of an event's `data`, each a JSON Schema and an example; a type's schema and example are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = "01a1b2c3d4e5f60718293a4b5c6d7e8f"


@dataclass(frozen=True, slots=True)
class Member:
    """`schema` with its description, `example`, and whether each event of the type has it."""

    schema: Schema
    example: Any
    required: bool = True


def text(description: str, example: str, **constraints: Any) -> Member:
    return Member({"type": "string", "description": description, **constraints}, example)


def identifier(prefix: str, description: str) -> Member:
    return text(description, f"{prefix}_{_ID}", pattern=f"^{prefix}_[0-9A-Za-z_]+$")


def number(description: str, example: int, minimum: int = 0, **constraints: Any) -> Member:
    return Member({"type": "integer", "description": description, "minimum": minimum, **constraints}, example)


def moment(description: str) -> Member:
    return text(description, "2026-11-21T09:30:00.000+00:00", format="date-time")


def one_of(description: str, *values: str | int, example: str | int | None = None) -> Member:
    schema: Schema = {"description": description, "enum": list(values)}
    return Member(schema, values[0] if example is None else example)


def record(description: str, members: Mapping[str, Member]) -> Member:
    return Member({"description": description, **_object(members)}, _example(members))


def anything(description: str, example: Mapping[str, Any]) -> Member:
    """An object of which no more is promised."""
    return Member({"type": "object", "description": description}, dict(example))


def several(of: Member, description: str, example: Sequence[Any] | None = None) -> Member:
    schema: Schema = {"type": "array", "description": description, "items": of.schema}
    return Member(schema, [of.example] if example is None else list(example))


def nullable(member: Member) -> Member:
    """The member, or null."""
    schema = dict(member.schema)
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    else:
        schema["type"] = [schema["type"], "null"]
    return replace(member, schema=schema)


def optional(member: Member) -> Member:
    """The member, or nothing."""
    return replace(member, required=False)


def like(member: Member, example: Any) -> Member:
    return replace(member, example=example)


def schema_of(description: str, members: Mapping[str, Member]) -> Schema:
    """The JSON Schema of an event's `data`. Members may be added to it at any time: readers pass over unknown ones."""
    return {"$schema": DIALECT, "description": description, **_object(members)}


def example_of(members: Mapping[str, Member]) -> Schema:
    return _example(members)


def _object(members: Mapping[str, Member]) -> Schema:
    return {
        "type": "object",
        "properties": {name: member.schema for name, member in members.items()},
        "required": [name for name, member in members.items() if member.required],
    }


def _example(members: Mapping[str, Member]) -> Schema:
    return {name: member.example for name, member in members.items()}
