"""A key does what its scopes allow and nothing else (A3), in its own workspace and no other (T1)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.openapi import document
from gateway.routes.table import ROUTES
from gateway.services import Ground
from gateway.web import Route
from identity import keys, pairings
from kernel.types import Sender
from pipeline.knowledge.ingest import Ingester
from tests.gateway_parts import telegram_account
from tests.http_face import Client, Server, client, served

KEYED = [route for route in ROUTES if route.keyed]


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


def somewhere(route: Route) -> str:
    return re.sub(r"{\w+}", "nothing_0", route.path)


async def test_without_a_key_every_route_refuses(server: Server, workspace_id: str) -> None:
    await server.ground.redis.delete("rl:auth:127.0.0.1")
    nobody = Client(server, workspace_id, "")
    for route in KEYED:
        reply = await nobody(route.method, somewhere(route))
        assert reply.status in (401, 429), route.name
        if reply.status == 401:
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    await server.ground.redis.delete("rl:auth:127.0.0.1")


async def test_a_key_without_the_scope_is_forbidden_and_with_it_let_in(server: Server, workspace_id: str) -> None:
    """The whole matrix: every route with every scope alone."""
    for scope in keys.OWNER_SCOPES:
        alone = await client(server, workspace_id, scope)
        for route in KEYED:
            headers = {"Last-Event-ID": "x"} if route.streams else {}
            status = (await alone(route.method, somewhere(route), headers=headers)).status
            assert (status == 403) == (route.scope != scope), (route.name, scope, status)
            assert status < 500, (route.name, scope, status)


async def everything(api: Client, server: Server) -> dict[str, str]:
    """One object of every type in this workspace: the name of its path parameter to its id."""
    reply = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})
    assert reply.status == 200
    hook = await api.post("/api/v1/webhooks", {"url": "http://127.0.0.1:9001/x", "events": ["*"]})
    ingested = await api.post("/api/v1/ingest/text", {"text": "We open at nine.", "title": "Hours"})
    await Ingester(server.ground.database, server.ground.embedder).work(ingested.body["job_id"])
    ping = await api.post(f"/api/v1/webhooks/{hook.body['webhook_id']}/test")
    secrets = await api.get(f"/api/v1/webhooks/{hook.body['webhook_id']}/secrets")
    bulk = await api.post("/api/v1/deliveries/resend", {"filter": {"webhook_id": hook.body["webhook_id"]}})
    conversation = reply.body["conversation_id"]
    async with server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE inbound_updates SET status = 'dead', message = NULL")
        await conn.execute("UPDATE outbound_messages SET state = 'unknown'")
        update_id = await conn.fetchval("SELECT update_id FROM inbound_updates")
        outbound_id = await conn.fetchval("SELECT outbound_id FROM outbound_messages")
        account_id = await telegram_account(server.ground, api.workspace_id)
        await pairings.ask(conn, account_id, Sender("5"), conversation)
        pairing_id = await conn.fetchval("SELECT pairing_id FROM pairings")
        attachment_id = await conn.fetchval(
            "INSERT INTO attachments (workspace_id, attachment_id, conversation_id, session_id, turn_id, "
            "name, mime, size, content, status) SELECT workspace_id, new_id('att'), conversation_id, session_id, "
            "turn_id, 'a.txt', 'text/plain', 1, 'a', 'read' FROM turns LIMIT 1 RETURNING attachment_id"
        )
    inbound = await api.post("/api/v1/hooks", {"name": "h", "example": "json", "target": {"user_id": "ann"}})
    user_id = (await api.get("/api/v1/users")).body["items"][0]["user_id"]
    await api.post(f"/api/v1/messages/{reply.body['reply']['message_id']}/feedback", {"rating": "up"})
    return {
        "conversation_id": conversation,
        "session_id": (await api.get("/api/v1/sessions")).body["items"][0]["session_id"],
        "user_id": user_id,
        "identity_id": (await api.get(f"/api/v1/users/{user_id}/identities")).body["items"][0]["identity_id"],
        "message_id": reply.body["reply"]["message_id"],
        "collection_id": (await api.get("/api/v1/collections")).body["items"][0]["collection_id"],
        "account_id": account_id,
        "pairing_id": pairing_id,
        "attachment_id": attachment_id,
        "webhook_id": hook.body["webhook_id"],
        "secret_id": secrets.body["items"][0]["secret_id"],
        "hook_id": inbound.body["hook_id"],
        "delivery_id": ping.body["delivery_id"],
        "operation_id": bulk.body["operation"]["operation_id"],
        "event_id": ping.body["event_id"],
        "key_id": api.key_id,
        "job_id": ingested.body["job_id"],
        "source_id": (await api.get("/api/v1/sources")).body["items"][0]["source_id"],
        "update_id": update_id,
        "outbound_id": outbound_id,
    }


def example(operation: dict[str, Any], api: dict[str, Any]) -> Any:
    """The smallest body that an operation's schema allows; {} where none is needed."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return _example(content["schema"], api) if content else {}


