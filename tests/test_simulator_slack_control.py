"""The simulator from outside: its control API, its state file, its program, its page, and a prefix before it all."""

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from simulators.slack.server import Simulator, create_app, run_simulator
from simulators.slack.state import Config, Pace
from tests.simulator_slack_kit import PNG, eventually, receiving, talking
from tests.test_simulator_slack_interactions import BUTTONS, MODAL

ROOT = Path(__file__).parent.parent


class Outside:
    """The control API as a load driver sees it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def post(self, path: str, expect: int = 200, **body: Any) -> Any:
        async with self.session.post(path, json=body) as answer:
            assert answer.status == expect, await answer.text()
            return await answer.json()

    async def get(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.fixture
async def all_three() -> AsyncIterator[tuple[Simulator, AsyncWebClient, Outside]]:
    async with talking() as (sim, client), aiohttp.ClientSession(base_url=f"{sim.url}/sim/") as session:
        yield sim, client, Outside(session)


async def _some(stream: aiohttp.ClientResponse, count: int) -> AsyncIterator[bytes]:
    while count:
        line = await stream.content.readline()
        if line.startswith(b"data: "):
            count -= 1
            yield line


async def test_a_run_from_outside(all_three: tuple[Simulator, AsyncWebClient, Outside]) -> None:
    sim, client, out = all_three
    async with receiving(sim) as receiver, out.session.get("events") as stream:
        said = await out.post("messages", user="ada", text="hi")
        await out.post("edits", user="ada", ts=said["ts"], text="hi!")
        sent = await client.chat_postMessage(channel=said["channel"], text="yo", blocks=BUTTONS)
        events = [json.loads(line[6:]) async for line in _some(stream, 6)]
        kinds = [event["type"] for event in events if event["type"] != "delivery"]
        assert kinds == ["message", "edited", "send"]
        pressed = await out.post("presses", user="ada", ts=sent["ts"], action_id="up")
        assert (await receiver.other())["actions"][0]["value"] == "1"
        outcome = await out.get(f"interactions/{pressed['id']}")
        assert outcome["name"] == "block_actions"
        await out.post("presses", 400, user="ada", ts=sent["ts"], action_id="nothing")
        await out.post("commands", user="ben", command="/ask", text="x", channel="#general")
        command = await receiver.other(2)
        await client.views_open(trigger_id=command["trigger_id"], view=MODAL)
        assert len((await out.get("views?user=ben"))["modals"]) == 1
        await out.post("submissions", user="ben", values={"why": "so"})
        assert (await receiver.other(3))["view"]["state"]["values"]["why"]["reason"]["value"] == "so"
        await out.post("shortcuts", user="ada", callback_id="keep", ts=said["ts"])
        assert (await receiver.other(4))["type"] == "message_action"
        opened = await out.post("threads", user="ada", context="#general")
        await out.post("contexts", user="ada", ts=opened["ts"], context="#support")
        await out.post("home", user="ada")
        await eventually(lambda: not sim.world.pending)
        state = await out.get("state")
        assert state["pending_event_count"] == 0 and state["lost_event_count"] == 0
        assert state["delivered_event_count"] == len(receiver.events) + len(receiver.others)
    await out.post("reactions", user="ada", ts=said["ts"], name="eyes")
    await out.post("reactions", user="ada", ts=said["ts"], name="eyes", remove=True)
    seen = (await out.get(f"channels/{said['channel']}/messages"))["messages"]
    assert seen[0]["message"]["text"] == "hi!" and seen[0]["edits"][0]["text"] == "hi"
    await out.post("deletes", user="ada", ts=said["ts"])
    truth = await out.get("truth?since=0&limit=1")
    assert truth["last"] >= 2 and truth["entries"][0]["request"]["text"] == "yo"
    assert (await out.get("calls"))["calls"]["chat.postMessage"] == {"ok": 1}
    assert (await out.get("state"))["pending_event_count"] > 0


async def test_files_people_and_channels_from_outside(all_three: tuple[Simulator, AsyncWebClient, Outside]) -> None:
    sim, _, out = all_three
    listed = [{"name": "a.txt", "content": "hello"}, {"name": "b.png", "data": base64.b64encode(PNG).decode()}]
    message = (await out.post("messages", user="ada", text="see", files=listed))["message"]
    assert [(one["name"], one["mimetype"], one["size"]) for one in message["files"]] == [
        ("a.txt", "text/plain", 5), ("b.png", "image/png", len(PNG)),
    ]  # fmt: skip
    form = aiohttp.FormData({"user": "ada", "text": ""})
    form.add_field("file", PNG, filename="c.png", content_type="image/png")
    async with out.session.post("messages", data=form) as answer:
        shared = (await answer.json())["message"]["files"][0]
    async with out.session.get(f"files/{shared['id']}") as answer:
        assert await answer.read() == PNG and answer.headers["Content-Disposition"] == "inline"
    await out.post("users", name="dora")
    await out.post("users", 400, name="dora")
    channel = await out.post("channels", name="plans", kind="group", users=["ada", "dora"], bot=False)
    assert len(channel["members"]) == 2
    joined = await out.post("members", channel=channel["id"], user="bot", status="member")
    assert sim.bot.bot_user in joined["members"]
    await out.post("members", channel=channel["id"], user="dora", status="left")
    await out.post("messages", 400, user="chloe", channel="plans", text="let me in")
    team = await out.post("teams", name="Initech")
    assert not team["installed"]
    assert (await out.post("installs", team="Initech"))["bot_token"].startswith("xoxb-")
    await out.post("messages", user="ada", team="Initech", text="hello there")
    await out.post("installs", team="Initech", remove=True)
    await out.post("messages", 400, user="ada", team="Initech", text="hello there")
    for path, body in (
        ("messages", {"user": "nobody", "text": "x"}),
        ("messages", {"user": "ada", "text": ""}),
        ("messages", {"user": "ada", "text": "x", "thread_ts": "1.0"}),
        ("faults", {"kind": "nothing"}),
        ("disconnect", {"reason": "boredom"}),
        ("app", {"request_url": f"{sim.url}/nowhere"}),
        ("home", {"user": "ada", "tab": "x"}),
        ("pace", {"ack": "soon"}),
        ("pace", {"hurry": 1}),
    ):
        await out.post(path, 400, **body)
    fault = await out.post("faults", kind="delay", ms=5)
    async with out.session.delete(f"faults/{fault['id']}") as answer:
        assert answer.status == 200
    assert (await out.get("faults"))["faults"] == []
    assert (await out.post("pace", scale=0.01, retries=[0, 1, 2]))["retries"] == [0, 1, 2]
    assert sim.world.pace.scale == 0.01
    assert (await out.post("app", streaming=False))["streaming"] is False
    await out.post("reset")
    assert (await out.get("truth"))["last"] == 0
    assert not any(channel["messages"] for channel in (await out.get("state"))["channels"])


async def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    config = Config(state_file=str(tmp_path / "state.json"), seed=3, pace=Pace(retries=(60.0, 60.0, 60.0)))
    marker = {"event_type": "parley_unit", "event_payload": {"unit": "u1"}}
    async with talking(config) as (sim, client):
        said = sim.say("ada", "hello")
        reply = await client.chat_postMessage(channel=said["channel"], thread_ts=said["ts"], text="yo", metadata=marker)
        await client.files_upload_v2(channel=said["channel"], content="bytes", filename="a.txt")
        token, before, secret = sim.bot.token, sim.sends(), sim.app.signing_secret
        waiting = [one.payload for one in sim.world.pending.values()]
    async with talking(config) as (sim, client):
        assert (sim.bot.token, sim.app.signing_secret, sim.sends()) == (token, secret, before)
        assert [one.payload for one in sim.world.pending.values()] == waiting
        thread = await client.conversations_replies(channel=said["channel"], ts=said["ts"], include_all_metadata=True)
        assert [m["ts"] for m in thread["messages"]] == [said["ts"], reply["ts"]]
        assert thread["messages"][1]["metadata"] == marker
        assert next(iter(sim.world.files.values())).data == b"bytes"
        assert float((await client.chat_postMessage(channel=said["channel"], text="more"))["ts"]) > float(reply["ts"])


async def test_the_program_prints_where_it_is_and_leaves_when_told() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.slack", "--port", "0", "--bot-token", "xoxb-1", "--app-token", "xapp-1",
        "--signing-secret", "s", stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout
    url, bot, app, secret = [(await process.stdout.readline()).decode().split()[-1] for _ in range(4)]
    assert (bot, app, secret) == ("xoxb-1", "xapp-1", "s")
    assert (await AsyncWebClient(token="xoxb-1", base_url=f"{url}/api/").auth_test())["ok"]
    process.terminate()
    assert await process.wait() == 0


async def test_the_page_needs_nothing_from_elsewhere(all_three: tuple[Simulator, AsyncWebClient, Outside]) -> None:
    sim, _, out = all_three
    async with out.session.get(f"{sim.url}/") as page:
        text = await page.text()
        policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "frame-ancestors 'self'" in policy
    links = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert links and not any(link.startswith(("/", "http")) for link in links)
    for link in links:
        if not link.startswith("data:"):
            async with out.session.get(f"{sim.url}/{link}") as answer:
                assert answer.status == 200, link


async def test_it_may_be_mounted_under_a_prefix() -> None:
    outer = web.Application()
    outer.add_subapp("/slack", create_app(Config(seed=1)))
    runner = web.AppRunner(outer, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/slack"
    try:
        async with run_simulator(config=Config(seed=1)) as twin, aiohttp.ClientSession() as session:
            client = AsyncWebClient(token=twin.bot.token, base_url=f"{base}/api/")
            place = twin.channel("general")
            sent = await client.files_upload_v2(channel=place, content="hello", filename="a.txt")
            assert sent["file"]["url_private"].startswith(f"{base}/files-pri/")
            opened = await client.apps_connections_open(app_token=twin.app.app_token)
            async with session.ws_connect(opened["url"]) as socket:
                assert (await socket.receive_json())["type"] == "hello"
            async with session.get(f"{base}/") as page:
                assert page.status == 200
    finally:
        await runner.cleanup()
