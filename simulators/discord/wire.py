"""How Discord writes values down."""

import json
from datetime import UTC, datetime
from typing import Any


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8; lone surrogates, which people can type, stay as escapes."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def stamp(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
