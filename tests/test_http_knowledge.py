"""Texts and files in, sources out, and search, over HTTP; the work is done by the ingester as in a worker."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.parts import clean_name
from gateway.services import Ground
from pipeline.knowledge.ingest import Ingester
from tests.http_face import Client, Reply, Server, client, served


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def api(server: Server, workspace_id: str) -> Client:
    return await client(server, workspace_id)


async def upload(api: Client, *named: tuple[str, bytes], **fields: str) -> Reply:
    form = aiohttp.FormData(fields)
    for name, data in named:
        form.add_field("files", io.BytesIO(data), filename=name, content_type="application/octet-stream")
    return await api("POST", "/api/v1/ingest/files", data=form)


async def worked(api: Client, taken: Reply) -> Reply:
    """The job after a worker had it."""
    assert taken.status == 202, taken.raw
    ground = api.server.ground
    await Ingester(ground.database, ground.embedder).work(taken.body["job_id"])
    return await api.get(f"/api/v1/jobs/{taken.body['job_id']}")


async def test_a_text_is_indexed_found_updated_and_removed(api: Client) -> None:
    hours = {
        "text": "We open at nine in the morning.",
        "title": "Hours",
        "external_id": "h",
        "metadata": {"lang": "en"},
    }
    job = await worked(api, await api.post("/api/v1/ingest/text", hours))
    assert (job.body["status"], job.body["progress"]) == ("done", {"done": 1, "total": 1})
    found = (await api.post("/api/v1/search", {"query": "When do you open?", "filter": {"lang": "en"}})).body
    assert found["hits"][0]["external_id"] == "h"
    assert set(found["hits"][0]) == {
        "chunk_id", "document_id", "external_id", "title", "text", "score", "metadata"
    }  # fmt: skip
    assert (await api.post("/api/v1/search", {"query": "open?", "filter": {"lang": "de"}})).body["hits"] == []
    explained = (await api.post("/api/v1/search", {"query": "open?", "explain": True})).body["hits"][0]
    assert "dense_score" in explained
    await worked(api, await api.post("/api/v1/ingest/text", {**hours, "text": "We open at ten."}))
    assert "ten" in (await api.post("/api/v1/search", {"query": "open?"})).body["hits"][0]["text"]
    [source] = (await api.get("/api/v1/sources")).body["items"]
    whole = (await api.get(f"/api/v1/sources/{source['source_id']}")).body
    assert [document["external_id"] for document in whole["documents"]] == ["h"]
    assert (await api("DELETE", f"/api/v1/sources/{source['source_id']}")).status == 204
    assert (await api.post("/api/v1/search", {"query": "open?"})).body["hits"] == []


async def test_many_texts_are_one_job_and_can_be_waited_for(api: Client) -> None:
    documents = [{"text": f"Fact number {n} is about apples.", "external_id": str(n)} for n in range(20)]
    asking = asyncio.create_task(api.post("/api/v1/ingest/text?wait=60", {"documents": documents}))
    ingester = Ingester(api.server.ground.database, api.server.ground.embedder)
    while not asking.done():
        await ingester.work_due()
        await asyncio.sleep(0.05)
    ingested = await asking
    assert (ingested.status, ingested.body["message"]) == (200, "20 documents indexed")
    assert ingested.body["chunks_added"] >= 20
    [job] = (await api.get("/api/v1/jobs")).body["items"]
    assert job["job_id"] == ingested.body["job_id"]
    history = [{"role": "user", "text": "apples"}, {"role": "assistant", "text": "yes?"}]
    assert (await api.post("/api/v1/search", {"query": "number 7?", "history": history, "k": 3})).body["hits"]


async def test_bad_texts_are_refused(api: Client) -> None:
    path = "/api/v1/ingest/text"
    bad: list[dict[str, object]] = [
        {},
        {"text": ""},
        {"text": "a", "documents": [{"text": "b"}]},
        {"documents": []},
    ]
    for body in bad:
        assert (await api.post(path, body)).status == 422, body
    many = {"documents": [{"text": "x"}] * 1001}
    assert (await api.post(path, many)).status == 422
    two = {"documents": [{"text": "x", "collection": "a"}, {"text": "y", "collection": "b"}]}
    assert (await api.post(path, two)).status == 422
    assert (await api.post("/api/v1/search", {"query": "x", "collection": "none"})).status == 404


async def test_files_are_indexed(api: Client) -> None:
    taken = await upload(
        api,
        ("../../etc/hours.md", b"# Hours\n\nWe open at nine."),
        ("page.html", "<h1>Café</h1><p>Cash only.</p>".encode()),
        collection="shop",
    )
    job = await worked(api, taken)
    assert (job.body["status"], job.body["errors"]) == ("done", [])
    sources = (await api.get("/api/v1/sources")).body["items"]
    assert {(source["uri"], source["collection"]) for source in sources} == {
        ("hours.md", "shop"),
        ("page.html", "shop"),
    }
    assert (await api.post("/api/v1/search", {"query": "cash?", "collection": "shop"})).body["hits"]


async def test_bad_uploads_are_refused(api: Client) -> None:
    path = "/api/v1/ingest/files"
    assert (await upload(api, ("a.exe", b"MZ"))).status == 415
    assert (await upload(api, ("a.txt", b"\0\1binary"))).status == 422
    assert (await upload(api)).status == 415  # without a file the client sends no form at all
    assert (await upload(api, ("a.txt", b"x"), ("b/a.txt", b"y"))).status == 422
    assert (await upload(api, ("a.txt", b"x"), wat="1")).status == 422
    assert (await upload(api, *[(f"{n}.txt", b"x") for n in range(21)])).status == 413
    assert (await upload(api, ("big.txt", b"x" * ((20 << 20) + 1)))).status == 413
    assert (await api.post(path, {})).status == 415
    for body in (b"", b"--b\r\n", b"--b\r\nnonsense\r\n\r\nx", b"no boundary", b"--b\r\n\r\nx\r\n--b--\r\n"):
        broken = await api("POST", path, data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert broken.status in (400, 422), body
    assert (await api("POST", path, data=b"x", headers={"Content-Type": "multipart/form-data"})).status == 400


async def test_the_same_upload_under_one_key_is_one_job(api: Client) -> None:
    api.headers = {"Idempotency-Key": "k1"}
    first, again = [await upload(api, ("a.txt", b"apples")) for _ in range(2)]
    assert (first.raw, again.headers.get("Idempotency-Replayed")) == (again.raw, "true")
    assert (await upload(api, ("a.txt", b"pears"))).status == 422


def test_a_name_is_only_a_name() -> None:
    assert clean_name("C:\\x\\y.txt") == "y.txt"
    assert clean_name("../../.env") == "env"
    assert clean_name("a\x1b[31m\n.md") == "a[31m.md"
    assert clean_name("///") == "file"
    assert len(clean_name("x" * 999 + ".txt")) == 200
