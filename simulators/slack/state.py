"""The truth: teams, people, channels, and every message as its readers saw it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from simulators.slack.faults import FaultBook
from simulators.slack.flood import FloodControl, FloodLimits
from simulators.slack.hub import Hub
from simulators.slack.ids import make_hex, make_id, stamp
from simulators.slack.scopes import BOT_SCOPES
from simulators.slack.values import (
    App,
    Channel,
    Dispatch,
    Grant,
    Installation,
    JsonObject,
    ResponseUrl,
    Stored,
    Team,
    Trigger,
    User,
    View,
)

HELD_MS = 500  # how long an event waits for another to overtake it, when its fault does not say


@dataclass(slots=True)
class Pace:
    """Seconds, changeable while it runs. ack: an answer's time limit. retries: the pauses before attempts 2, 3 and 4,
    each times `scale`. trigger: a trigger_id's life. stream: how long a stream may be silent. ping: between pings of
    Socket Mode connections. response_url, grant: lives of response URLs and OAuth codes."""

    ack: float = 3.0
    retries: tuple[float, ...] = (0.0, 60.0, 300.0)
    scale: float = 1.0
    trigger: float = 3.0
    stream: float = 300.0
    ping: float = 10.0
    response_url: float = 1800.0
    grant: float = 600.0


@dataclass(frozen=True, slots=True)
class Config:
    """Tokens, ids and secrets that are None are made from the seed. flood: obey the rate limits. streaming False:
    chat.startStream and its kin answer unknown_method. installed: the app is in the first team from the start. teams,
    people: names, the same people in each team. state_file: keep the state there over restarts. public_url: where
    clients reach this app, when that is not where they call it. interactivity_url, commands_url: request_url when
    None."""

    bot_name: str = "parley"
    app_name: str = "Parley"
    bot_token: str | None = None
    app_token: str | None = None
    signing_secret: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    request_url: str | None = None
    interactivity_url: str | None = None
    commands_url: str | None = None
    teams: tuple[str, ...] = ("Acme", "Globex")
    people: tuple[str, ...] = ("ada", "ben", "chloe")
    scopes: tuple[str, ...] = BOT_SCOPES
    installed: bool = True
    streaming: bool = True
    flood: bool = False
    limits: FloodLimits = FloodLimits()
    pace: Pace | None = None
    seed: int = 0
    public_url: str | None = None
    state_file: str | None = None


@dataclass(slots=True)
class World:
    """Everything there is. `now` is wall-clock seconds, `tick` monotonic seconds; `deliver` is told of new mail."""

    config: Config
    app: App
    now: Callable[[], float] = time.time
    tick: Callable[[], float] = time.monotonic
    deliver: Callable[[Dispatch], None] = lambda dispatch: None
    url: str = ""
    teams: dict[str, Team] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    installations: dict[str, Installation] = field(default_factory=dict)
    revoked: dict[str, str] = field(default_factory=dict)
    files: dict[str, Stored] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    homes: dict[tuple[str, str], str] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    response_urls: dict[str, ResponseUrl] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    pending: dict[int, Dispatch] = field(default_factory=dict)
    interactions: dict[str, JsonObject] = field(default_factory=dict)
    truth: list[JsonObject] = field(default_factory=list)
    calls: dict[str, Counter[str]] = field(default_factory=dict)
    held: dict[str, list[Dispatch]] = field(default_factory=dict)
    hub: Hub = field(default_factory=Hub)
    delivered: int = 0
    lost: int = 0
    changes: int = 0
    last_micros: int = 0
    last_serial: int = 0
    connections: int = 0
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    chores: "set[asyncio.Task[None]]" = field(default_factory=set)
    rng: random.Random = field(init=False)
    wire: random.Random = field(init=False)
    faults: FaultBook = field(init=False)
    flood: FloodControl | None = field(init=False)
    streaming: bool = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.config.seed)
        self.wire = random.Random(self.config.seed + 3)  # for what depends on timing, so that ids do not
        self.faults = FaultBook(random.Random(self.config.seed + 1))
        self.flood = FloodControl(self.config.limits) if self.config.flood else None
        self.streaming = self.config.streaming
        self.pace = replace(self.config.pace or Pace())
        self.calm.set()

    def count(self, method: str, outcome: str) -> None:
        self.calls.setdefault(method, Counter())[outcome] += 1

    def take_ts(self) -> str:
        """A ts that no other message has."""
        self.last_micros = max(self.last_micros + 1, int(self.now() * 1_000_000))
        return stamp(self.last_micros)

    def installed(self, team: str) -> Installation | None:
        return next((one for one in self.installations.values() if one.team == team), None)

    def people(self, team: str) -> Iterable[User]:
        return (user for user in self.users.values() if user.team == team and not user.bot_id)

    def dialogue(self, install: Installation, user: User) -> Channel:
        """The direct messages of a person with the bot, opened if need be."""
        for channel in self.channels.values():
            if channel.kind == "im" and channel.team == install.team and channel.user == user.id:
                return channel
        return self.add_channel(install.team, "im", "", {user.id, install.bot_user}, user.id)

    def add_channel(self, team: str, kind: str, name: str, members: set[str], user: str = "") -> Channel:
        prefix = "D" if kind == "im" else "C"
        made = Channel(make_id(self.rng, prefix), team, kind, name, user if kind == "im" else "", user)
        made.created = int(self.now())
        made.members = members
        self.channels[made.id] = made
        self.changes += 1
        return made

    def emit(self, team: str, event: JsonObject, channel: str = "") -> str | None:
        """Send an event to the app if it is installed in the team; its event id. `channel`: the unit of order."""
        install = self.installed(team)
        if install is None:
            return None
        number = make_id(self.rng, "Ev")
        payload = {
            "token": self.app.verification_token,
            "team_id": team,
            "context_team_id": team,
            "context_enterprise_id": None,
            "api_app_id": self.app.id,
            "event": event,
            "type": "event_callback",
            "event_id": number,
            "event_time": int(self.now()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": team,
                    "user_id": install.bot_user,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": f"4-{make_hex(self.rng, 32)}",
        }
        self._post(self.take_dispatch("events_api", str(event["type"]), team, channel, payload))
        return number

    def take_dispatch(self, kind: str, name: str, team: str, channel: str, payload: JsonObject) -> Dispatch:
        self.last_serial += 1
        return Dispatch(self.last_serial, kind, name, team, channel, payload, self.now())

    def _post(self, dispatch: Dispatch) -> None:
        fault = self.faults.for_event(("duplicate", "reorder", "deaf"), dispatch.name, dispatch.team, dispatch.channel)
        kind = fault.kind if fault else ""
        if kind == "deaf":
            self.lost += 1
            return
        if fault and kind == "reorder" and dispatch.channel not in self.held:
            self.held[dispatch.channel] = [dispatch]
            self.pending[dispatch.serial] = dispatch
            wait = (fault.ms or HELD_MS) / 1000
            asyncio.get_running_loop().call_later(wait, self.release, dispatch.channel)
            return
        self.put(dispatch)
        if kind == "duplicate":
            again = self.take_dispatch(dispatch.kind, dispatch.name, dispatch.team, dispatch.channel, dispatch.payload)
            self.put(again)
        self.release(dispatch.channel)

    def release(self, channel: str) -> None:
        """Let go of an event that waited to be overtaken."""
        for dispatch in self.held.pop(channel, []):
            self.put(dispatch)

    def put(self, dispatch: Dispatch) -> None:
        self.changes += 1
        self.pending[dispatch.serial] = dispatch
        self.deliver(dispatch)

    def record(self, install: Installation, method: str, channel: Channel, message: JsonObject, **more: object) -> None:
        """Remember an accepted operation of the app and tell the listeners. `seen_by`: whose screens it reached."""
        self.changes += 1
        people = sorted(user for user in channel.members if user in self.users and not self.users[user].bot_id)
        entry = {
            "seq": len(self.truth) + 1,
            "time": self.now(),
            "team": install.team,
            "bot_id": install.bot_id,
            "method": method,
            "channel": channel.id,
            "ts": message.get("ts"),
            "text": message.get("text"),
            "blocks": message.get("blocks", []),
            "thread_ts": message.get("thread_ts"),
            "seen_by": people,
            **more,
        }
        self.truth.append(entry)
        self.hub.publish("send", **entry, message=message)

    def reset(self) -> None:
        """Forget messages, files, views, faults and counters; teams, people, channels, the app and its tokens stay."""
        for channel in self.channels.values():
            channel.messages.clear()
            channel.replies.clear()
            channel.ephemerals.clear()
            channel.threads.clear()
        for store in (self.files, self.views, self.homes, self.triggers, self.response_urls, self.grants):
            store.clear()
        for other in (self.pending, self.interactions, self.calls, self.held):
            other.clear()
        self.truth.clear()
        self.faults.clear()
        self.calm.set()
        if self.flood:
            self.flood.clear()
        self.rng.seed(self.config.seed)
        self.delivered = self.lost = 0
        self.changes += 1
        self.hub.publish("reset")
