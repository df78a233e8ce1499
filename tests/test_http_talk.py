"""Messages, questions, conversations and their streams over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import asyncpg
import orjson
import pytest
from yarl import URL

from gateway.services import Ground
from tests.gateway_parts import telegram_account, until
from tests.http_face import Client, Server, client, served


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    server.answer.before = None
    return await client(server, workspace_id)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, dict[str, object]]]:
    """(event, id, data) of a text/event-stream; comments are passed over."""
    event = event_id = data = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "id":
            event_id = value
        elif name == "data":
            data = value
        elif not line and data:
            yield event, event_id, orjson.loads(data)
            event = event_id = data = ""


async def test_a_message_is_taken_and_its_reply_can_be_waited_for(api: Client) -> None:
    taken = await api.post("/api/v1/messages", {"user_id": "ann", "text": "hello"})
    assert taken.status == 202
    assert taken.body["turn_id"].startswith("turn_")
    path = f"/api/v1/conversations/{taken.body['conversation_id']}/messages"

    async def answered() -> bool:  # what is said before that would be answered together with it
        return len((await api.get(path)).body["items"]) == 2

    await until(answered)
    replied = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "again"})
    assert replied.status == 200
    assert replied.body["reply"]["text"] == "you said: again"
    assert replied.body["conversation_id"] == taken.body["conversation_id"]
    said = (await api.get(path)).body["items"]
    assert [(m["role"], m["text"]) for m in said] == [
        ("user", "hello"),
        ("assistant", "you said: hello"),
        ("user", "again"),
        ("assistant", "you said: again"),
    ]
    assert said[0]["message_id"] == taken.body["message_id"]
    assert said[3]["message_id"] == replied.body["reply"]["message_id"]


async def test_other_users_have_other_conversations(api: Client) -> None:
    ann = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})
    ben = await api.post("/api/v1/messages?wait=20", {"user_id": "ben", "text": "hi"})
    assert ann.body["conversation_id"] != ben.body["conversation_id"]
    more = await api.post(
        "/api/v1/messages?wait=20",
        {"user_id": "ann", "text": "there", "conversation_id": ben.body["conversation_id"]},
    )
    assert more.body["conversation_id"] == ben.body["conversation_id"]


async def test_an_unknown_conversation_is_not_found_and_a_telegram_one_cannot_be_written_to(
    api: Client, server: Server
) -> None:
    body = {"user_id": "ann", "text": "hi", "conversation_id": "conv_none"}
    assert (await api.post("/api/v1/messages", body)).status == 404
    account = await telegram_account(server.ground, api.workspace_id)
    async with server.ground.database.workspace(api.workspace_id) as conn:
        await conn.execute(
            "INSERT INTO conversations (workspace_id, conversation_id, account_id, conversation_key, address) "
            "VALUES ($1, 'conv_tg' || $2, $2, '5', '{}')",
            api.workspace_id,
            account,
        )
    body["conversation_id"] = f"conv_tg{account}"
    assert (await api.post("/api/v1/messages", body)).status == 409
    assert (await api.post("/api/v1/ask", {"query": "hi", "conversation_id": body["conversation_id"]})).status == 409


async def test_when_the_reply_takes_longer_than_the_wait_the_ids_come_alone(api: Client, server: Server) -> None:
    release = asyncio.Event()

    async def wait(question: str) -> None:
        await release.wait()

    server.answer.before = wait
    taken = await api.post("/api/v1/messages?wait=0.5", {"user_id": "ann", "text": "slow"})
    assert (taken.status, "reply" in taken.body) == (202, False)
    release.set()

    async def there() -> bool:
        found = await api.get(f"/api/v1/conversations/{taken.body['conversation_id']}/messages")
        return len(found.body["items"]) == 2

    await until(there)


async def test_a_command_is_no_question(api: Client) -> None:
    reply = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "/help"})
    assert "What I can do" in reply.body["reply"]["text"]


async def test_an_answer_comes_whole(api: Client) -> None:
    answered = await api.post("/api/v1/ask", {"query": "why?"})
    assert answered.status == 200
    assert answered.body["answer"] == "you said: why?"
    assert answered.body["grounded"] is True
    assert (answered.body["chunks"], answered.body["count"], answered.body["cached"]) == ([], 0, False)
    other = await api.post("/api/v1/ask", {"query": "why?"})
    assert other.body["conversation_id"] != answered.body["conversation_id"]
    on = await api.post("/api/v1/ask", {"query": "and?", "conversation_id": other.body["conversation_id"]})
    assert on.body["conversation_id"] == other.body["conversation_id"]


async def test_an_answer_comes_as_a_stream(api: Client, server: Server) -> None:
    body = orjson.dumps({"query": "why?", "stream": True})
    headers = {"X-API-Key": api.api_key, "Content-Type": "application/json"}
    async with server.http.post(f"{server.url}/api/v1/ask", data=body, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        seen = [event async for event in events(response)]
    assert [event for event, _, _ in seen][-1] == "done"
    assert seen[-1][2]["answer"] == "you said: why?"


async def test_a_stream_that_is_refused_is_refused_as_json(api: Client) -> None:
    refused = await api.post("/api/v1/ask", {"query": "?", "stream": True, "conversation_id": "conv_none"})
    assert refused.status == 404


async def test_a_failed_answer_is_an_error_event(api: Client, server: Server) -> None:
    async def fail(question: str) -> None:
        raise RuntimeError("the model is out")

    server.answer.before = fail
    refused = await api.post("/api/v1/ask", {"query": "why?"})
    assert (refused.status, refused.body["code"]) == (503, "answer_failed")
    assert refused.headers["Retry-After"]


async def test_a_conversation_streams_new_messages_and_resumes(api: Client, server: Server) -> None:
    first = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "one"})
    path = f"{server.url}/api/v1/conversations/{first.body['conversation_id']}/stream"
    headers = {"X-API-Key": api.api_key}
    async with server.http.get(path, headers=headers) as response:
        assert response.status == 200
        await response.content.readline()
        await api.post("/api/v1/messages", {"user_id": "ann", "text": "two"})
        seen = []
        async for event, event_id, data in events(response):
            seen.append((event, data["role"], data["text"]))
            if len(seen) == 1:
                after_first = event_id
            if len(seen) == 2:
                break
    assert seen == [("message", "user", "two"), ("message", "assistant", "you said: two")]
    async with server.http.get(path, headers={**headers, "Last-Event-ID": after_first}) as response:
        async for _, _, data in events(response):
            assert data["text"] == "you said: two"
            break


async def test_a_stream_hears_of_turns_in_other_processes(api: Client, server: Server, ground: Ground) -> None:
    first = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "one"})
    path = f"/api/v1/conversations/{first.body['conversation_id']}/stream"
    async with served(ground) as elsewhere:
        other = Client(elsewhere, api.workspace_id, api.api_key)
        async with server.http.get(server.url + path, headers={"X-API-Key": api.api_key}) as response:
            await response.content.readline()
            await other.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "from afar"})
            async for _, _, data in events(response):
                assert data["text"] == "from afar"
                break


async def test_a_stream_ends_when_its_key_is_revoked(api: Client, server: Server) -> None:
    first = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "one"})
    reader = await client(server, api.workspace_id, "read")
    path = f"{server.url}/api/v1/conversations/{first.body['conversation_id']}/stream"
    async with server.http.get(path, headers={"X-API-Key": reader.api_key}) as response:
        await response.content.readline()
        await api("DELETE", f"/api/v1/keys/{reader.key_id}")
        async with asyncio.timeout(20):
            assert [event async for event in events(response)] == []


async def test_a_stream_that_breaks_ends_its_connection(
    api: Client, server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A refusal in the midst of a stream would be garbage, at which some clients wait for ever."""
    first = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "one"})
    path = f"/api/v1/conversations/{first.body['conversation_id']}/stream"
    url = URL(server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nX-API-Key: {api.api_key}\r\n\r\n".encode())
    began = await reader.readuntil(b": still here\n\n")
    await admin.execute("REVOKE EXECUTE ON FUNCTION stream_messages FROM parley_app")
    try:
        await api.post("/api/v1/messages", {"user_id": "ann", "text": "two"})
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                began += await reader.read()
    finally:
        await admin.execute("GRANT EXECUTE ON FUNCTION stream_messages TO parley_app")
        writer.close()
    assert began.count(b"HTTP/1.1") == 1


async def test_a_bad_last_event_id_is_refused(api: Client) -> None:
    first = await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "one"})
    path = f"/api/v1/conversations/{first.body['conversation_id']}/stream"
    assert (await api.get(path, headers={"Last-Event-ID": "x"})).status == 422


