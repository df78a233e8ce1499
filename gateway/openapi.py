"""The OpenAPI 3.1 document, made from the route table and the models' JSON schemas (both are JSON Schema 2020-12).

Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.idempotency import HEADER, REPLAYED
from gateway.requests import Internal
from gateway.web import Route
from kernel import errors
from kernel.errors import ParleyError
from kernel.types import Json

_SHOWN = ("/api/", "/health/", "/metrics", "/channels/", "/hooks/", "/widget")
_REF = "#/components/schemas/{model}"
Names = dict[tuple[type[BaseModel], str], str]

_TAGS = {
    "ask": "Answers from the workspace's knowledge",
    "talk": "Messages, conversations and sessions",
    "knowledge": "What the workspace knows, and search in it",
    "channels": "Bots on chat platforms",
    "people": "Who writes, and where they are known",
    "webhooks": "Signed events for other systems (Standard Webhooks)",
    "hooks": "Other systems' webhooks, which become messages",
    "operations": "What waits for a person's decision",
    "keys": "API keys",
    "admin": "Workspaces and their settings",
    "web": "The chat on somebody's pages: called by its visitors' browsers",
    "platforms": "Called by the chat platforms themselves",
    "health": "Health and metrics",
}


class Detail(BaseModel):
    field: str
    message: str


class Error(BaseModel):
    """Every refusal, on every route."""

    status: str = Field("error", pattern="^error$")
    code: str = Field(examples=["not_found"])
    message: str
    request_id: str
    fallback_used: bool
    retry_after: float | None = Field(description="Seconds to wait before trying again")
    details: list[Detail]


def document(routes: Sequence[Route], *, server: str = "/") -> Json:
    """The whole document as a JSON object."""
    shown = [route for route in routes if route.path.startswith(_SHOWN)]
    names, schemas = _schemas(shown)
    paths: dict[str, Json] = {}
    for route in shown:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, names)
    used = {route.tag for route in shown}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Parley",
            "version": _version(),
            "summary": "A chat-bot and webhook integration gateway",
            "description": "JSON in and out. A key belongs to a workspace and acts on that workspace.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items() if name in used],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security(), "headers": _headers()},
    }


def _version() -> str:
    try:
        return version("parley")
    except PackageNotFoundError:
        return "0.1.0"


def _security() -> Json:
    return {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "prl_<env>_<id>_<secret>_<checksum>"},
        "visitor": {"type": "http", "scheme": "bearer", "bearerFormat": "pv1.<payload>.<mac>"},
        "telegram": {"type": "apiKey", "in": "header", "name": "X-Telegram-Bot-Api-Secret-Token"},
    }


def _headers() -> Json:
    return {
        "RequestId": {"description": "Names this request in logs", "schema": {"type": "string"}},
        "RetryAfter": {"description": "Seconds to wait", "schema": {"type": "integer"}},
        "Allow": {"description": "The methods that would do", "schema": {"type": "string"}},
        "Replayed": {"description": "`true` when a stored answer was given again", "schema": {"type": "string"}},
    }


def _schemas(routes: Sequence[Route]) -> tuple[Names, Json]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Error, "serialization")]
    for route in routes:
        wanted += [(route.request, "validation")] if route.request and not route.parts else []
        wanted += [(route.response, "serialization")] if route.response else []
    refs, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    names: Names = {(model, mode): str(refs[model, mode]["$ref"]).rsplit("/", 1)[1] for model, mode in wanted}
    return names, definitions.get("$defs", {})


def _operation(route: Route, names: Names) -> Json:
    operation: Json = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "security": _needs(route),
        "x-scope": route.scope,
        "parameters": _parameters(route),
        "responses": _responses(route, names),
    }
    if route.handler.__doc__:
        operation["description"] = " ".join(route.handler.__doc__.split())
    body = _body(route, names)
    return {**operation, "requestBody": body} if body else operation


def operation_id(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path.replace("/api/v1", ""))
    return "_".join([route.method.lower(), *words])


def _needs(route: Route) -> list[Json]:
    if route.scope == "public":
        return []
    if route.scope == "visitor":
        return [{"visitor": []}]
    return [{"telegram": []}] if route.scope == "platform" else [{"key": []}, {"bearer": []}]


def _parameters(route: Route) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": r"^[\w.~-]{1,128}$"}}
        for name in route.parameters
    ]
    if route.query:
        schema = route.query.model_json_schema(ref_template=_REF)
        required = schema.get("required", [])
        for name, field in schema["properties"].items():
            text = {"description": field.pop("description")} if "description" in field else {}
            found.append({"name": name, "in": "query", "required": name in required, "schema": field, **text})
    if route.repeatable:
        found.append(_header(HEADER, "Makes a repeat safe: the same answer for a day", r"^[\x21-\x7e]{1,200}$"))
    if route.streams:
        found.append(_header("Last-Event-ID", "Resume after this event", r"^[0-9]*$"))
    return found


def _header(name: str, description: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _body(route: Route, names: Names) -> Json | None:
    if route.parts:
        files = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
        form: Json = {"type": "object", "properties": {"files": files}, "required": ["files"]}
        if route.request:
            form["properties"] |= route.request.model_json_schema(ref_template=_REF)["properties"]
        return {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    if route.scope == "platform":
        return {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    if route.request is None:
        return None
    required = any(field.is_required() for field in route.request.model_fields.values())
    return {
        "required": required,
        "content": {"application/json": {"schema": _ref(names[(route.request, "validation")])}},
    }


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(model=name)}


def _responses(route: Route, names: Names) -> Json:
    responses: Json = {}
    for status, text in {route.status: "Done", **route.also}.items():
        responses[str(status)] = _answer(route, text, names)
    faults: dict[int, list[str]] = {}
    for error in refusals(route):
        if error.code not in faults.setdefault(error.status, []):
            faults[error.status].append(error.code)
    for status in sorted(faults):
        responses[str(status)] = _fault(status, faults[status], names[(Error, "serialization")])
    return responses


def _answer(route: Route, text: str, names: Names) -> Json:
    headers: Json = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if route.repeatable:
        headers[REPLAYED] = {"$ref": "#/components/headers/Replayed"}
    answer: Json = {"description": text, "headers": headers}
    if route.response:
        schema = _ref(names[(route.response, "serialization")])
        answer["content"] = {route.media: {"schema": schema}}
    elif route.media != "application/json":
        answer["content"] = {route.media: {"schema": {"type": "string"}}}
    return answer


def _fault(status: int, codes: list[str], error: str) -> Json:
    headers: Json = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if status == 405:
        headers["Allow"] = {"$ref": "#/components/headers/Allow"}
    content = {"application/json": {"schema": _ref(error)}}
    return {"description": " or ".join(f"`{code}`" for code in codes), "headers": headers, "content": content}


def refusals(route: Route) -> list[type[ParleyError]]:
    """Every refusal that a route may give."""
    found: list[type[ParleyError]] = [*route.errors, errors.MethodNotAllowed, Internal]
    if route.keyed:
        found += [errors.Unauthorized, errors.Forbidden, errors.RateLimited, errors.Unavailable]
    if route.parameters:
        found.append(errors.NotFound)
    if route.query:
        found.append(errors.InvalidRequest)
    if route.request or route.parts:
        found += [errors.InvalidRequest, errors.MalformedRequest, errors.TooLarge, errors.Unsupported]
    if route.repeatable:
        found += [errors.Conflict, errors.InvalidRequest, errors.MalformedRequest, errors.TooLarge]
    return found
