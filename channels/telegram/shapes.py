"""Reading Telegram's objects: what is not of the documented shape is a ValueError."""

from __future__ import annotations

from typing import Any

from kernel.types import Json, Sender


def sender(user: Json) -> Sender:
    name = f"{word(user, 'first_name')} {word(user, 'last_name')}".strip()
    return Sender(str(integer(user, "id")), name, word(user, "username"), word(user, "language_code"))


def storable(text: str) -> str:
    """The text without what Postgres cannot hold: NUL characters and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def word(user: Json, key: str) -> str:
    value = user.get(key)
    return storable(value) if isinstance(value, str) else ""


def seconds(date: Any) -> float:
    return float(date) if is_int(date) and 0 <= date < 1 << 53 else 0.0


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def integer(parent: Json, key: str) -> int:
    value = parent.get(key)
    if type(value) is not int:
        raise ValueError(f"{key} must be an integer")
    return value


def integer_or_none(parent: Json, key: str) -> int | None:
    return integer(parent, key) if key in parent else None


def object_of(parent: Json, key: str) -> Json:
    value = parent.get(key)
    if type(value) is not dict:
        raise ValueError(f"{key} must be an object")
    return value
