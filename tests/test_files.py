"""Files that people send: what they really are, what is read of them, and how they become part of a conversation."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from channels.telegram import connect
from gateway.services import Ground
from pipeline.files.attachments import Text
from pipeline.files.kinds import kind_of
from pipeline.files.passages import candidates, passages
from pipeline.files.reading import read
from pipeline.knowledge.chunking import chunk_document
from simulators.telegram import files, people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, client, served

ANN = 1001


def pdf_of(*pages: str) -> bytes:
    """A PDF with these lines, one a page, written by hand as ISO 32000 describes it."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for n, line in enumerate(pages):
        stream = zlib.compress(f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET".encode())
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R"
        objects.append(f"{page} /Resources << /Font << /F1 3 0 R >> >> >>".encode())
        head = f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + stream + b"\nendstream")
    out, offsets = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{n} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


@pytest.mark.parametrize(
    ("name", "data", "mime", "reading"),
    [
        ("a.pdf", pdf_of("x"), "application/pdf", "pdf"),
        ("a.txt", b"%PDF-1.7 in a text's clothes", "application/pdf", "pdf"),
        ("photo.jpg", b"\xff\xd8\xff\xe0rest", "image/jpeg", "none"),
        ("notes", "Grüße\n".encode(), "text/plain", "text"),
        ("old.txt", "Grüße".encode("cp1252"), "text/plain", "text"),
        ("wide.txt", "Grüße".encode("utf-16"), "text/plain", "text"),
        ("page.bin", b"<!DOCTYPE html><p>Hi", "text/html", "html"),
        ("report.docx", b"PK\x03\x04....", "application/zip", "none"),
        ("blob", b"\x00\x01\x02\x03", "application/octet-stream", "none"),
        ("tool.exe", b"harmless words", "application/octet-stream", "refused"),
        ("picture.png", b"MZ\x90\x00", "application/x-msdownload", "refused"),
        ("picture.png", b"\x7fELF\x02", "application/x-elf", "refused"),
    ],
)
def test_a_file_is_what_its_bytes_say(name: str, data: bytes, mime: str, reading: str) -> None:
    kind = kind_of(name, data)
    assert (kind.mime, kind.reading) == (mime, reading)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_texts_are_read_in_the_encodings_people_use(encoding: str) -> None:
    found = await read("a.txt", "Grüße aus Köln".encode(encoding))
    assert (found.status, found.text) == ("read", "Grüße aus Köln")


async def test_a_pdf_is_read_page_by_page() -> None:
    found = await read("a.pdf", pdf_of("The gate code is 4711.", "Page two."))
    assert found.status == "read"
    assert found.text.split("\f") == ["The gate code is 4711.", "Page two."]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"%PDF-1.4\nnothing that follows makes sense", "it is damaged"),
        (pdf_of(""), "it holds pictures and no text"),
        (b"%PDF-1.4\n" + b"1 0 obj << /A " * 5000, "it is damaged"),
    ],
)
async def test_a_pdf_that_cannot_be_read_says_why(data: bytes, cause: str) -> None:
    found = await read("a.pdf", data)
    assert (found.status, found.cause) == ("kept", cause)


async def test_html_is_read_without_its_scripts() -> None:
    found = await read("a.html", b"<html><title>Bikes</title><script>alert(1)</script><p>Open on Sunday</html>")
    assert found.status == "read"
    assert "Open on Sunday" in found.text
    assert "alert" not in found.text


def test_words_choose_what_is_compared_and_the_beginning_is_always_there() -> None:
    filler = "\n\n".join(f"# Part {n}\n\n" + f"Filler sentence number {n}. " * 60 for n in range(60))
    chunks = chunk_document(filler + "\n\n# Key\n\n" + "The gate code is 4711. " * 60, format="markdown")
    chosen = candidates("what is the gate code?", chunks)
    assert len(chosen) <= 24
    assert "4711" in chunks[chosen[0]].text
    assert {0, 1, 2, 3} <= set(chosen)


async def test_a_passage_is_found_by_meaning(ground: Ground) -> None:
    text = "# Opening\n\nOn Saturdays we are open from nine to one.\n\n# Dogs\n\nDogs may come."
    hits = await passages(ground.embedder, "When can I visit at the weekend?", [Text("att_1", "shop.md", text)], 3)
    assert "nine to one" in hits[0]["text"]
    assert hits[0]["document_id"] == "att_1"
    assert hits[0]["title"] == "shop.md"


