"""Knowledge: what goes in is found, once, by its own workspace only, and a worker that dies costs one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import numpy as np
import pytest

from gateway.services import Ground
from kernel.errors import Conflict, InvalidRequest, NotFound
from kernel.types import Json
from pipeline.knowledge import collections, documents, jobs
from pipeline.knowledge.ingest import Ingester, decode
from pipeline.knowledge.jobs import Item

TEXTS = [
    Item("hours", "Opening hours", "The shop is open from nine to six on weekdays. On Saturdays it closes at noon."),
    Item("returns", "Returns", "A bicycle can be returned within thirty days if it was not ridden in the rain."),
    Item("guide", "", "# Battery\n\nCharge the battery to eighty percent.\n\n## Winter\n\nStore it warm.", "markdown"),
    Item(
        "page",
        "",
        "<html><head><title>Rental</title></head><body><p>Rent a tandem for 20 euros.</p></body></html>",
        "html",
    ),
]


async def queue(ground: Ground, workspace: str, items: Sequence[Item], collection: str = "default") -> str:
    model = await ground.embedder.warm()
    async with ground.database.workspace(workspace) as conn:
        found = await collections.ensure(conn, workspace, collection, ground.embedder.model, model.dimension)
        return await jobs.create(conn, workspace, found.collection_id, items)


async def ingest(ground: Ground, workspace: str, items: Sequence[Item], collection: str = "default") -> Json:
    job = await queue(ground, workspace, items, collection)
    await Ingester(ground.database, ground.embedder).work(job)
    async with ground.database.workspace(workspace) as conn:
        return await jobs.get(conn, job)


async def found(ground: Ground, workspace: str, query: str, k: int = 3, **options: object) -> list[str]:
    hits = await ground.retriever.search(workspace, query, [], k, **options)  # type: ignore[arg-type]
    return [hit["external_id"] for hit in hits]


async def test_documents_of_every_format_are_found(ground: Ground, workspace_id: str) -> None:
    done = await ingest(ground, workspace_id, TEXTS)
    assert done["status"] == "done" and done["progress"] == {"done": 4, "total": 4} and done["errors"] == []
    for query, expected in (
        ("when do you close on saturday", "hours"),
        ("can I bring my bike back", "returns"),
        ("how full should the battery be", "guide"),
        ("what does a tandem cost", "page"),
    ):
        assert (await found(ground, workspace_id, query))[0] == expected
    hit = (await ground.retriever.search(workspace_id, "tandem", [], 1))[0]
    assert hit["title"] == "Rental" and "20 euros" in hit["text"] and hit["chunk_id"].startswith("chk_")


async def test_a_follow_up_is_understood_from_the_history(ground: Ground, workspace_id: str) -> None:
    await ingest(ground, workspace_id, TEXTS)
    history = [
        {"role": "user", "text": "what does a tandem cost to rent?"},
        {"role": "assistant", "text": "A tandem can be rented for 20 euros."},
    ]
    hits = await ground.retriever.search(workspace_id, "and for two?", history, 1)
    assert hits[0]["external_id"] == "page"


async def test_the_same_document_again_is_an_update_and_unchanged_is_left_alone(
    ground: Ground, workspace_id: str
) -> None:
    await ingest(ground, workspace_id, TEXTS)
    again = await ingest(ground, workspace_id, TEXTS)
    assert again["chunks_added"] == 0
    changed = await ingest(ground, workspace_id, [Item("hours", "Opening hours", "The shop is closed for renovation.")])
    assert changed["chunks_added"] == 1
    hits = await ground.retriever.search(workspace_id, "opening hours", [], 10)
    assert [hit["text"] for hit in hits if hit["external_id"] == "hours"] == ["The shop is closed for renovation."]
    async with ground.database.workspace(workspace_id) as conn:
        counts = await conn.fetchrow("SELECT chunk_count, term_count FROM collections")
        truth = await conn.fetchrow(
            "SELECT count(DISTINCT chunk_id) AS chunks, sum(cardinality(positions)) AS terms "
            "FROM chunks, unnest(search_vector)"
        )
        assert counts and truth and tuple(counts) == tuple(truth)
        stale = await conn.fetchval("SELECT count(*) FROM lexicon WHERE lexeme = 'saturday'")
        assert stale == 0


async def test_bad_documents_are_named_and_do_not_hold_up_the_others(ground: Ground, workspace_id: str) -> None:
    items = [TEXTS[0], Item("empty", "", "   \n  "), TEXTS[1]]
    done = await ingest(ground, workspace_id, items)
    assert done["status"] == "done"
    assert [error["external_id"] for error in done["errors"]] == ["empty"]
    assert set(await found(ground, workspace_id, "shop bicycle")) == {"hours", "returns"}
    assert (await ingest(ground, workspace_id, [Item("empty", "", " ")]))["status"] == "failed"
    async with ground.database.workspace(workspace_id) as conn:
        types = [row["type"] for row in await conn.fetch("SELECT type FROM events ORDER BY event_id")]
    assert types.count("document.failed") == 2 and types.count("document.indexed") == 2


async def test_a_job_goes_on_where_a_dead_worker_left_it(ground: Ground, workspace_id: str) -> None:
    items = [Item(f"d{n}", "", f"Document number {n} speaks of thing {n}.") for n in range(80)]
    job = await queue(ground, workspace_id, items)

    class Dies(Ingester):
        batches = 0

        async def _prepare(self, items: Sequence[Item]) -> list[documents.Document]:
            self.batches += 1
            if self.batches == 2:
                raise asyncio.CancelledError
            return await super()._prepare(items)

    with pytest.raises(asyncio.CancelledError):
        await Dies(ground.database, ground.embedder).work(job)
    async with ground.database.workspace(workspace_id) as conn:
        half = await jobs.get(conn, job)
    assert half["status"] == "running" and 0 < half["progress"]["done"] < 80
    await Ingester(ground.database, ground.embedder).work(job)
    async with ground.database.workspace(workspace_id) as conn:
        whole = await jobs.get(conn, job)
        assert whole["status"] == "done" and whole["progress"]["done"] == 80
        assert await conn.fetchval("SELECT count(*) FROM documents") == 80
        assert await conn.fetchval("SELECT count(*) FROM events WHERE type = 'document.indexed'") == 80


async def test_a_worker_that_lost_its_job_writes_nothing(ground: Ground, workspace_id: str) -> None:
    job = await queue(ground, workspace_id, TEXTS)
    async with ground.database.anywhere() as conn:
        [stale] = await jobs.claim(conn, job, 1, 0.0)
        await asyncio.sleep(0.01)
        [held] = await jobs.claim(conn, job, 1, 60.0)
    late = Ingester(ground.database, ground.embedder)
    await late._run(stale)
    async with ground.database.workspace(workspace_id) as conn:
        assert await conn.fetchval("SELECT count(*) FROM documents") == 0
    await late._run(held)
    async with ground.database.workspace(workspace_id) as conn:
        assert (await jobs.get(conn, job))["status"] == "done"


async def test_search_sees_one_workspace_and_misses_nothing(
    ground: Ground, workspace_id: str, second_workspace: str
) -> None:
    """The same texts in two workspaces: each finds its own, and as many as an exact comparison finds."""
    items = [Item(f"d{n}", "", f"Part {n}: a wheel with {n} spokes, kept in drawer {n % 7}.") for n in range(60)]
    for workspace in (workspace_id, second_workspace):
        await ingest(ground, workspace, items)
    own = set()
    for workspace in (workspace_id, second_workspace):
        hits = await ground.retriever.search(workspace, "wheel in drawer 3", [], 60)
        own.add(frozenset(hit["chunk_id"] for hit in hits))
        assert len(hits) == 60
    assert len(own) == 2 and not frozenset.intersection(*own)
    async with ground.database.workspace(workspace_id) as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.fetch(
                "SELECT * FROM search_chunks($1, NULL, '{x}', '{1}', $2, 0.5, 5)",
                second_workspace,
                np.zeros(384, dtype=np.float32),
            )


async def test_the_large_scope_plan_finds_what_the_exact_one_finds(ground: Ground, workspace_id: str) -> None:
    items = [Item(f"d{n}", "", f"Part {n}: a wheel with {n} spokes, kept in drawer {n % 7}.") for n in range(60)]
    await ingest(ground, workspace_id, items)
    vector = (await ground.embedder.embed(["wheel in drawer 3"], kind="query"))[0]
    async with ground.database.workspace(workspace_id) as conn:
        exact, candidates = [
            [row["external_id"] for row in await conn.fetch(
                "SELECT * FROM search_chunks($1, NULL, $2, '{1}', $3, 0.5, 10, true, NULL, $4)",
                workspace_id, ["wheel in drawer 3"], vector, whole,
            )]
            for whole in (True, False)
        ]  # fmt: skip
    assert len(set(exact) & set(candidates)) >= 9


async def test_collections_and_filters_narrow_the_search(ground: Ground, workspace_id: str) -> None:
    await ingest(ground, workspace_id, TEXTS, "shop")
    await ingest(ground, workspace_id, [Item("faq", "", "Bicycles are blue.", metadata={"lang": "en"})], "faq")
    assert await found(ground, workspace_id, "bicycle", collection="faq") == ["faq"]
    assert await found(ground, workspace_id, "bicycle", filter={"lang": "en"}) == ["faq"]
    with pytest.raises(NotFound):
        await found(ground, workspace_id, "bicycle", collection="nothing")
    with pytest.raises(Conflict):
        async with ground.database.workspace(workspace_id) as conn:
            await collections.ensure(conn, workspace_id, "faq", "another-model", 7)


async def test_a_deleted_source_is_gone_at_once(ground: Ground, workspace_id: str, second_workspace: str) -> None:
    await ingest(ground, workspace_id, TEXTS)
    async with ground.database.workspace(workspace_id) as conn:
        listed = await documents.list_sources(conn, 10, None)
        hours = next(row for row in listed if row["uri"] == "hours")
        assert hours["documents"] == 1
    async with ground.database.workspace(second_workspace) as conn:
        with pytest.raises(NotFound):
            await documents.delete_source(conn, second_workspace, hours["source_id"])
    async with ground.database.workspace(workspace_id) as conn:
        await documents.delete_source(conn, workspace_id, hours["source_id"])
    assert "hours" not in await found(ground, workspace_id, "opening hours on saturday", 10)
    async with ground.database.workspace(workspace_id) as conn:
        with pytest.raises(NotFound):
            await documents.get_source(conn, hours["source_id"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("grüß".encode(), "grüß"),
        (b"\xef\xbb\xbfbom", "bom"),
        ("grüß".encode("latin-1"), "grüß"),
        ("é".encode("utf-16"), "é"),
    ],
)
def test_text_files_are_read_whatever_their_encoding(data: bytes, text: str) -> None:
    assert decode(data, "a.txt") == text


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"photo\.txt"):
        decode(b"\x89PNG\x00\x00", "photo.txt")
