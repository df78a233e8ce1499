"""Files to people: by API to Telegram, Slack and Discord, once each; to web visitors and REST readers by id."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from channels.discord import CHANNEL as DISCORD
from channels.slack import CHANNEL as SLACK
from channels.telegram import connect
from gateway.services import Ground
from kernel.types import Json, NotSent, OutgoingFile, Sent, Unknown
from pipeline.files import outgoing
from simulators.discord.server import run_simulator as run_discord
from simulators.discord.state import Config as DiscordConfig
from simulators.telegram import people
from simulators.telegram.server import Simulator
from tests.discord_kit import account_on, address_in, wired
from tests.gateway_parts import SECRET, inbound_server, simulator, telegram_account, until
from tests.http_face import Client, client, served
from tests.slack_parts import talking

ANN = 1001
REPORT = OutgoingFile("report.pdf", "application/pdf", b"%PDF-1.4 a report", "For you")


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

    async def notify(self, *files: Json, text: str = "", **more: Any) -> Any:
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
        ([enclosed("big.bin", b"x" * (outgoing.MOST + 1))], 413, "files.0.content"),
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


async def test_slack_shares_a_file_and_finds_the_share_that_broke_off() -> None:
    async with talking() as bot:
        address = bot.address("ada")
        sent = await SLACK.upload(bot.client, address, REPORT, "out_1") if SLACK.upload else None
        assert isinstance(sent, Sent), sent
        bot.simulator.fault("drop_after", "files.completeUploadExternal", count=1)
        second = OutgoingFile("other.pdf", "application/pdf", b"%PDF-1.4 another")
        assert SLACK.upload
        assert isinstance(await SLACK.upload(bot.client, address, second, "out_2"), Unknown)
        shares = [e for e in bot.simulator.sends() if e["method"] == "files.completeUploadExternal"]
        assert len(shares) == 2
        bot.simulator.fault("status", "files.getUploadURLExternal", code=429, retry_after=3, count=1)
        waits = await SLACK.upload(bot.client, address, REPORT, "out_3")
        assert isinstance(waits, NotSent) and waits.retry_after == 3


async def test_discord_takes_a_file_once_however_often_it_is_sent() -> None:
    async with run_discord(config=DiscordConfig(seed=5)) as sim, wired(sim) as wire:
        sim.say("ada", "hello")
        account = account_on(sim)
        bot = await DISCORD.open(account, wire)
        assert DISCORD.upload
        address = address_in(sim)
        sim.fault("drop_after", "create_message", count=1)
        assert isinstance(await DISCORD.upload(bot, address, REPORT, "out_1"), Unknown)
        again = await DISCORD.upload(bot, address, REPORT, "out_1")
        assert isinstance(again, Sent), again
        held = sim.world.channels[int(address["channel_id"])].messages.values()
        files = [file for seen in held for file in seen.message.get("attachments", ())]
        assert [(file["filename"], file["size"]) for file in files] == [("report.pdf", len(REPORT.data))]


def test_names_are_told_apart_and_the_bytes_say_what_a_file_is() -> None:
    assert outgoing.apart(["a.txt", "A.txt", "b.txt"]) == ["a.txt", "A (2).txt", "b.txt"]
    assert outgoing.mime_of("x.png", b"\x89PNG\r\n\x1a\n", "text/html") == "image/png"
    assert outgoing.mime_of("x.docx", b"PK\x03\x04", "application/vnd.word") == "application/vnd.word"
