"""What a request carries: a JSON body, or a form with `payload_json` and `files[n]`."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.web_request import FileField

from simulators.discord.errors import ApiError, JsonObject, invalid, required


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart request."""

    name: str
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Params:
    """The body of one call, with the files that came along by the name of their part."""

    values: JsonObject
    files: dict[str, Upload] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def whole(self, name: str, default: int = 0) -> int:
        """An integer, or `default` when absent. Raises ApiError for what is no number."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        return number(name, value)

    def needed(self, name: str) -> Any:
        if not self.has(name):
            raise required(name)
        return self.values[name]


def number(path: str, value: Any) -> int:
    """An integer or a snowflake. Raises ApiError."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return int(value)
    except (TypeError, ValueError):
        raise invalid(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.') from None


def mapping(path: str, value: Any) -> JsonObject:
    """An object; none is an empty one. Raises ApiError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    return value


def listing(path: str, value: Any) -> list[Any]:
    """A list; none is an empty one. Raises ApiError for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    return value


async def read_params(request: web.Request) -> Params:
    """The body. Raises ApiError when it is no JSON object."""
    if not request.can_read_body:
        return Params({})
    if not request.content_type.startswith(("multipart/", "application/x-www-form-urlencoded")):
        return Params(json_object(await request.read()))
    values: JsonObject = {}
    files: dict[str, Upload] = {}
    for name, value in (await request.post()).items():
        if isinstance(value, FileField):
            files[name] = Upload(value.filename, value.content_type, value.file.read())
        elif isinstance(value, str):
            values[name] = value
    if "payload_json" in values:
        values = json_object(values["payload_json"].encode())
    return Params(values, files)


def json_object(body: bytes) -> JsonObject:
    """A JSON object; an empty body is an empty object, a list becomes the value of "". Raises ApiError otherwise."""
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    if isinstance(value, list):
        return {"": value}
    if not isinstance(value, dict):
        raise ApiError(400, 50035, "Invalid Form Body")
    return value
