"""Web API arguments: query string, form or JSON (in forms, structures are JSON in strings). All read the same here."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.web_request import FileField

from simulators.slack.errors import SlackError


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart request."""

    name: str
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Params:
    """The arguments of one call, with the files that came along."""

    values: dict[str, Any]
    files: list[Upload] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def whole(self, name: str, default: int = 0) -> int:
        """An integer, or `default` when absent or not a number."""
        value = self.values.get(name)
        try:
            return default if value in (None, "") else int(value)
        except (TypeError, ValueError):
            return default

    def flag(self, name: str) -> bool:
        return str(self.values.get(name, "")).lower() in ("true", "1")

    def parsed(self, name: str, error: str) -> Any:
        """A structure, given as such or as its JSON; None when absent. Raises SlackError(error) on bad JSON."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise SlackError(error) from None

    def names(self, name: str) -> list[str]:
        """A list, or names with commas between them."""
        value = self.values.get(name)
        if isinstance(value, list):
            return [str(one) for one in value]
        return [one.strip() for one in self.text(name).split(",") if one.strip()]


async def read_params(request: web.Request) -> Params:
    """Query string, then body (JSON, urlencoded or multipart); the body wins. Raises SlackError."""
    values: dict[str, Any] = dict(request.query) if request.query_string else {}
    files: list[Upload] = []
    if request.can_read_body:
        if request.content_type == "application/json":
            values |= json_object(await request.read())
        elif request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
            for name, value in (await request.post()).items():
                if isinstance(value, FileField):
                    files.append(Upload(value.filename, value.content_type, value.file.read()))
                elif isinstance(value, str):
                    values[name] = value
    return Params(values, files)


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object from a body; empty bodies are empty objects. Raises SlackError otherwise."""
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise SlackError("invalid_json") from None
    if not isinstance(value, dict):
        raise SlackError("json_not_object")
    return value
