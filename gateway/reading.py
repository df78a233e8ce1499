"""Reads what a request brings: bounded after decompression, and checked against the route's models."""

from __future__ import annotations

import re
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.web import Route
from kernel.errors import InvalidRequest, MalformedRequest, NotFound, TooLarge, Unsupported

_ID = re.compile(r"[\w.~-]{1,128}", re.ASCII)
_ENCODINGS = frozenset(("", "identity", "gzip", "deflate", "br", "zstd"))
_CHUNK = 1 << 18


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body, decompressed. Raises TooLarge as soon as it passes `limit` bytes.

    A broken one raises what aiohttp raises.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise Unsupported(f"the content encoding {encoding[:40]!r} is not supported")
    if (request.content_length or 0) > limit:
        raise TooLarge(f"a body of at most {limit} bytes is taken")
    if not request.body_exists:
        return b""
    request.content.set_read_chunk_size(_CHUNK)
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"a body of at most {limit} bytes is taken, counted after decompression")
    return bytes(body)


def parse_body(route: Route, request: web.Request, raw: bytes) -> Any:
    """The body as the route's model. Raises Unsupported, MalformedRequest and InvalidRequest."""
    if route.request is None:
        return None
    kind = request.content_type
    if raw and kind != "application/json" and not kind.endswith("+json"):
        raise Unsupported("the body has to be JSON, sent as application/json")
    try:
        data = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    if b"\\u0000" in raw:
        refuse_nul(data)
    return validated(route.request, data, "body")


def parse_query(route: Route, request: web.Request) -> Any:
    """The query string as the route's model. Raises InvalidRequest."""
    if route.query is None:
        return None
    refuse_nul(list(request.query.values()))
    return validated(route.query, dict(request.query), "query")


def parse_path(route: Route, request: web.Request) -> dict[str, str]:
    """The ids in the path. One that cannot be an id names nothing: raises NotFound."""
    for value in request.match_info.values():
        if not _ID.fullmatch(value):
            raise NotFound("there is no such thing")
    return dict(request.match_info)


def refuse_nul(value: Any) -> None:
    """Raises InvalidRequest when a text holds the character NUL, which the database cannot store."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest("a text may not hold the character NUL")
    elif isinstance(value, dict):
        for key, item in value.items():
            refuse_nul(key)
            refuse_nul(item)
    elif isinstance(value, list):
        for item in value:
            refuse_nul(item)


def validated(model: type[BaseModel], data: Any, root: str) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(error, root) from error


def invalid(error: ValidationError, root: str) -> InvalidRequest:
    details = [
        {"field": ".".join(map(str, fault["loc"])) or root, "message": fault["msg"]}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)[:20]
    ]
    return InvalidRequest("; ".join(f"{d['field']}: {d['message']}" for d in details[:3]), details=details)
