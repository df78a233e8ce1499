"""The demo: a simulated Telegram, a bot connected to it through the REST API, and what a small company knows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.client import CallFailed, Client, Target, connect, fetch
from gateway.commands import ports
from gateway.embedded import Place
from gateway.supervisor import ChildSpec

QUESTIONS = (
    "When are you open on Saturday?",
    "What does it cost to rent an e-bike for a weekend?",
    "How do I store the battery in winter?",
)
_KNOWLEDGE = Path(__file__).resolve().parent.parent / "demo"
_HOST, _PORT = "127.0.0.1", 8090
_NAME, _USERNAME = "Fernhill Cycles", "fernhill_demo_bot"
_TOKEN = f"7000000001:{'demo-of-parley-not-a-secret'.upper():_<35}"  # the simulator believes in any token
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Simulator:
    """Where the simulated Telegram of a data directory listens; the port stays the same over restarts."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return ports.local_url(_HOST, self.port)

    def child(self, place: Place) -> ChildSpec:
        arguments = {
            "--host": _HOST,
            "--port": str(self.port),
            "--state": str(self.folder / "telegram.json"),
            "--bot-token": _TOKEN,
            "--bot-username": _USERNAME,
            "--bot-name": _NAME,
        }
        return ChildSpec(
            name="telegram",
            argv=(sys.executable, "-m", "simulators.telegram", *(word for pair in arguments.items() for word in pair)),
            log=place.log("telegram"),
            ready=partial(ports.unready, _HOST, self.port, "/sim/state"),
        )


def plan(data_dir: Path) -> Simulator:
    """The simulator of this data directory, on the port of last time when that is still free."""
    folder = data_dir / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "telegram.port"
    kept = file.read_text(encoding="ascii").strip() if file.exists() else ""
    port = int(kept) if kept.isdecimal() and ports.is_free(_HOST, int(kept)) else ports.free_port(_HOST, _PORT)
    file.write_text(f"{port}\n", encoding="ascii")
    return Simulator(folder, port)


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


async def load(simulator: Simulator, url: str, api_key: str, say: Callable[[str], None]) -> None:
    """Connects the bot and adds the knowledge; what is there from an earlier start is found again."""
    async with connect(Target(url, api_key)) as client:
        try:
            await _connect_bot(client, simulator)
            job = await client.post("/api/v1/ingest/text", {"documents": knowledge()})
            await _indexed(client, job["job_id"], say)
        except CallFailed as error:
            say(f"the demo is incomplete: {error.message}")


async def _connect_bot(client: Client, simulator: Simulator) -> None:
    """Once; again only when the simulator delivers elsewhere, as after a change of the gateway's port."""
    delivers_to = await _webhook(simulator)
    for account in await client.items("/api/v1/channels"):
        if account["kind"] != "telegram" or str(account["profile"].get("id")) != _TOKEN.partition(":")[0]:
            continue
        if account["status"] == "connected" and account["inbound_url"] == delivers_to:
            return
        await client.delete(f"/api/v1/channels/{account['account_id']}")
    body = {"kind": "telegram", "name": _NAME, "mode": "webhook", "credentials": {"token": _TOKEN}}
    await client.post("/api/v1/channels", body)


async def _webhook(simulator: Simulator) -> str:
    _, state = await fetch(f"{simulator.url}/sim/state")
    bots = state.get("bots", [])
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
