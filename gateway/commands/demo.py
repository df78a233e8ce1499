"""The demo: simulated platforms, bots connected to them through the REST API, and what a small company knows."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway.client import CallFailed, Client, Target, connect, fetch, put
from gateway.commands import ports
from gateway.embedded import Place
from gateway.supervisor import ChildSpec
from kernel.settings import Settings
from kernel.types import Json

QUESTIONS = (
    "When are you open on Saturday?",
    "What does it cost to rent an e-bike for a weekend?",
    "How do I store the battery in winter?",
)
_KNOWLEDGE = Path(__file__).resolve().parent.parent / "demo"
_HOST, _PORT = "127.0.0.1", 8090
_NAME, _USERNAME = "Fernhill Cycles", "fernhill_demo_bot"
_TELEGRAM = f"7000000001:{'demo-of-parley-not-a-secret'.upper():_<35}"  # the simulators believe in any token
_SLACK, _SLACK_APP, _SLACK_SECRET = "xoxb-demo-of-parley", "xapp-demo-of-parley", "demo-of-parley-signs-nothing"
_DISCORD, _DISCORD_APP = "demo-of-parley.is-no.secret", "700000000100000001"
_SUGGESTIONS = ("When are you open on Saturday?", "Do you repair e-bikes?")
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the simulated platforms of a data directory listen; the port stays the same over restarts."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return ports.local_url(_HOST, self.port)

    def child(self, place: Place) -> ChildSpec:
        arguments = {
            "--host": _HOST,
            "--port": str(self.port),
            "--state-dir": str(self.folder),
            "--bot-username": _USERNAME,
            "--bot-name": _NAME,
            "--telegram-token": _TELEGRAM,
            "--slack-bot-token": _SLACK,
            "--slack-app-token": _SLACK_APP,
            "--slack-signing-secret": _SLACK_SECRET,
            "--discord-token": _DISCORD,
            "--discord-application-id": _DISCORD_APP,
        }
        return ChildSpec(
            name="simulators",
            argv=(sys.executable, "-m", "simulators.stage", *(word for pair in arguments.items() for word in pair)),
            log=place.log("simulators"),
            ready=partial(ports.unready, _HOST, self.port, "/stage/site"),
        )

    def point(self, settings: Settings) -> Settings:
        """The settings with which a gateway finds its platforms here."""
        return replace(
            settings,
            telegram_api_base_url=f"{self.url}/telegram",
            slack_api_base_url=f"{self.url}/slack/api",
            slack_oauth_authorize_url=f"{self.url}/slack/oauth/v2/authorize",
            discord_api_base_url=f"{self.url}/discord/api/v10",
            discord_gateway_url="",
        )


def plan(data_dir: Path) -> Stage:
    """The stage of this data directory, on the port of last time when that is still free."""
    folder = data_dir / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "stage.port"
    kept = file.read_text(encoding="ascii").strip() if file.exists() else ""
    port = int(kept) if kept.isdecimal() and ports.is_free(_HOST, int(kept)) else ports.free_port(_HOST, _PORT)
    file.write_text(f"{port}\n", encoding="ascii")
    return Stage(folder, port)


def knowledge() -> list[dict[str, Any]]:
    """The sample documents as the REST API takes them."""
    files = sorted(p for p in _KNOWLEDGE.iterdir() if p.suffix in (".md", ".txt"))
    return [
        {
            "external_id": f"demo/{file.name}",
            "title": _title(file),
            "text": file.read_text(encoding="utf-8"),
            "format": "markdown" if file.suffix == ".md" else "text",
        }
        for file in files
    ]


def _title(file: Path) -> str:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


async def load(stage: Stage, url: str, api_key: str, say: Callable[[str], None]) -> None:
    """Connects the bots and adds the knowledge; what is there from an earlier start is found again."""
    async with connect(Target(url, api_key)) as client:
        try:
            there = {account["kind"]: account for account in await client.items("/api/v1/channels")}
            await _connect_telegram(client, stage, there.get("telegram"))
            await _connect_others(client, there)
            await _connect_site(client, stage, url, there.get("web"))
            job = await client.post("/api/v1/ingest/text", {"documents": knowledge()})
            await _indexed(client, job["job_id"], say)
        except CallFailed as error:
            say(f"the demo is incomplete: {error.message}")


async def _connect_telegram(client: Client, stage: Stage, there: Json | None) -> None:
    """Once; again only when the simulator delivers elsewhere, as after a change of the gateway's port."""
    if there is not None:
        if there["status"] == "connected" and there["inbound_url"] == await _webhook(stage):
            return
        await client.delete(f"/api/v1/channels/{there['account_id']}")
    body = {"kind": "telegram", "name": _NAME, "mode": "webhook", "credentials": {"token": _TELEGRAM}}
    await client.post("/api/v1/channels", body)


async def _connect_others(client: Client, there: dict[str, Json]) -> None:
    """Slack and Discord hold a connection, which looks for its platform by itself."""
    for kind, credentials in (
        ("slack", {"bot_token": _SLACK, "app_token": _SLACK_APP}),
        ("discord", {"bot_token": _DISCORD}),
    ):
        if kind not in there:
            body = {"kind": kind, "name": _NAME, "mode": "socket", "credentials": credentials}
            await client.post("/api/v1/channels", body)


async def _connect_site(client: Client, stage: Stage, url: str, there: Json | None) -> None:
    """The chat on the made-up shop's page. Its secret is shown once, so the demo keeps it beside its other state."""
    file = stage.folder / "site.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if there is None or kept.get("account") != there["account_id"]:
        body = {"kind": "web", "name": _NAME, "mode": "api", "settings": {"title": _NAME, "suggestions": _SUGGESTIONS}}
        made = await client.post("/api/v1/channels", body)
        kept = {"account": made["account_id"], "secret": made["identity_secret"]}
        file.touch(mode=0o600)
        file.write_text(json.dumps(kept), encoding="utf-8")
    await client.patch(f"/api/v1/channels/{kept['account']}", {"settings": {"origins": [stage.url]}})
    await put(f"{stage.url}/stage/site", {"root": url, **kept})


async def _webhook(stage: Stage) -> str:
    """Where the simulated Telegram delivers the bot's updates."""
    status, state = await fetch(f"{stage.url}/telegram/sim/state")
    bots = state["bots"] if status == 200 else []
    return next((str(bot["webhook"].get("url", "")) for bot in bots if bot["username"] == _USERNAME), "")


async def _indexed(client: Client, job_id: str, say: Callable[[str], None]) -> None:
    """Waits for the knowledge, so that the first question finds it; the first time the model is built."""
    until = asyncio.get_running_loop().time() + _PATIENCE
    while asyncio.get_running_loop().time() < until:
        job = await client.get(f"/api/v1/jobs/{job_id}")
        if job["status"] not in ("queued", "running"):
            progress = job["progress"]
            say(f"sample knowledge: {progress['done']} of {progress['total']} documents, {job['status']}")
            return
        await asyncio.sleep(0.1)
    say("the sample knowledge is still being read; answers come when it is done")
