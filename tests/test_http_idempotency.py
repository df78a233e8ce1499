"""Idempotency-Key: what a repeat gets, and that it never does the work twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.services import Ground
from tests.http_face import Client, Reply, Server, client, served


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    server.answer.before = None
    return await client(server, workspace_id)


async def say(api: Client, text: str, key: str, query: str = "?wait=20") -> Reply:
    body = {"user_id": "ann", "text": text}
    return await api.post(f"/api/v1/messages{query}", body, headers={"Idempotency-Key": key})


async def messages(api: Client) -> int:
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM messages WHERE role = 'user'")
    return count


async def test_a_repeat_gets_the_same_answer(api: Client) -> None:
    first, again = await say(api, "hi", "k1"), await say(api, "hi", "k1")
    assert (first.status, first.raw) == (again.status, again.raw)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await messages(api) == 1


async def test_another_body_under_the_same_key_is_refused(api: Client) -> None:
    await say(api, "hi", "k1")
    other = await say(api, "ho", "k1")
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")
    assert (await say(api, "hi", "k1", "?wait=19")).status == 422


async def test_while_the_first_runs_a_repeat_is_refused(api: Client, server: Server) -> None:
    release, asked = asyncio.Event(), asyncio.Event()

    async def wait(question: str) -> None:
        asked.set()
        await release.wait()

    server.answer.before = wait
    first = asyncio.create_task(say(api, "hi", "k1"))
    await asked.wait()
    assert [(await say(api, "hi", "k1")).status for _ in range(3)] == [409] * 3
    release.set()
    assert (await first).status == 200
    assert (await say(api, "hi", "k1")).headers["Idempotency-Replayed"] == "true"


async def test_a_refusal_is_kept_too(api: Client) -> None:
    async def refused() -> Reply:
        body = {"user_id": "ann", "text": "hi", "conversation_id": "conv_none"}
        return await api.post("/api/v1/messages", body, headers={"Idempotency-Key": "k"})

    first, again = await refused(), await refused()
    assert (first.status, again.status, again.headers["Idempotency-Replayed"]) == (404, 404, "true")


async def test_after_a_5xx_it_is_tried_anew_and_the_work_is_not_doubled(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr("gateway.routes.talk._outcome", away)
        assert (await say(api, "hi", "k1")).status == 503
    again = await say(api, "hi", "k1")
    assert (again.status, again.body["reply"]["text"]) == (200, "you said: hi")
    assert await messages(api) == 1


async def test_a_first_try_that_died_does_not_block_forever(api: Client) -> None:
    await say(api, "hi", "k1")
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE idempotency_keys SET status = NULL, lease_until = now() + interval '1 hour'")
    assert (await say(api, "hi", "k1")).status == 409
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE idempotency_keys SET lease_until = now() - interval '1 second'")
    again = await say(api, "hi", "k1")
    assert (again.status, "Idempotency-Replayed" in again.headers) == (200, False)
    assert await messages(api) == 1


async def test_after_a_day_the_key_is_free(api: Client) -> None:
    await say(api, "hi", "k1")
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert (await say(api, "ho", "k1")).body["reply"]["text"] == "you said: ho"
    assert await messages(api) == 2


async def test_old_keys_are_forgotten(api: Client) -> None:
    from gateway.idempotency import forget_old

    await say(api, "hi", "k1")
    async with api.server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    async with api.server.ground.database.anywhere() as conn:
        assert await forget_old(conn) >= 1


async def test_keys_of_other_routes_and_workspaces_are_other_keys(
    api: Client, server: Server, second_workspace: str
) -> None:
    await say(api, "hi", "k1")
    asked = await api.post("/api/v1/ask", {"query": "hi"}, headers={"Idempotency-Key": "k1"})
    assert (asked.status, "Idempotency-Replayed" in asked.headers) == (200, False)
    other = await client(server, second_workspace)
    assert "Idempotency-Replayed" not in (await say(other, "ho", "k1")).headers


async def test_a_bad_key_is_refused(api: Client) -> None:
    for key in ("with blank", "x" * 201):
        assert (await say(api, "hi", key)).status == 400


async def test_a_secret_is_shown_again_to_a_repeat(api: Client) -> None:
    body = {"name": "k", "scopes": ["read"]}
    first = await api.post("/api/v1/keys", body, headers={"Idempotency-Key": "k1"})
    again = await api.post("/api/v1/keys", body, headers={"Idempotency-Key": "k1"})
    assert first.body == again.body
    assert len((await api.get("/api/v1/keys")).body["items"]) == 2