async def test_conversations_and_sessions_are_listed_in_pages(api: Client) -> None:
    for user in ("ann", "ben", "cid"):
        await api.post("/api/v1/messages?wait=20", {"user_id": user, "text": "hi"})
    first = (await api.get("/api/v1/conversations?limit=2")).body
    rest = (await api.get(f"/api/v1/conversations?limit=2&cursor={first['next_cursor']}")).body
    found = [item["conversation_id"] for item in first["items"] + rest["items"]]
    assert (len(set(found)), rest["next_cursor"]) == (3, None)
    assert (await api.get(f"/api/v1/conversations/{found[0]}")).body["channel"] == "rest"
    sessions = (await api.get(f"/api/v1/sessions?conversation_id={found[0]}")).body["items"]
    assert len(sessions) == 1
    whole = (await api.get(f"/api/v1/sessions/{sessions[0]['session_id']}")).body
    assert {name: whole[name] for name in sessions[0]} == sessions[0]
    assert (await api.get("/api/v1/sessions?open=false")).body["items"] == []
    assert (await api.get("/api/v1/conversations?cursor=AAAA")).status == 422
    assert (await api.get("/api/v1/users")).body["items"]


async def test_people_and_their_identities(api: Client) -> None:
    await api.post("/api/v1/messages?wait=20", {"user_id": "ann", "text": "hi"})
    user = (await api.get("/api/v1/users")).body["items"][0]
    assert (await api.get(f"/api/v1/users/{user['user_id']}")).body == user
    identities = (await api.get(f"/api/v1/users/{user['user_id']}/identities")).body["items"]
    assert [(i["channel"], i["external_id"]) for i in identities] == [("rest", "ann")]