def _example(schema: dict[str, Any], api: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _example(api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], api)
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        return {name: _example(fields[name], api) for name in schema.get("required", [])}
    if schema.get("type") == "array":
        return [_example(schema["items"], api)]
    return {"string": "x", "integer": 1, "number": 1, "boolean": True}.get(str(schema.get("type")))


async def test_no_route_knows_another_workspaces_objects(
    server: Server, workspace_id: str, second_workspace: str
) -> None:
    """Every operation of the OpenAPI document with an id of the other workspace: 404, as for one that never was."""
    mine, stranger = await client(server, workspace_id), await client(server, second_workspace)
    ids = await everything(mine, server)
    api = document(ROUTES)
    tried = set()
    for path, methods in api["paths"].items():
        names = re.findall(r"{(\w+)}", path)
        if not names or path.startswith(("/channels/", "/hooks/", "/api/v1/event-types/")):  # the same for everybody
            continue
        if names == ["uid"]:  # the caller's own word for what it makes
            continue
        for method, operation in methods.items():
            body = example(operation, api) if "requestBody" in operation else None
            theirs = await stranger(method.upper(), path.format(**ids), body)
            unknown = {name: f"{ids[name][:5]}none" for name in names}
            never = await stranger(method.upper(), path.format(**unknown), body)
            assert (theirs.status, never.status) == (404, 404), (method, path, theirs.raw, never.raw)
            told = theirs.body["message"].replace(ids[names[0]], "")
            assert told == never.body["message"].replace(unknown[names[0]], "")
            tried.update(names)
    assert tried == set(ids)


async def test_no_list_shows_another_workspaces_objects(
    server: Server, workspace_id: str, second_workspace: str
) -> None:
    mine, stranger = await client(server, workspace_id), await client(server, second_workspace)
    ids = await everything(mine, server)
    for route in KEYED:
        if route.method != "GET" or route.parameters:
            continue
        found = await stranger.get(route.path)
        assert found.status == 200
        for value in (*ids.values(), workspace_id):
            assert value not in found.raw.decode(), route.name
        assert (await mine.get(route.path)).status == 200


async def test_ids_in_bodies_and_queries_do_not_reach_over_either(
    server: Server, workspace_id: str, second_workspace: str
) -> None:
    mine, stranger = await client(server, workspace_id), await client(server, second_workspace)
    ids = await everything(mine, server)
    body = {"user_id": "ann", "text": "hi", "conversation_id": ids["conversation_id"]}
    assert (await stranger.post("/api/v1/messages", body)).status == 404
    asked = {"query": "hi", "conversation_id": ids["conversation_id"]}
    assert (await stranger.post("/api/v1/ask", asked)).status == 404
    for query in ("conversations?user_id={user_id}", "conversations?account_id={account_id}",
                  "sessions?conversation_id={conversation_id}", "deliveries?webhook_id={webhook_id}",
                  "deliveries?event_id={event_id}", "users?cursor={user_id}"):  # fmt: skip
        found = await stranger.get(f"/api/v1/{query.format(**ids)}")
        assert (found.status, found.body["items"]) == (200, []), query
