"""Reading Discord's JSON: every field as what it has to be, or ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.types import Json, Sender


def an_object(parent: Mapping[str, Any], key: str) -> Json:
    value = parent.get(key)
    if type(value) is not dict:
        raise ValueError(f"{key} must be an object")
    return value


def objects(parent: Mapping[str, Any], key: str) -> list[Json]:
    """A list of objects; empty when absent or null."""
    value = parent.get(key)
    if value is None:
        return []
    if type(value) is not list or any(type(item) is not dict for item in value):
        raise ValueError(f"{key} must be a list of objects")
    return value


def snowflake(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    if type(value) is not str or not _is_snowflake(value):
        raise ValueError(f"{key} must be a snowflake")
    return value


def snowflake_or_none(parent: Mapping[str, Any], key: str) -> str | None:
    return None if parent.get(key) is None else snowflake(parent, key)


def _is_snowflake(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 20


def whole(parent: Mapping[str, Any], key: str) -> int:
    value = parent.get(key)
    if type(value) is not int:
        raise ValueError(f"{key} must be an integer")
    return value


def word(parent: Mapping[str, Any], key: str) -> str:
    """A text, without what Postgres cannot hold; empty when there is none."""
    value = parent.get(key)
    return storable(value) if isinstance(value, str) else ""


def storable(text: str) -> str:
    """The text without NUL characters and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def sender(user: Json, member: Mapping[str, Any] | None = None, language: str = "") -> Sender:
    """A person under the name that others see: the server's nickname, the display name or the user name."""
    username = word(user, "username")
    name = (word(member, "nick") if member else "") or word(user, "global_name") or username
    return Sender(snowflake(user, "id"), name, username, language)
