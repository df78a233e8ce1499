"""Every event that a test causes is held against the catalogue, at the end of its workspace's life.

Tests of deliveries publish events of their own making, with any data; there it is the engine's own that are checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

import asyncpg
import orjson
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from kernel.catalogue import EVENT_TYPES
from kernel.members import Schema

FORMATS = FormatChecker(formats=())


def _is_moment(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


FORMATS.checks("date-time")(_is_moment)


def closed(schema: Any) -> Any:
    """The schema with no members but those that it names: readers pass over others, but we tell of what we send."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return {**inner, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


def validator(schema: Schema) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)


_VALIDATORS = {name: validator(closed(kind.schema)) for name, kind in EVENT_TYPES.items()}


def data_faults(event_type: str, data: Any) -> list[str]:
    """Where data differs from what the catalogue says of its type."""
    if event_type not in _VALIDATORS:
        return [f"{event_type}: there is no such type"]
    return [f"{event_type}: {error.json_path}: {error.message}" for error in _VALIDATORS[event_type].iter_errors(data)]


def event_faults(event: Any, made_up: Collection[str] = ()) -> list[str]:
    """Where a whole event differs from its shape; of types that are made up no more than the shape is looked at."""
    if not isinstance(event, dict) or list(event) != ["id", "type", "timestamp", "workspace_id", "data"]:
        return [f"no event: {event!r}"]
    if not (event["id"].startswith("evt_") and event["timestamp"].endswith("Z") and _is_moment(event["timestamp"])):
        return [f"{event['type']}: {event['id']}, {event['timestamp']}"]
    return [] if event["type"] in made_up else data_faults(event["type"], event["data"])


def made_up_events(module: str) -> set[str]:
    """The types of which this module's tests publish events of their own making."""
    if not re.search(r"\.test_(webhook|portal|chaos_webhooks)", module):
        return set()
    return {name for name in EVENT_TYPES if not name.startswith(("webhook.", "delivery."))}


async def check_events(
    conn: asyncpg.Connection[Any], workspace_id: str | None = None, made_up: Collection[str] = ()
) -> None:
    """Fails the test for events, of this workspace or of all, that are not as the catalogue says."""
    bodies = await conn.fetch(
        "SELECT body FROM events WHERE ($1::text IS NULL OR workspace_id = $1) AND expunged_at IS NULL", workspace_id
    )
    faults = {fault for row in bodies for fault in event_faults(orjson.loads(row["body"]), made_up)}
    if faults:
        pytest.fail("events that are not as kernel/catalogue.py says:\n" + "\n".join(sorted(faults)[:20]), False)
