"""The simulator from outside: its control API, its state file, its program."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup

from simulators.telegram import groups
from simulators.telegram.server import Simulator
from simulators.telegram.state import Config
from tests.simulator_telegram_kit import ANN, PNG, talking


@pytest.fixture
async def both() -> AsyncIterator[tuple[Simulator, Bot]]:
    async with talking() as pair:
        pair[0].say(ANN, "hello")
        yield pair


async def test_a_run_from_outside(both: tuple[Simulator, Bot]) -> None:
    sim, bot = both
    async with aiohttp.ClientSession(base_url=f"{sim.url}/sim/") as session:

        async def post(path: str, expect: int = 200, **body: Any) -> Any:
            async with session.post(path, json=body) as answer:
                assert answer.status == expect, await answer.text()
                return await answer.json()

        async def get(path: str) -> Any:
            async with session.get(path) as answer:
                assert answer.status == 200
                return await answer.json()

        async with session.get("events") as stream:
            user = await post("users", first_name="Bob", username="bob")
            said = await post("messages", user_id=user["id"], text="hi")
            await post("edits", user_id=user["id"], message_id=said["message_id"], text="hi!")
            button = InlineKeyboardMarkup([[InlineKeyboardButton("Go", callback_data="go")]])
            sent = await bot.send_message(user["id"], "yo", reply_markup=button)
            events = [json.loads(line[6:]) async for line in _some(stream, 4)]
        assert [event["type"] for event in events] == ["user", "message", "edited_message", "send"]
        assert events[-1]["text"] == "yo" and events[-1]["message"]["message_id"] == sent.message_id
        pressed = await post("callbacks", user_id=user["id"], message_id=sent.message_id, data="go")
        await bot.answer_callback_query(pressed["callback_query_id"], "went")
        assert (await get(f"callbacks/{pressed['callback_query_id']}"))["answer"]["text"] == "went"
        seen = (await get(f"chats/{user['id']}/messages"))["messages"]
        assert [one["message"]["text"] for one in seen] == ["hi!", "yo"] and seen[0]["edits"][0]["text"] == "hi"
        truth = await get("truth?since=0")
        assert truth["last"] == 1 and truth["entries"][0]["request"]["text"] == "yo"
        assert (await get("calls"))["calls"]["sendMessage"] == {"ok": 1}
        await post("block", user_id=user["id"])
        assert len((await post("unblock", user_id=user["id"]))["update_ids"]) == 1
        group = await post("chats", type="group", title="Team", users=[user["id"]])
        moved = await post("migrate", user_id=user["id"], chat_id=group["id"])
        assert (await post("members", user_id=1, chat_id=moved["chat_id"], status="kicked"))["update_id"]
        form = aiohttp.FormData({"user_id": "1", "text": "a picture"})
        form.add_field("photo", PNG, filename="a.png", content_type="image/png")
        async with session.post("messages", data=form) as answer:
            assert (await answer.json())["message"]["caption"] == "a picture"
        fault = await post("faults", kind="delay", ms=5)
        assert (await get("faults"))["faults"][0]["id"] == fault["id"]
        async with session.delete(f"faults/{fault['id']}") as answer:
            assert answer.status == 200
        await post("faults", 400, kind="nothing")
        await post("messages", 400, user_id="x", text="hi")
        await post("messages", 400, user_id=1, text="x" * 4097)
        await post("callbacks", 400, user_id=1, message_id=1, data="nothing")
        other = await post("bots", username="second_bot")
        assert (await post("messages", user_id=1, text="hi", bot="second_bot"))["chat_id"] == 1
        assert [b["id"] for b in (await get("state"))["bots"]] == [sim.bot.id, other["id"]]
        await post("reset")
        assert (await get("truth"))["last"] == 0 and not (await get("state"))["users"]


async def _some(stream: aiohttp.ClientResponse, count: int) -> AsyncIterator[bytes]:
    while count:
        line = await stream.content.readline()
        if line.startswith(b"data: "):
            count -= 1
            yield line


async def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    config = Config(state_file=str(tmp_path / "state.json"), seed=3)
    async with talking(config) as (sim, bot):
        sim.say(ANN, "hello")
        forum = groups.add_chat(sim.world, "supergroup", "Forum", True, [ANN], [sim.bot], ANN)
        groups.add_topic(sim.world, forum, sim.world.users[ANN], "News")
        await bot.send_document(ANN, document=b"bytes", filename="a.bin")
        pending = [u.to_dict() for u in await bot.get_updates()]
        token, before = sim.bot.token, sim.sends()
    async with talking(config) as (sim, bot):
        assert sim.bot.token == token and sim.sends() == before
        assert [u.to_dict() for u in await bot.get_updates()] == pending
        assert sim.world.groups[forum.id].topics == forum.topics
        assert next(iter(sim.world.files.values())).data == b"bytes"
        assert (await bot.send_message(ANN, "more")).message_id == before[-1]["message_id"] + 1


async def test_the_program_prints_where_it_is_and_leaves_when_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.telegram", "--port", "0", "--bot-token", "42:x",
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdout
    url = (await process.stdout.readline()).decode().split()[-1]
    assert (await process.stdout.readline()).decode().split()[-1] == "42:x"
    async with Bot("42:x", base_url=f"{url}/bot") as bot:
        assert bot.id == 42
    async with aiohttp.ClientSession() as session, session.get(url) as page:
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    process.terminate()
    assert await process.wait() == 0
