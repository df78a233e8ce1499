"""Files to people: what may be sent, and how it gets there; on Telegram over a real wire, and to REST readers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import orjson
import pytest

from channels.table import CHANNELS
from channels.telegram import CHANNEL as TELEGRAM
from channels.telegram import connect
from gateway.services import Ground
from kernel.types import Json
from pipeline.files import outgoing
from pipeline.files.reading import MOST
from pipeline.machine import Emit
from simulators.telegram import files, people
from simulators.telegram.server import Simulator
from tests.gateway_parts import SECRET, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, Reply, client, served
from tests.web_visitors import PAGE, site

ANN = 1001
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x02" * 2 + b"\x08\x02\0\0\0"


def enclosed(name: str = "report.txt", data: bytes = b"All is well.", **more: str) -> Json:
    return {"name": name, "content": base64.b64encode(data).decode(), **more}


@dataclass
class Rig:
    sim: Simulator
    api: Client
    user_id: str = ""

    def files(self) -> list[Json]:
        return [entry for entry in self.sim.sends(ANN) if entry["method"] in ("sendDocument", "sendPhoto")]

    async def sent(self, count: int) -> None:
        async def there() -> bool:
            return len(self.files()) >= count

        await until(there)

    async def outbound(self, state: str) -> list[Json]:
        """Sends in this state, once there are some."""
        found: list[Json] = []

        async def there() -> bool:
            found[:] = (await self.api.get(f"/api/v1/outbound?state={state}")).body["items"]
            return bool(found)

        await until(there)
        return found

    async def notify(self, *files: Json, text: str = "", **more: Any) -> Reply:
        body = {"user_id": self.user_id, "text": text, "files": list(files)}
        return await self.api.post("/api/v1/notifications", body, **more)


@pytest.fixture
async def rig(ground: Ground, workspace_id: str) -> AsyncIterator[Rig]:
    """Ann has written to a bot."""
    async with simulator() as sim, served(ground, telegram_url=sim.url) as server:
        account = await telegram_account(ground, workspace_id)
        async with inbound_server(server.services) as url:
            found = await server.services.directory.account(account)
            assert found
            bot = await server.services.directory.client(found)
            assert isinstance(await connect(bot, "webhook", f"{url}/channels/telegram/{account}", SECRET), dict)
            people.add_user(sim.world, ANN, "Ann")
            rig = Rig(sim, await client(server, workspace_id))
            sim.say(ANN, "hello")

            async def met() -> bool:
                items = (await rig.api.get("/api/v1/users")).body["items"]
                rig.user_id = items[0]["user_id"] if items else ""
                return bool(rig.user_id) and bool(sim.sends(ANN))

            await until(met)
            yield rig


async def test_text_and_files_arrive_in_order_and_are_listed_with_the_message(rig: Rig) -> None:
    told = await rig.notify(enclosed("a.txt"), enclosed("b.txt", b"And more.", caption="second"), text="Two files:")
    assert told.status == 202
    assert [file["name"] for file in told.body["files"]] == ["a.txt", "b.txt"]
    await rig.sent(2)
    methods = [entry["method"] for entry in rig.sim.sends(ANN) if entry["method"].startswith("send")]
    assert methods[-3:] == ["sendMessage", "sendDocument", "sendDocument"]
    said = (await rig.api.get(f"/api/v1/conversations/{told.body['conversation_id']}/messages")).body["items"][-1]
    assert [(file["name"], file["caption"]) for file in said["files"]] == [("a.txt", ""), ("b.txt", "second")]
    got = await rig.api.get(f"/api/v1/attachments/{said['files'][1]['attachment_id']}/content")
    assert (got.raw, got.headers["Content-Type"]) == (b"And more.", "application/octet-stream")


async def test_a_repeated_key_sends_once(rig: Rig) -> None:
    for _ in range(2):
        assert (await rig.notify(enclosed(), headers={"Idempotency-Key": "f1"})).status == 202
    await rig.sent(1)
    assert len(rig.files()) == 1


async def test_a_file_waits_for_what_the_platform_asks(rig: Rig) -> None:
    rig.sim.fault("status", "sendDocument", code=429, retry_after=1, count=1)
    await rig.notify(enclosed())
    await rig.sent(1)
    assert len(rig.files()) == 1


@pytest.mark.parametrize(
    ("files", "status", "field"),
    [
        ([{"name": "a.txt", "content": "not base64!"}], 422, "files.0.content"),
        ([enclosed(), enclosed("tool.exe", b"MZ\x90\x00")], 422, "files.1"),
        ([enclosed("empty.txt", b"")], 422, "files.0"),
        ([enclosed("big.bin", b"x" * (MOST + 1))], 413, "files.0.content"),
        ([enclosed(f"{n}.txt") for n in range(6)], 422, "files"),
        ([], 422, "text"),
    ],
    ids=["no base64", "a program", "empty", "too large", "too many", "nothing"],
)
async def test_what_cannot_be_sent_is_refused_whole(rig: Rig, files: list[Json], status: int, field: str) -> None:
    refused = await rig.notify(*files)
    assert refused.status == status, refused.body
    assert refused.body["details"][0]["field"].startswith(field)
    conversation = (await rig.api.get("/api/v1/conversations")).body["items"][0]["conversation_id"]
    assert (await rig.api.get(f"/api/v1/conversations/{conversation}/attachments")).body["items"] == []


async def test_another_workspace_gets_no_file(rig: Rig, second_workspace: str) -> None:
    told = await rig.notify(enclosed())
    stranger = await client(rig.api.server, second_workspace)
    attachment = told.body["files"][0]["attachment_id"]
    assert (await stranger.get(f"/api/v1/attachments/{attachment}/content")).status == 404


async def test_who_has_blocked_the_bot_is_sent_nothing(rig: Rig) -> None:
    ann = people.known_user(rig.sim.world, ANN)
    chat = people.find_chat(rig.sim.world, rig.sim.bot, ann, None)
    chat.blocked = True  # which nobody has told us yet
    await rig.notify(enclosed())
    (failed,) = await rig.outbound("failed")
    assert (failed["text"], failed["cause"]) == ("report.txt", "blocked: Forbidden: bot was blocked by the user")
    chat.blocked = False
    people.set_blocked(rig.sim.world, chat, ann, True)

    async def refused() -> bool:
        told = await rig.notify(enclosed("later.txt"))
        return (told.status, told.body.get("code")) == (409, "unreachable")

    await until(refused)
    assert rig.files() == []


async def test_pictures_are_photos_when_telegram_takes_them(rig: Rig) -> None:
    await rig.notify(enclosed("small.png", PNG), enclosed("broken.png", PNG[:12]))
    await rig.sent(2)
    assert [entry["method"] for entry in rig.files()] == ["sendPhoto", "sendDocument"]


async def test_what_telegram_finds_too_large_is_failed_at_once(rig: Rig) -> None:
    rig.sim.fault("status", "sendDocument", code=413, description="Request Entity Too Large", count=1)
    await rig.notify(enclosed("huge.bin"), enclosed("small.txt"))
    await rig.sent(1)  # and the next one is not held up by it
    (failed,) = await rig.outbound("failed")
    assert (failed["text"], failed["cause"]) == ("huge.bin", "too_large: Request Entity Too Large")


@pytest.mark.parametrize(("policy", "seen"), [("hold", 1), ("resend", 2)])
async def test_a_send_that_broke_off_follows_the_bots_policy(
    rig: Rig, admin: asyncpg.Connection[asyncpg.Record], policy: str, seen: int
) -> None:
    body = {"settings": {"unknown_sends": policy}}
    account = (await rig.api.get("/api/v1/channels")).body["items"][0]["account_id"]
    assert (await rig.api("PATCH", f"/api/v1/channels/{account}", body)).status == 200
    rig.sim.fault("drop_after", "sendDocument", count=1)
    await rig.notify(enclosed())
    if policy == "hold":
        (unknown,) = await rig.outbound("unknown")
        assert unknown["text"] == "report.txt"
    await rig.sent(seen)

    async def settled() -> bool:
        states = await admin.fetch("SELECT state FROM outbound_messages WHERE plain = 'report.txt' ORDER BY seq DESC")
        return str(states[0]["state"]) == ("unknown" if policy == "hold" else "sent")

    await until(settled)
    assert len(rig.files()) == seen


async def test_a_file_that_is_not_kept_any_more_is_not_waited_for(rig: Rig, ground: Ground, workspace_id: str) -> None:
    rig.sim.fault("status", "sendDocument", code=429, retry_after=1, count=1)
    await rig.notify(enclosed())
    async with ground.database.workspace(workspace_id) as conn:
        await conn.execute("DELETE FROM attachments")
    (failed,) = await rig.outbound("failed")
    assert failed["cause"] == "gone: the file is not kept any more"


async def test_where_no_file_can_be_sent_the_person_is_told_of_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHANNELS, "telegram", replace(TELEGRAM, upload=None))
    await rig.notify(enclosed("a_b.txt", caption="See page 2"))

    async def told() -> bool:
        return any("There is a file for you, a_b.txt" in str(entry["text"]) for entry in rig.sim.sends(ANN))

    await until(told)
    assert "See page 2" in rig.sim.sends(ANN)[-1]["text"]


async def test_names_and_captions_arrive_as_they_are(rig: Rig) -> None:
    names = ['Übersicht "März".txt', "50 %25 off.txt", "../../etc/passwd", "a.txt", "A.txt", "trick.bat. "]
    told = await rig.notify(*(enclosed(name, caption="*not* <b>bold</b>") for name in names[:5]))
    await rig.sent(5)
    held = [file.name for file in rig.sim.world.files.values()]
    assert held == ['Übersicht "März".txt', "50 %25 off.txt", "passwd", "a.txt", "A (2).txt"]
    assert held == [file["name"] for file in told.body["files"]]
    assert {entry["text"] for entry in rig.files()} == {"*not* <b>bold</b>"}
    assert (await rig.notify(enclosed(names[5]))).status == 422


async def test_the_event_names_the_files(rig: Rig) -> None:
    await rig.notify(enclosed())
    events = (await rig.api.get("/api/v1/events?type=chat.response.generated")).body["items"]
    told = [event["data"] for event in events if event["data"].get("files")]
    assert [(data["text"], data["files"][0]["name"]) for data in told] == [("", "report.txt")]
    assert all("files" not in event["data"] for event in events if event["data"] not in told)


async def test_no_address_with_a_token_is_ever_stored(rig: Rig, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    await rig.notify(enclosed(), text="Here:")
    await rig.sent(1)
    for table in ("attachments", "messages", "events", "outbound_messages", "idempotency_keys"):
        for row in await admin.fetch(f"SELECT t::text AS row FROM {table} t"):
            assert rig.sim.bot.token not in row["row"], table


async def test_a_file_alone_is_no_empty_line_in_what_is_remembered(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: list[str] = []

    async def noting(self: object, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json:
        remembered[:] = [said["text"] for said in history]
        return {"text": "noted", "citations": [], "grounded": True, "score": 1.0, "model": "scripted"}

    await rig.notify(enclosed())
    await rig.sent(1)
    monkeypatch.setattr(type(rig.api.server.answer), "__call__", noting)
    rig.sim.say(ANN, "thanks")

    async def answered() -> bool:
        return any(entry["text"] == "noted" for entry in rig.sim.sends(ANN))

    await until(answered)
    assert remembered == ["hello", "you said: hello"]


async def test_rest_readers_are_told_in_list_and_stream(rig: Rig) -> None:
    await rig.api.post("/api/v1/messages?wait=20", {"user_id": "dora", "text": "hi"})
    told = await rig.api.post("/api/v1/notifications", {"user_id": "dora", "files": [enclosed()]})
    assert (told.status, told.body["channel"]) == (202, "rest")
    path = f"/api/v1/conversations/{told.body['conversation_id']}"
    (listed,) = (await rig.api.get(f"{path}/attachments")).body["items"]
    assert (listed["direction"], listed["message_id"]) == ("out", told.body["message_id"])
    said = (await rig.api.get(f"{path}/messages")).body["items"][-1]
    headers = {"X-API-Key": rig.api.api_key, "Last-Event-ID": str(said["seq"] - 1)}
    async with rig.api.server.http.get(rig.api.server.url + f"{path}/stream", headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                event = orjson.loads(line[6:])
                break
    assert event["files"] == said["files"]
    assert [file["name"] for file in said["files"]] == ["report.txt"]


async def test_visitors_hear_of_files_in_their_stream_and_others_never_get_them(
    rig: Rig, workspace_id: str, second_workspace: str
) -> None:
    server = rig.api.server
    shop, elsewhere = await site(server, workspace_id), await site(server, second_workspace)
    ann = await shop.visitor(identity=shop.identity("ann"))
    taken = await ann.say("hello")
    await ann.answered(2)
    async with ann.stream() as events:
        body = {"conversation_id": taken.body["conversation_id"], "files": [enclosed()]}
        assert (await rig.api.post("/api/v1/notifications", body)).status == 202
        (file,) = (await anext(events))[2]["files"]
    path = f"/files/{file['attachment_id']}"
    got = await ann.call("GET", path)
    assert (got.status, got.raw) == (200, b"All is well.")
    assert got.headers["Access-Control-Allow-Origin"] == PAGE
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    assert (await shop.call("OPTIONS", path, **asked)).status == 204
    other_shop = await site(server, workspace_id)
    for stranger in (
        await shop.visitor(),
        await other_shop.visitor(identity=other_shop.identity("ann")),
        await elsewhere.visitor(identity=elsewhere.identity("ann")),
    ):
        assert (await stranger.call("GET", path)).status == 404
    assert (await shop.call("GET", path)).status == 401
    theirs = await rig.notify(enclosed("for-telegram.txt"))
    assert (await ann.call("GET", f"/files/{theirs.body['files'][0]['attachment_id']}")).status == 404


async def test_a_file_that_a_person_sent_is_listed_with_their_message(rig: Rig) -> None:
    user = people.known_user(rig.sim.world, ANN)
    stored = files.store(rig.sim.world, "document", "note.txt", "text/plain", b"The code is 4711.")
    people.write(
        rig.sim.world, people.find_chat(rig.sim.world, rig.sim.bot, user, None), user, {}, {"document": stored}
    )
    conversation = (await rig.api.get("/api/v1/conversations")).body["items"][0]["conversation_id"]

    async def listed() -> bool:
        said = (await rig.api.get(f"/api/v1/conversations/{conversation}/messages")).body["items"]
        return [(one["role"], file["name"]) for one in said for file in one["files"]] == [("user", "note.txt")]

    await until(listed)


def test_names_are_told_apart_and_the_bytes_say_what_a_file_is() -> None:
    assert outgoing.apart(["a.txt", "A.txt", "b.txt"]) == ["a.txt", "A (2).txt", "b.txt"]
    assert outgoing.mime_of("x.png", b"\x89PNG\r\n\x1a\n", "text/html") == "image/png"
    assert outgoing.mime_of("x.docx", b"PK\x03\x04", "application/vnd.word") == "application/vnd.word"
