"""The document of this API, the same for people, and the front door."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from pathlib import Path
from typing import Any

from gateway.openapi import document
from gateway.web import Answer, Call, Route, dump
from kernel.types import Json

_FOLDER = Path(__file__).resolve().parent.parent


@cache
def _document() -> Json:
    from gateway.routes.table import ROUTES as every  # the table holds this module's routes too

    return document(every)


@cache
def _bytes() -> bytes:
    return dump(_document())


async def openapi(call: Call) -> Answer:
    return Answer(_bytes(), headers={"Cache-Control": "public, max-age=60"})


@cache
def _page() -> tuple[bytes, str]:
    """The page, and a policy that allows nothing but its own style sheet."""
    template = (_FOLDER / "docs.html").read_text(encoding="utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
    body = template.replace("<!-- contents -->", _contents(_document())).replace(
        "<!-- routes -->", _sections(_document())
    )
    return body.encode(), policy


async def docs(call: Call) -> Answer:
    body, policy = _page()
    return Answer(body, headers={"Content-Security-Policy": policy, "Cache-Control": "public, max-age=60"})


async def front(call: Call) -> Answer:
    return Answer(b"", status=302, headers={"Location": "/docs"})


def _contents(api: Json) -> str:
    return "".join(f'<li><a href="#{tag["name"]}">{tag["name"]}</a></li>' for tag in api["tags"])


def _sections(api: Json) -> str:
    found = []
    for tag in api["tags"]:
        rows = [
            _operation(path, method, operation, api)
            for path, methods in api["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        title = f'<h2 id="{tag["name"]}">{tag["name"]}</h2><p>{html.escape(tag["description"])}</p>'
        found.append(f"<section>{title}{''.join(rows)}</section>")
    return "".join(found)


def _operation(path: str, method: str, operation: Json, api: Json) -> str:
    head = (
        f'<summary><span class="method {method}">{method.upper()}</span> <code>{html.escape(path)}</code> '
        f"<span>{html.escape(operation['summary'])}</span></summary>"
    )
    parts = [f"<p>{html.escape(operation['description'])}</p>"] if "description" in operation else []
    parts.append(f'<p class="scope">Scope: <b>{operation["x-scope"]}</b></p>')
    if operation["parameters"]:
        parts.append(_table([(p["name"], p["in"], p.get("description", "")) for p in operation["parameters"]]))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body <small>{media}</small></h4>{_schema(content['schema'], api)}")
    for status, response in operation["responses"].items():
        content = next(iter(response.get("content", {}).values()), None)
        shown = _schema(content["schema"], api) if content and status < "400" else ""
        parts.append(f"<h4>{status} <small>{_ticks(response['description'])}</small></h4>{shown}")
    return f'<details id="{operation["operationId"]}">{head}{"".join(parts)}</details>'


def _ticks(text: str) -> str:
    """Backticks in a description become code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(
        f"<tr><td><code>{html.escape(a)}</code></td><td>{html.escape(b)}</td><td>{_ticks(c)}</td></tr>"
        for a, b, c in rows
    )
    return f"<table>{cells}</table>"


def _schema(schema: Json, api: Json) -> str:
    found = _resolve(schema, api)
    required = found.get("required", [])
    rows = [
        (name + ("" if name in required else "?"), _kind(field), str(field.get("description", "")))
        for name, field in found.get("properties", {}).items()
    ]
    return _table(rows) if rows else f"<p><code>{html.escape(_kind(schema))}</code></p>"


def _resolve(schema: Json, api: Json) -> Json:
    if "$ref" in schema:
        resolved: Json = api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return resolved
    return schema


def _kind(schema: Any) -> str:
    """A type in one word, as a reader would say it."""
    if not isinstance(schema, dict):
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " | ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(f'"{one}"' for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items'))}[]"
    return str(schema.get("format") or schema.get("type", "any"))


ROUTES = [
    Route("GET", "/", front, "public", "The front door", "health", media="text/html"),
    Route("GET", "/docs", docs, "public", "This API for people", "health", media="text/html"),
    Route("GET", "/openapi.json", openapi, "public", "This API as an OpenAPI 3.1 document", "health"),
]
