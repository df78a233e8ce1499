"""The OpenAPI document is complete, sound, and the same as the table; the page for people is made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.openapi import document, operation_id, refusals
from gateway.routes import pages
from gateway.routes.table import ROUTES
from gateway.web import Route, check_table
from kernel.types import Json

API = document(ROUTES)
PAGES = re.compile(r"/|/docs|/openapi\.json|/portal(/.*)?")
SHOWN = [route for route in ROUTES if not PAGES.fullmatch(route.path)]


def walk(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def operations() -> list[tuple[str, str, Json]]:
    return [(path, method, operation) for path, found in API["paths"].items() for method, operation in found.items()]


def test_the_table_starts() -> None:
    check_table(ROUTES)


def test_every_route_is_there_and_nothing_else() -> None:
    listed = {(method.upper(), path) for path, method, _ in operations()}
    assert listed == {(route.method, route.path) for route in SHOWN}


def test_the_head_of_the_document() -> None:
    assert API["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(API["info"])
    assert [tag["name"] for tag in API["tags"]]
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == {t["name"] for t in API["tags"]}


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = {node["$ref"] for node in walk(API) if isinstance(node.get("$ref"), str)}
    for ref in used:
        target: Any = API
        for part in ref.removeprefix("#/").split("/"):
            target = target[part]
    for kind in ("schemas", "headers"):
        for name in API["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, name


def test_operations_are_named_once() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", SHOWN, ids=lambda route: route.name)
def test_a_route_is_described_whole(route: Route) -> None:
    operation = API["paths"][route.path][route.method.lower()]
    assert operation["summary"] == route.summary
    assert operation["operationId"] == operation_id(route)
    in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", route.path))
    assert bool(operation["security"]) == (route.scope != "public")
    for need in operation["security"]:
        assert set(need) <= set(API["components"]["securitySchemes"])
    assert str(route.status) in operation["responses"]
    for error in refusals(route):
        response = operation["responses"][str(error.status)]
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
        assert error.code in response["description"]
    done = operation["responses"][str(route.status)]
    assert ("content" in done) == (route.status != 204 and bool(route.response or route.media != "application/json"))
    if route.request:
        assert operation["requestBody"]["content"]
    if route.repeatable:
        assert "Idempotency-Key" in {p["name"] for p in operation["parameters"]}


def test_models_of_requests_refuse_unknown_fields() -> None:
    for route in ROUTES:
        for model in (route.request, route.query):
            if model is not None:
                assert model.model_config.get("extra") == "forbid", model


def test_the_page_for_people_shows_every_route_and_no_script() -> None:
    body, policy = pages._page()
    text = body.decode()
    for route in SHOWN:
        assert f"<code>{route.path}</code>" in text
    assert "<script" not in text
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'")
