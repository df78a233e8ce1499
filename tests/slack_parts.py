"""What the Slack channel's tests share: updates shaped as Slack documents them, and a bot over a running simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from channels.slack.client import SlackClient
from channels.slack.install import install, open_bot
from channels.slack.listen import listen
from channels.slack.parse import parse
from channels.wire import Wire, open_wire
from kernel.settings import Settings
from kernel.types import Account, InboundMessage, Json
from simulators.slack.server import Simulator, run_simulator
from simulators.slack.state import Config

TEAM, BOT, ANN, CHANNEL, DIRECT = "T061EG9R6", "U0LAN0Z89", "U061F7AUR", "C0LAN2Q65", "D024BE91L"
TS = "1515449522.000016"


def account(mode: str = "webhook", **credentials: Any) -> Account:
    profile = {"id": f"{TEAM}:{BOT}", "team": TEAM, "bot_user_id": BOT}
    return Account("ws_1", "acc_1", "slack", mode, {"bot_token": "xoxb-1", **credentials}, {}, profile)


def envelope(event: Json, team: str = TEAM) -> Json:
    """https://docs.slack.dev/apis/events-api#events-JSON"""
    return {
        "token": "XXYYZZ",
        "team_id": team,
        "api_app_id": "A123ABC456",
        "event": event,
        "type": "event_callback",
        "event_id": "Ev123ABC456",
        "event_time": 1515449522,
        "authorizations": [{"enterprise_id": None, "team_id": team, "user_id": BOT, "is_bot": True}],
        "is_ext_shared_channel": False,
    }


def said(text: str, channel: str = CHANNEL, /, **more: Any) -> Json:
    """https://docs.slack.dev/reference/events/message.channels and message.im"""
    kind = "im" if channel.startswith("D") else "channel"
    event = {"type": "message", "channel": channel, "user": ANN, "text": text, "ts": TS, "event_ts": TS}
    return envelope({**event, "channel_type": kind, **more})


@dataclass(frozen=True)
class Bot:
    """A bot of the simulated Slack, with its client."""

    simulator: Simulator
    wire: Wire
    account: Account
    client: SlackClient

    def address(self, channel: str = "#support", user: str = "ada", **more: Any) -> Json:
        """Channels by name; a person's name means the direct messages with them."""
        found = self.simulator.channel(channel)
        who = self.simulator.user(user)
        team = self.simulator.team().id
        return {"team": team, "channel": found, "user": who, "direct": found.startswith("D"), **more}

    def texts(self, channel: str = "#support") -> list[str]:
        """What stands there now, oldest first."""
        held = self.simulator.world.channels[self.simulator.channel(channel)].messages
        return [seen.message.get("text", "") for seen in held.values() if not seen.deleted]


def settings_for(simulator: Simulator, **more: str) -> Settings:
    return Settings.read({"SLACK_API_BASE_URL": simulator.api_url, **more})


@asynccontextmanager
async def talking(config: Config | None = None, mode: str = "webhook") -> AsyncIterator[Bot]:
    """A simulator and a bot that is installed there."""
    async with run_simulator(config=config or Config(seed=5)) as simulator:
        wire = open_wire(settings_for(simulator))
        credentials = {
            "bot_token": simulator.bot.token,
            "app_token": simulator.app.app_token,
            "signing_secret": simulator.app.signing_secret,
        }
        unsaved = Account("ws_1", "acc_1", "slack", mode, credentials, {}, {})
        profile = await install(unsaved, wire, "")
        assert isinstance(profile, dict)
        made = Account("ws_1", "acc_1", "slack", mode, credentials, {}, profile)
        client = await open_bot(made, wire)
        try:
            yield Bot(simulator, wire, made, client)
        finally:
            await client.close()
            await wire.close()


@dataclass
class Ear:
    """What was taken, and how often the connection showed life. `gate` holds a commit up, `faults` let some fail."""

    bot: Bot
    updates: list[Json] = field(default_factory=list)
    alive: int = 0
    heard: int = 0
    seen: int = 0
    faults: int = 0
    answer: Json | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, update: Json, raw: bytes) -> Json | None:
        assert json.loads(raw) == update
        self.heard += 1
        await self.gate.wait()
        if self.faults:
            self.faults -= 1
            raise ConnectionError("the database is away")
        self.updates.append(update)
        return self.answer

    def lived(self) -> None:
        self.alive += 1

    @property
    def messages(self) -> list[InboundMessage]:
        found = [one for update in self.updates for one in parse(self.bot.account, update)]
        return [one for one in found if isinstance(one, InboundMessage)]

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.messages]

    async def next(self) -> InboundMessage:
        """The oldest message that was not asked for yet."""
        await eventually(lambda: len(self.messages) > self.seen)
        self.seen += 1
        return self.messages[self.seen - 1]


@asynccontextmanager
async def listening(bot: Bot) -> AsyncIterator[tuple[Ear, asyncio.Task[None]]]:
    ear = Ear(bot)
    ear.gate.set()
    task = asyncio.create_task(listen(bot.client, bot.account, ear.take, ear.lived))
    await eventually(lambda: bot.simulator.world.connections == 1 or task.done())
    try:
        yield ear, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(check: Callable[[], bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - the check reads a plain value of this loop
            await asyncio.sleep(0.01)


def message_of(parsed: list[Any]) -> InboundMessage:
    [found] = parsed
    assert isinstance(found, InboundMessage), found
    return found
