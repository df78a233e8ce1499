"""The simulator from outside: its control API, its state file, its program."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from simulators.discord.server import run_simulator
from simulators.discord.state import Config
from tests.simulator_discord_kit import PNG, Client, connected, discord, eventually, named, talking


async def test_a_run_from_outside() -> None:
    async with talking() as (sim, client), aiohttp.ClientSession(base_url=f"{sim.url}/sim/") as session:

        async def post(path: str, expect: int = 200, **body: Any) -> Any:
            async with session.post(path, json=body) as answer:
                assert answer.status == expect, await answer.text()
                return await answer.json()

        async def get(path: str) -> Any:
            async with session.get(path) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        async with session.get("events") as stream:
            user = await post("users", name="dora")
            said = await post("messages", user="dora", content="hi")
            await post("edits", user="dora", message_id=said["message_id"], content="hi!")
            dialogue = await client.fetch_channel(int(said["channel_id"]))
            assert isinstance(dialogue, discord.DMChannel)
            sent = await dialogue.send("yo")
            events = [json.loads(line[6:]) async for line in _some(stream, 4)]
        assert [event["type"] for event in events] == ["user", "message", "edited_message", "send"]
        assert events[-1]["text"] == "yo" and events[-1]["message_id"] == str(sent.id)
        seen = (await get(f"channels/{said['channel_id']}/messages"))["messages"]
        assert [one["message"]["content"] for one in seen] == ["hi!", "yo"] and seen[0]["edits"][0]["content"] == "hi"
        truth = await get("truth?since=0")
        assert truth["last"] == 1 and truth["entries"][0]["request"]["content"] == "yo"
        assert truth["entries"][0]["seen_by"] == [user["id"]]
        assert (await get("truth?since=1&limit=5"))["entries"] == []
        assert (await get("calls"))["calls"]["create_message"] == {"ok": 1}
        for path in ("block", "unblock"):
            await post(path, user="dora")
        form = aiohttp.FormData({"payload_json": json.dumps({"user": "ada", "channel": "general", "content": "see"})})
        form.add_field("files[0]", PNG, filename="a.png", content_type="image/png")
        async with session.post("messages", data=form) as answer:
            assert (await answer.json())["message"]["attachments"][0]["width"] == 3
        await eventually(lambda: len(client.heard) == 2)
        assert await client.heard[1].attachments[0].read() == PNG
        secret = await post("channels", name="secret", private=True, users=["ben"])
        await post("messages", 400, user="ada", channel="secret", content="hi")
        await post("members", channel="secret", user="ada", status="member")
        await post("messages", user="ada", channel="secret", content="hi")
        await post("permissions", channel="secret", denied=["SEND_MESSAGES"])
        assert sim.world.channels[int(secret["id"])].denied == {sim.bot.id: 1 << 11}
        thread = await post("threads", user="ada", channel="ideas", name="An idea", content="what if")
        assert thread["message"]["id"] == thread["channel"]["id"]
        fault = await post("faults", kind="delay", ms=5)
        assert (await get("faults"))["faults"][0]["id"] == fault["id"]
        async with session.delete(f"faults/{fault['id']}") as answer:
            assert answer.status == 200
        for path, body in (
            ("faults", {"kind": "nothing"}),
            ("messages", {"user": "nobody", "content": "hi"}),
            ("messages", {"user": "ada", "content": "x" * 2001}),
            ("presses", {"user": "ada", "message_id": said["message_id"], "custom_id": "none"}),
            ("commands", {"user": "ada", "command": "none"}),
            ("interactions", {"url": "http://127.0.0.1:1/nobody"}),
        ):
            await post(path, 400, **body)
        state = await get("state")
        assert state["bots"][0]["connected"] == 1 and state["undelivered"]["events"] == 0
        assert [one["username"] for one in state["users"]] == ["ada", "ben", "chloe", "dora"]
        await post("reset")
        assert (await get("truth"))["last"] == 0 and len((await get("state"))["users"]) == 3
        await post("messages", user="ada", content="after all that")
        await eventually(lambda: client.texts()[-1] == "after all that")


async def _some(stream: aiohttp.ClientResponse, count: int) -> AsyncIterator[bytes]:
    while count:
        line = await stream.content.readline()
        if line.startswith(b"data: "):
            count -= 1
            yield line


async def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    config = Config(state_file=str(tmp_path / "state.json"), seed=3)
    async with talking(config) as (sim, client):
        said = sim.say("ada", "hello", "general")
        await eventually(lambda: len(client.heard) == 1)
        thread = await client.heard[0].create_thread(name="Talk")
        view = discord.ui.View()
        view.add_item(discord.ui.Button(label="Go", custom_id="go"))
        sent = await thread.send("once", nonce="n1", view=view, file=discord.File(__file__))
        sim.react("ben", said["id"], "👍", "general")
        pressed = sim.press("ada", sent.id, "go", thread.id)
        token, before = sim.bot.token, sim.sends()
        files = sim.world.files
    async with run_simulator(config=config) as sim:
        assert sim.bot.token == token and sim.sends() == before and sim.world.files == files
        assert sim.world.tokens[pressed.token].source == sent.id
        sim.say("ben", "while nobody listened", "general")
        assert sim.world.missed >= 1
        async with connected(sim) as client:
            general = named(client, "general")
            history = [message async for message in general.history(after=discord.Object(int(said["id"]) - 1))]
            assert [message.content for message in history] == ["hello", "while nobody listened"]
            assert history[0].reactions[0].emoji == "👍"
            found = client.guilds[0].get_thread(thread.id)
            assert found and (await found.send("again", nonce="n1")).id == sent.id
            assert (await found.send("more")).id > sent.id


async def test_a_seed_gives_the_same_world() -> None:
    async with run_simulator(config=Config(seed=5)) as one, run_simulator(config=Config(seed=5)) as two:
        assert one.bot == two.bot and one.world.people == two.world.people
        assert list(one.world.channels) == list(two.world.channels)
        async with run_simulator(config=Config(seed=6)) as other:
            assert other.bot.id != one.bot.id and other.bot.key != one.bot.key


async def test_the_program_prints_where_it_is_and_leaves_when_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.discord", "--port", "0", "--bot-token", "my.bot.token", "--no-flood",
        "--application-id", "1000000000000000001", "--private-key", "11" * 32,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdout
    lines = [(await process.stdout.readline()).decode().split()[-1] for _ in range(4)]
    url, token, application, key = lines
    assert token == "my.bot.token" and application == "1000000000000000001"
    async with Client(url) as client:
        await client.login(token)
        info = await client.application_info()
        assert info.id == int(application) and info.verify_key == key
    async with aiohttp.ClientSession() as session:
        for path in ("/?person=ada&compact=1", "/app.js", "/style.css"):
            async with session.get(url + path) as page:
                assert page.status == 200 and "script-src 'self'" in page.headers["Content-Security-Policy"]
    process.terminate()
    assert await process.wait() == 0