@dataclass
class Rig:
    sim: Simulator
    api: Client

    def seen(self) -> list[str]:
        return [entry["text"] for entry in self.sim.sends(ANN) if entry["method"] == "sendMessage"]

    async def shows(self, part: str) -> str:
        async def there() -> bool:
            return any(part in text for text in self.seen())

        await until(there)
        return next(text for text in self.seen() if part in text)

    def send(self, name: str, data: bytes, caption: str = "") -> None:
        user = people.known_user(self.sim.world, ANN)
        chat = people.find_chat(self.sim.world, self.sim.bot, user, None)
        said = {"caption": caption} if caption else {}
        stored = files.store(self.sim.world, "document", name, "application/octet-stream", data)
        people.write(self.sim.world, chat, user, said, {"document": stored})

    async def conversation(self) -> str:
        (found,) = (await self.api.get("/api/v1/conversations")).body["items"]
        return str(found["conversation_id"])


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    async with simulator() as sim, served(ground, telegram_url=sim.url) as server:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(server.services) as url:
            found = await server.services.directory.account(account)
            assert found
            bot = await server.services.directory.client(found)
            assert isinstance(await connect(bot, "webhook", f"{url}/channels/telegram/{account}", SECRET), dict)
            people.add_user(sim.world, ANN, "Ann")
            yield Rig(sim, await client(server, workspace_id))


async def test_a_file_with_a_question_is_answered_from_the_file(rig: Rig) -> None:
    rig.send("gate.pdf", pdf_of("The gate code is 4711."), caption="What is the code?")
    await rig.shows("you said: What is the code?")
    assert [hit["title"] for hit in rig.api.server.answer.hits] == ["gate.pdf"]
    assert "4711" in rig.api.server.answer.hits[0]["text"]


async def test_a_file_stays_context_of_its_conversation_until_a_fresh_start(rig: Rig) -> None:
    rig.send("gate.txt", b"The gate code is 4711.")
    await rig.shows("I have read gate.txt. What would you like to know about it?")
    rig.sim.say(ANN, "what is the code?")
    await rig.shows("you said: what is the code?")
    assert "4711" in rig.api.server.answer.hits[0]["text"]
    rig.sim.say(ANN, "/new")
    await rig.shows("A fresh start")
    rig.sim.say(ANN, "and now?")
    await rig.shows("you said: and now?")
    assert rig.api.server.answer.hits == []


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("tool.exe", b"MZ\x90\x00", "I can't use tool.exe, because programs are not taken."),
        ("sheet.xlsx", b"PK\x03\x04 and so on", "I have kept sheet.xlsx, but I can't look into it: I can read texts"),
        ("big.txt", b"x" * (10 * 1024 * 1024 + 1), "I can't use big.txt, because it is larger than 10 MB."),
    ],
)
async def test_what_cannot_be_used_gets_a_kind_answer(rig: Rig, name: str, data: bytes, said: str) -> None:
    rig.send(name, data)
    shown = await rig.shows(said)
    assert "Please write your question as text" in shown


async def test_files_are_listed_and_handed_out_as_downloads_only(rig: Rig) -> None:
    rig.send("note.html", b"<html><script>alert(1)</script>Hi</html>")
    await rig.shows("I have read note.html")
    conversation = await rig.conversation()
    (item,) = (await rig.api.get(f"/api/v1/conversations/{conversation}/attachments")).body["items"]
    assert (item["name"], item["mime"], item["status"]) == ("note.html", "text/html", "read")
    got = await rig.api.get(f"/api/v1/attachments/{item['attachment_id']}/content")
    assert got.raw == b"<html><script>alert(1)</script>Hi</html>"
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"].startswith("attachment;")


async def test_another_workspace_sees_no_file(rig: Rig, second_workspace: str) -> None:
    rig.send("note.txt", b"secret")
    await rig.shows("I have read note.txt")
    conversation = await rig.conversation()
    (item,) = (await rig.api.get(f"/api/v1/conversations/{conversation}/attachments")).body["items"]
    stranger = await client(rig.api.server, second_workspace)
    assert (await stranger.get(f"/api/v1/attachments/{item['attachment_id']}/content")).status == 404
    assert (await stranger.get(f"/api/v1/conversations/{conversation}/attachments")).status == 404


async def test_a_download_that_fails_is_tried_again(rig: Rig) -> None:
    rig.sim.fault("status", "getFile", code=500, count=1)
    rig.send("note.txt", b"The answer is 42.")
    await rig.shows("I have read note.txt")


async def test_no_address_with_a_token_is_ever_stored(
    rig: Rig, ground: Ground, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    rig.send("note.txt", b"hello")
    await rig.shows("I have read note.txt")
    token = rig.sim.bot.token.encode()
    for table in ("inbound_updates", "attachments", "messages", "events", "turns", "sessions", "outbound_messages"):
        for row in await admin.fetch(f"SELECT t::text AS row FROM {table} t"):
            assert token.decode() not in row["row"], table
    for row in await admin.fetch("SELECT payload FROM inbound_updates"):
        assert token not in row["payload"]
