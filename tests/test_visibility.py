"""Private collections: seen one to one and by API callers, never in a group, whatever way the question takes."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import numpy as np
import pytest

from gateway.runner import Limits
from gateway.services import Ground, open_services, open_tools
from kernel.types import Json
from pipeline.knowledge import collections
from pipeline.knowledge.jobs import Item
from tests.gateway_parts import Scripted
from tests.http_face import Client, Server, client, served
from tests.people_kit import Bots
from tests.test_knowledge import ingest

SECRET = "The safe behind the workshop opens with the number 4711 and holds the takings of the day."
HOURS = "The shop is open from nine to six on weekdays."
ASKED = "with which number does the safe behind the workshop open?"


@pytest.fixture
async def bots(ground: Ground, workspace_id: str) -> AsyncIterator[Bots]:
    """Bots with real retrieval that answer by extraction, over one private and one public collection."""
    await ingest(ground, workspace_id, [Item("safe", "The safe", SECRET)], "staff")
    await ingest(ground, workspace_id, [Item("hours", "Opening hours", HOURS)], "shop")
    await show(ground, workspace_id, "staff", "private")
    plain = dataclasses.replace(ground, settings=dataclasses.replace(ground.settings, openai_api_key=""))
    async with open_tools(plain) as tools, open_services(plain, tools, Limits(lease=5.0)) as services:
        yield Bots(plain, services, Scripted(), workspace_id)


async def show(ground: Ground, workspace_id: str, name: str, visibility: collections.Visibility) -> None:
    async with ground.database.workspace(workspace_id) as conn:
        wanted = await conn.fetchval("SELECT collection_id FROM collections WHERE name = $1", name)
        await collections.show_to(conn, wanted, visibility)


async def traces(bots: Bots, conversation: str) -> str:
    """All that a conversation holds: words, citations, retrieval, what was sent, where its session stands."""
    rows = await bots.rows(
        """
        SELECT jsonb_agg(to_jsonb(x))::text AS everything FROM (
            SELECT to_jsonb(m) AS row FROM messages m JOIN conversations c USING (workspace_id, conversation_id)
            WHERE c.conversation_key = $1 AND m.role = 'assistant'
            UNION ALL
            SELECT to_jsonb(o) FROM outbound_messages o JOIN conversations c USING (workspace_id, conversation_id)
            WHERE c.conversation_key = $1
            UNION ALL
            SELECT to_jsonb(s) FROM sessions s JOIN conversations c USING (workspace_id, conversation_id)
            WHERE c.conversation_key = $1) x
        """,
        conversation,
    )
    return str(rows[0]["everything"])


async def test_a_group_never_sees_what_a_private_chat_does(bots: Bots) -> None:
    bot = await bots.bot()
    ann, group = bot.chat(1, "Ann"), bot.chat(1, "Ann", group=-9)
    assert "4711" in await ann.say(ASKED)
    assert "4711" in await traces(bots, "1")
    for question in (ASKED, "and which number was it?", "the safe?", "when is the shop open on weekdays?"):
        said = await group.say(question)
        assert "4711" not in said and "takings" not in said
    assert "nine to six" in said  # what is public is found there
    everything = await traces(bots, "-9")
    assert "4711" not in everything and "The safe" not in everything and "takings" not in everything
    safe = await bots.value("SELECT document_id FROM documents WHERE external_id = 'safe'")
    assert safe not in everything


async def test_nothing_private_comes_by_a_linked_persons_history(bots: Bots) -> None:
    first, second = await bots.bot("first"), await bots.bot("second")
    here, there = first.chat(1, "Ann"), second.chat(2, "Annie")
    await here.say(ASKED)
    code = (await here.say("/link")).split("`")[1]
    await there.say(f"/link {code}")
    await there.say("/link yes")
    group = second.chat(2, "Annie", group=-9)
    assert "4711" not in await group.say("and what was that number?")
    assert "4711" not in await traces(bots, "-9")


async def test_a_collection_that_is_made_private_is_gone_from_groups_at_once_and_comes_back(bots: Bots) -> None:
    group = (await bots.bot()).chat(1, group=-9)
    await show(bots.ground, bots.workspace_id, "staff", "public")
    assert "4711" in await group.say(ASKED)
    await show(bots.ground, bots.workspace_id, "staff", "private")
    other = (await bots.bot()).chat(1, group=-8)
    assert "4711" not in await other.say(ASKED)


async def test_the_database_keeps_private_collections_back_whatever_it_is_asked(
    ground: Ground, workspace_id: str
) -> None:
    await ingest(ground, workspace_id, [Item("safe", "The safe", SECRET, metadata={"lang": "en"})], "staff")
    await ingest(ground, workspace_id, [Item("hours", "Hours", HOURS)], "shop")
    await show(ground, workspace_id, "staff", "private")
    vector = (await ground.embedder.embed([ASKED], kind="query"))[0]
    async with ground.database.workspace(workspace_id) as conn:
        staff = await conn.fetchval("SELECT collection_id FROM collections WHERE name = 'staff'")

        async def found(
            named: list[str] | None, filter: Json | None, exact: bool | None, public: bool | None
        ) -> set[str]:
            rows = await conn.fetch(
                "SELECT external_id FROM search_chunks($1, $2, $3, '{1}', $4, 0.5, 10, true, $5, $6, $7)",
                workspace_id, named, [ASKED], vector, filter, exact, public,
            )  # fmt: skip
            return {row["external_id"] for row in rows}

        for exact in (True, False, None):
            assert await found(None, None, exact, False) == {"safe", "hours"}
            for public in (True, None):  # what is not said is not allowed
                assert await found(None, None, exact, public) == {"hours"}
                assert await found([staff], None, exact, public) == set()
        assert await found(None, {"lang": "en"}, None, False) == {"safe"}
        assert await found(None, {"lang": "en"}, None, True) == set()


async def test_private_text_does_not_weigh_in_public_scores(ground: Ground, workspace_id: str) -> None:
    await ingest(ground, workspace_id, [Item("hours", "Hours", HOURS)], "shop")
    alone = await ground.retriever.search(workspace_id, "open on weekdays", [], 5, public=True)
    await ingest(ground, workspace_id, [Item(f"s{n}", "", f"Open on weekdays {n}.") for n in range(5)], "staff")
    await show(ground, workspace_id, "staff", "private")
    beside = await ground.retriever.search(workspace_id, "open on weekdays", [], 5, public=True)
    for hit in (*alone, *beside):
        assert np.isfinite(hit["score"])
    assert beside == alone
    assert len(await ground.retriever.search(workspace_id, "open on weekdays", [], 10)) == 6


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def test_collections_over_http(api: Client, server: Server, ground: Ground, second_workspace: str) -> None:
    made = await api.post("/api/v1/collections", {"name": "staff", "visibility": "private"})
    assert (made.status, made.body["visibility"], made.body["chunks"]) == (201, "private", 0)
    assert (await api.post("/api/v1/collections", {"name": "staff"})).status == 409
    await ingest(ground, api.workspace_id, [Item("safe", "The safe", SECRET)], "staff")
    await ingest(ground, api.workspace_id, [Item("hours", "Hours", HOURS)], "shop")
    listed = (await api.get("/api/v1/collections")).body["items"]
    assert [(one["name"], one["visibility"], one["chunks"]) for one in listed] == [
        ("staff", "private", 1),
        ("shop", "public", 1),
    ]
    hits = (await api.post("/api/v1/search", {"query": ASKED})).body["hits"]  # callers see everything
    assert {hit["external_id"] for hit in hits} == {"safe", "hours"}
    path = f"/api/v1/collections/{made.body['collection_id']}"
    assert (await api("PATCH", path, {"visibility": "public"})).body["visibility"] == "public"
    assert (await api("PATCH", path, {"visibility": "secret"})).status == 422
    assert (await api("PATCH", "/api/v1/collections/col_none", {"visibility": "public"})).status == 404
    stranger = await client(server, second_workspace)
    assert (await stranger("PATCH", path, {"visibility": "public"})).status == 404
    assert (await stranger.get("/api/v1/collections")).body["items"] == []
    reader = await client(server, api.workspace_id, "read")
    assert (await reader("PATCH", path, {"visibility": "public"})).status == 403
