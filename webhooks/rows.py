"""An endpoint as a row of `webhooks`, and as it is asked for and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel.secrets import KeyRing
from kernel.types import Json
from webhooks.conditions import compile_condition
from webhooks.credentials import shown
from webhooks.fields import DEFAULTS
from webhooks.options import seal_json

OPTIONS = ("headers", "auth", "tls")
_PLAIN = (
    "uid", "url", "events", "description", "metadata", "schedule", "schedules", "max_in_flight", "payload_mode",
    "redact", "channels", "condition", "signing", "ordering", "on_stuck",
)  # fmt: skip
COLUMNS = (
    *_PLAIN, "timeout_seconds", "rate_count", "rate_seconds", "condition_path", "sealed_options", "shown",
)  # fmt: skip
SEES = (
    ", ".join(
        f"w.{name}" for name in ("webhook_id", *COLUMNS, "status", "disabled_reason", "created_at", "updated_at")
    ).replace("w.condition_path, ", "")
    + ", coalesce(h.failing_since, w.failing_since) AS failing_since, h.open_until AS paused_until"
)
FROM = "webhooks w LEFT JOIN webhook_health h USING (workspace_id, webhook_id)"


def view_of(row: Mapping[str, Any]) -> Json:
    plain = {name: row[name] for name in ("webhook_id", *_PLAIN)}
    rate = {"count": row["rate_count"], "seconds": row["rate_seconds"]} if row["rate_count"] else None
    return {
        **plain,
        **{name: row["shown"].get(name, DEFAULTS[name]) for name in OPTIONS},
        "timeout_seconds": round(row["timeout_seconds"], 3),
        "rate_limit": rate,
        **{
            name: row[name]
            for name in ("status", "disabled_reason", "failing_since", "paused_until", "created_at", "updated_at")
        },
    }


def state_of(row: Mapping[str, Any], options: Json) -> Json:
    """An endpoint as it would be asked for."""
    view = view_of(row)
    return {**{name: view[name] for name in ("url", *DEFAULTS)}, **{n: options.get(n, DEFAULTS[n]) for n in OPTIONS}}


def slots(names: Sequence[str], first: int = 1) -> str:
    return ", ".join(f"${n}{'::text::jsonpath' * (name == 'condition_path')}" for n, name in enumerate(names, first))


def values_of(wanted: Json, keyring: KeyRing, workspace_id: str, webhook_id: str) -> list[Any]:
    """In the order of `COLUMNS`."""
    options = {name: wanted[name] for name in OPTIONS}
    rate, condition = wanted["rate_limit"] or {}, wanted["condition"]
    return [
        *(wanted[name] for name in _PLAIN),
        wanted["timeout_seconds"],
        rate.get("count"),
        rate.get("seconds", 1),
        None if condition is None else compile_condition(condition),
        seal_json(keyring, workspace_id, webhook_id, options),
        shown(options),
    ]
