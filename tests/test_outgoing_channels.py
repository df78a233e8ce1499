"""Files on Slack and Discord: the channels' own uploads, and the whole gateway with them."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from channels.discord import DiscordClient
from channels.discord.upload import upload as to_discord
from channels.slack.install import open_bot
from channels.slack.upload import upload as to_slack
from channels.wire import open_wire
from gateway.listen import listening
from gateway.services import Ground
from kernel.settings import Settings
from kernel.types import Account, Json, NotSent, OutgoingFile, Refused, Sent, Unknown
from simulators.discord.server import Simulator as Discord
from simulators.discord.server import run_simulator as run_discord
from simulators.discord.state import Config as DiscordConfig
from simulators.slack.server import Simulator as Slack
from simulators.slack.server import run_simulator as run_slack
from simulators.slack.state import Config as SlackConfig
from tests.discord_kit import address_in, eventually, local_discord
from tests.gateway_parts import until
from tests.http_face import Client, client, served
from tests.slack_parts import Bot, talking
from tests.test_discord_gateway import connect as connect_discord
from tests.test_slack_gateway import connect as connect_slack

REPORT = OutgoingFile("report.pdf", "application/pdf", b"%PDF-1.4 a report", "For *you*")
OTHER = OutgoingFile("other.pdf", "application/pdf", b"%PDF-1.4 another")


def on_slack(sim: Slack, channel: str) -> list[tuple[str, bytes]]:
    """The files that stand there, by name."""
    held = sim.world.channels[sim.channel(channel)].messages.values()
    shared = [file["id"] for seen in held if not seen.deleted for file in seen.message.get("files", ())]
    return [(sim.world.files[number].name, sim.world.files[number].data) for number in shared]


def on_discord(sim: Discord, address: Json) -> list[tuple[str, bytes]]:
    held = sim.world.channels[int(address["channel_id"])].messages.values()
    shown = [int(file["id"]) for seen in held if not seen.deleted for file in seen.message["attachments"]]
    return [(sim.world.files[number].name, sim.world.files[number].data) for number in shown]


# ---- Slack --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def slack() -> AsyncIterator[Bot]:
    async with talking() as bot:
        yield bot


async def test_slack_shares_a_file_in_its_thread(slack: Bot) -> None:
    root = slack.simulator.say("ada", "@parley hello", "#support")
    sent = await to_slack(slack.client, slack.address(thread_ts=root["ts"]), REPORT, "out_1")
    assert isinstance(sent, Sent)
    assert on_slack(slack.simulator, "#support") == [("report.pdf", REPORT.data)]
    (entry,) = slack.simulator.sends("#support")
    assert (entry["method"], entry["text"], entry["thread_ts"]) == (
        "files.completeUploadExternal", "For *you*", root["ts"],
    )  # fmt: skip


async def test_slack_where_the_bot_is_not_it_goes_to_the_person(slack: Bot) -> None:
    sim = slack.simulator
    sim.world.channels[sim.channel("#general")].members.remove(sim.bot.bot_user)
    address = slack.address("#general", otherwise=sim.user("ada"))
    assert isinstance(await to_slack(slack.client, address, REPORT, "out_1"), Sent)
    assert (on_slack(sim, "#general"), len(on_slack(sim, "ada"))) == ([], 1)
    refused = await to_slack(slack.client, slack.address("#general"), REPORT, "out_1")
    assert isinstance(refused, Refused)
    assert refused.blocked


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "upload"])
@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "status"])
async def test_slack_before_the_share_nothing_is_in_doubt(slack: Bot, method: str, kind: str) -> None:
    slack.simulator.fault(kind, method, count=1)
    address = slack.address()
    assert isinstance(await to_slack(slack.client, address, REPORT, "out_1"), NotSent)
    assert isinstance(await to_slack(slack.client, address, REPORT, "out_1"), Sent)
    assert len(on_slack(slack.simulator, "#support")) == 1


async def test_slack_says_when_to_come_back_and_what_is_too_large(slack: Bot) -> None:
    address = slack.address()
    for method in ("files.getUploadURLExternal", "files.completeUploadExternal"):
        slack.simulator.fault("status", method, code=429, retry_after=7, count=1)
        assert await to_slack(slack.client, address, REPORT, "o") == NotSent("ratelimited", 7.0, "chat")
    slack.simulator.fault("status", "upload", code=413, count=1)
    refused = await to_slack(slack.client, address, REPORT, "o")
    assert (type(refused), getattr(refused, "code", "")) == (Refused, "too_large")
    bot = slack.simulator.bot
    bot.scopes = tuple(scope for scope in bot.scopes if scope != "files:write")
    refused = await to_slack(slack.client, address, REPORT, "o")
    assert (type(refused), getattr(refused, "code", "")) == (Refused, "missing_scope")


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
async def test_slack_looks_for_a_share_that_broke_off(slack: Bot, kind: str) -> None:
    sim, address = slack.simulator, slack.address()
    began = time.time()
    assert isinstance(await to_slack(slack.client, address, OTHER, "out_0"), Sent)
    sim.fault(kind, "files.completeUploadExternal", count=1)
    assert isinstance(await to_slack(slack.client, address, REPORT, "out_1"), Unknown)
    again = await to_slack(slack.client, address, replace(REPORT, tried=began), "out_1")
    if kind == "drop_before":  # so soon Slack may not show yet what it has taken
        assert again == NotSent("an earlier send is not settled yet")
        again = await to_slack(slack.client, address, replace(REPORT, tried=began - 6), "out_1")
    assert isinstance(again, Sent)
    assert [name for name, _ in on_slack(sim, "#support")] == ["other.pdf", "report.pdf"]


async def test_slack_takes_no_older_file_of_that_name_for_this_one(slack: Bot) -> None:
    sim, address = slack.simulator, slack.address()
    assert isinstance(await to_slack(slack.client, address, REPORT, "out_1"), Sent)
    held = sim.world.channels[sim.channel("#support")].messages
    first = next(iter(held.values())).message
    tried = float(first["ts"]) + 3  # this one came into being later
    assert isinstance(await to_slack(slack.client, address, replace(REPORT, tried=tried), "out_2"), NotSent)
    changed = replace(REPORT, data=b"%PDF-1.4 a longer one", tried=float(first["ts"]) - 60)
    assert isinstance(await to_slack(slack.client, address, changed, "out_3"), Sent)
    assert len(on_slack(sim, "#support")) == 2


async def test_slack_that_is_not_there_is_not_sent() -> None:
    wire = open_wire(Settings.read({"SLACK_API_BASE_URL": "http://127.0.0.1:1/api/"}))
    try:
        bot = await open_bot(Account("ws", "acc", "slack", "webhook", {"bot_token": "x"}, {}, {}), wire)
        assert isinstance(await to_slack(bot, {"team": "T", "channel": "C"}, REPORT, "o"), NotSent)
    finally:
        await wire.close()


# ---- Discord ------------------------------------------------------------------------------------------------------


async def test_discord_takes_a_file_once_however_often_it_is_sent() -> None:
    async with local_discord() as (sim, bot):
        address = address_in(sim, "general")
        sim.fault("drop_after", "create_message", count=1)
        assert isinstance(await to_discord(bot, address, REPORT, "out_1"), Unknown)
        assert isinstance(await to_discord(bot, address, replace(REPORT, tried=time.time()), "out_1"), Sent)
        assert on_discord(sim, address) == [("report.pdf", REPORT.data)]
        assert sim.sends()[-1]["text"] == r"For \*you\*"
        assert isinstance(await to_discord(bot, address, REPORT, "out_2"), Sent)  # another unit, though the same file
        assert len(on_discord(sim, address)) == 2


async def test_discord_looks_in_the_history_when_the_nonce_is_forgotten() -> None:
    async with local_discord(DiscordConfig(seed=7, nonce_seconds=0)) as (sim, bot):
        address = address_in(sim, "general")
        named = replace(REPORT, name="Bericht für März.pdf", caption="")
        sim.fault("drop_after", "create_message", count=1)
        assert isinstance(await to_discord(bot, address, named, "out_1"), Unknown)
        late = time.time() - 200
        found = await to_discord(bot, address, replace(named, tried=late), "out_1")
        assert isinstance(found, Sent)
        assert found.receipt["message_id"] == sim.sends()[-1]["message_id"]
        assert len(on_discord(sim, address)) == 1
        other = await to_discord(bot, address, replace(OTHER, tried=late), "out_2")
        assert isinstance(other, Sent)
        assert len(on_discord(sim, address)) == 2


async def test_discord_says_when_to_come_back_and_what_is_too_large() -> None:
    async with local_discord(DiscordConfig(seed=7, file_limit=8)) as (sim, bot):
        address = address_in(sim)
        refused = await to_discord(bot, address, REPORT, "out_1")
        assert (type(refused), getattr(refused, "code", "")) == (Refused, "too_large")
        sim.fault("status", "create_message", status=429, retry_after=3, count=1)
        waits = await to_discord(bot, address, OTHER, "out_2")
        assert (type(waits), getattr(waits, "retry_after", 0)) == (NotSent, 3.0)


async def test_discord_that_is_not_there_is_not_sent() -> None:
    wire = open_wire(Settings(discord_api_base_url="http://127.0.0.1:1/api/v10"))
    try:
        account = Account("ws", "acc", "discord", "socket", {"bot_token": "t"}, {}, {})
        bot = DiscordClient(account, wire)
        assert isinstance(await to_discord(bot, {"channel_id": "1"}, REPORT, "o"), NotSent)
    finally:
        await wire.close()


async def test_discord_what_was_for_one_persons_eyes_goes_nowhere_else() -> None:
    async with local_discord() as (sim, bot):
        given = {"id": "1", "application_id": "1", "token": "t", "expires_at": time.time() - 1, "discreet": True}
        address = {**address_in(sim, "general"), "interaction": given}
        refused = await to_discord(bot, address, REPORT, "out_1")
        assert (type(refused), getattr(refused, "code", "")) == (Refused, "interaction_expired")
        assert on_discord(sim, address) == []


# ---- the whole gateway ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_slack(ground: Ground, workspace_id: str) -> AsyncIterator[tuple[Client, Any, Callable[[], list[Any]]]]:
    async with (
        run_slack(config=SlackConfig(seed=7)) as sim,
        served(ground, slack_api_base_url=sim.api_url.rstrip("/")) as server,
    ):
        account = await connect_slack(ground, workspace_id, sim, "webhook")
        await sim.subscribe(f"{server.url}/channels/slack/{account}")
        sim.say("ada", "hello")
        yield await client(server, workspace_id), sim, lambda: on_slack(sim, "ada")


@asynccontextmanager
async def a_discord(ground: Ground, workspace_id: str) -> AsyncIterator[tuple[Client, Any, Callable[[], list[Any]]]]:
    async with (
        run_discord(config=DiscordConfig(seed=7)) as sim,
        served(ground, discord_api_base_url=sim.api_url, discord_gateway_url=sim.gateway_url) as server,
    ):
        await connect_discord(ground, workspace_id, sim)
        async with listening(server.services):
            await eventually(lambda: bool(sim.world.sessions))
            sim.say("ada", "hello")
            yield await client(server, workspace_id), sim, lambda: on_discord(sim, address_in(sim))


@pytest.mark.parametrize(
    ("place", "method", "limited"),
    [(a_slack, "files.completeUploadExternal", {"code": 429}), (a_discord, "create_message", {"status": 429})],
    ids=["slack", "discord"],
)
@pytest.mark.parametrize("fault", ["429", "drop_after", "none"])
async def test_files_arrive_once_and_in_order(
    ground: Ground,
    workspace_id: str,
    place: Any,
    method: str,
    limited: dict[str, int],
    fault: str,
    admin: asyncpg.Connection[asyncpg.Record],
) -> None:
    async def settled() -> bool:
        rows = await admin.fetch("SELECT state FROM outbound_messages WHERE workspace_id = $1", workspace_id)
        return len(rows) >= want and {row["state"] for row in rows} == {"sent"}

    async with place(ground, workspace_id) as (api, sim, shown):
        want = 1
        await until(settled)
        (user,) = (await api.get("/api/v1/users")).body["items"]
        if fault == "429":
            sim.fault("status", method, retry_after=1, count=1, **limited)
        elif fault == "drop_after":
            sim.fault("drop_after", method, count=1)
        files = [{"name": name, "content": base64.b64encode(name.encode()).decode()} for name in ("one.txt", "two.txt")]
        told = await api.post("/api/v1/notifications", {"user_id": user["user_id"], "files": files})
        assert told.status == 202, told.body
        want = 3
        await until(settled)
        assert shown() == [("one.txt", b"one.txt"), ("two.txt", b"two.txt")]
        assert fault == "none" or sim.world.faults.rules()[0]["hits"] == 1
