"""The bots of a fault run: an echo in every channel, so that every word comes back, and a webhook beside them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import aiohttp

from bench.chaos.stand import DISCORD, SLACK, TELEGRAM_SECRET, TELEGRAM_TOKEN, Run, discord_token
from channels import accounts
from channels.table import CHANNELS
from channels.wire import Wire, open_wire
from identity import keys
from kernel.db import Database
from kernel.ids import new_id
from kernel.migrate import migrate
from kernel.secrets import KeyRing
from kernel.settings import Settings
from kernel.types import Account
from simulators.discord.signing import public_key
from webhooks import endpoints

_START = 12.0  # seconds that a gateway may take to start on a busy machine
FREE = {"bot": 10_000, "chat": 10_000, "workspace": 10_000}  # the simulators have no limits here
SETTINGS = {"answer": "echo", "pace": FREE}


@dataclass(frozen=True, slots=True)
class Bots:
    """Account ids by channel, and what is needed to speak for callers of the API. `secret` signs the webhook."""

    accounts: dict[str, str]
    api_key: str
    secret: str


async def install(run: Run, hook: str) -> Bots:
    """The workspace with its bots and its webhook, while no gateway runs yet."""
    await migrate(run.admin_url, run.app_url)
    database, ring = await Database.connect(run.app_url, size=2), KeyRing.parse(run.ring)
    try:
        async with database.anywhere() as conn:
            workspace = await conn.fetchval("SELECT workspace_id FROM create_workspace('chaos', 'chaos', 'Chaos')")
        made = {}
        async with database.workspace(workspace) as conn:
            for name, kind, mode, credentials in _wanted():
                ready = await _profile(run, Account("", "", kind, mode, credentials, {}, {}), name)
                made[name] = await accounts.create(
                    conn, ring, workspace, kind=kind, name=name, mode=mode, credentials=credentials,
                    settings={**SETTINGS, **({"origins": ["*"]} if kind == "web" else {})}, profile=ready,
                )  # fmt: skip
            made["rest"] = await accounts.ensure_rest(conn, ring, workspace)
            await accounts.change(conn, made["rest"], name=None, settings=SETTINGS)
            _, api_key = await keys.create(conn, ring, workspace, name="chaos")
            _, secret = await endpoints.register(
                conn, workspace, hook, ["chat.response.generated"], keyring=ring, allow=[ip_network("127.0.0.0/8")]
            )
        return Bots(made, api_key, secret)
    finally:
        await database.close()


def _wanted() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Name, kind, mode and credentials."""
    bots = [
        ("telegram", "telegram", "webhook", {"token": TELEGRAM_TOKEN, "webhook_secret": TELEGRAM_SECRET}),
        ("slack-http", "slack", "webhook", SLACK["http"]),
        ("slack-socket", "slack", "socket", SLACK["socket"]),
        ("web", "web", "api", {"identity_secret": new_id("sec")}),
    ]
    for name, (_, key) in DISCORD.items():
        mode = "socket" if name == "discord" else "webhook"
        bots.append((name, "discord", mode, {"bot_token": discord_token(name), "public_key": public_key(key)}))
    return bots


async def _profile(run: Run, account: Account, name: str) -> dict[str, Any]:
    """What the platform says of the bot; its commands are registered there, too."""
    if account.kind in ("web", "telegram"):
        return {"id": 4242, "username": "chaos_bot"} if account.kind == "telegram" else {}
    if name == "discord-http":
        bot = {"token": discord_token(name), "id": DISCORD[name][0], "name": name, "private_key": DISCORD[name][1]}
        await post(f"{run.simulators['discord']}/sim/bots", bot)
    wire = _wire(run, name)
    try:
        installing = CHANNELS[account.kind].install
        assert installing is not None
        profile = await installing(account, wire, "")
        if not isinstance(profile, dict):
            raise RuntimeError(f"{name} cannot be installed: {profile}")
        return profile
    finally:
        await wire.close()


def _wire(run: Run, name: str) -> Wire:
    return open_wire(
        Settings.read(
            {
                "SLACK_API_BASE_URL": f"{run.simulators.get(name, run.gateway_url)}/api",
                "DISCORD_API_BASE_URL": f"{run.simulators['discord']}/api/v10",
            }
        )
    )


async def point(run: Run, bots: Bots) -> None:
    """Has the platforms deliver to the gateways, which answer by now: Slack and Discord try an address first. Returns
    when the sockets are connected, too."""
    at = {name: f"{run.gateway_url}/channels/{name.split('-')[0]}/{number}" for name, number in bots.accounts.items()}
    hooked = {"url": at["telegram"], "secret_token": TELEGRAM_SECRET}
    await post(f"{run.simulators['telegram']}/bot{TELEGRAM_TOKEN}/setWebhook", hooked)
    await post(f"{run.simulators['slack-http']}/sim/app", {"request_url": at["slack-http"]})
    interactions = {"bot": str(DISCORD["discord-http"][0]), "url": at["discord-http"]}
    await post(f"{run.simulators['discord']}/sim/interactions", interactions)
    async with asyncio.timeout(60):
        while not (await _state(run, "slack-socket"))["connections"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        while not any(bot["connected"] for bot in (await _state(run, "discord"))["bots"]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def hasten(run: Run, trouble: float) -> None:
    """Slack tries again at once, after one minute and after five. Here the last time comes when the trouble, of as many
    seconds, is over and gateways have had the time to start."""
    for way in SLACK:
        retries = [0, trouble * 0.4, trouble * 0.7 + _START]
        await post(f"{run.simulators[f'slack-{way}']}/sim/pace", {"retries": retries})


async def _state(run: Run, platform: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{run.simulators[platform]}/sim/state") as response:
        return await response.json()


async def post(url: str, body: dict[str, Any]) -> Any:
    """What a simulator answers. Raises RuntimeError with its reason when it refuses."""
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
        if response.status >= 300:
            raise RuntimeError(f"{url}: {response.status} {await response.text()}")
        return await response.json()
