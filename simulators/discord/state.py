"""The truth: bots, people, guilds, channels, and every message as its readers saw it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.discord.faults import FaultBook
from simulators.discord.hub import Hub
from simulators.discord.limits import Counters, Limits
from simulators.discord.permissions import GUILD_MEMBERS, GUILD_PRESENCES, MESSAGE_CONTENT
from simulators.discord.sessions import Session
from simulators.discord.snowflakes import Snowflakes

JsonObject = dict[str, Any]

TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 11, 12, 15
THREADS = (PUBLIC_THREAD, PRIVATE_THREAD)
TYPING_SECONDS = 10
HELD_MS = 500  # how long an event waits for another to overtake it, when its fault does not say


@dataclass(frozen=True, slots=True)
class Config:
    """flood: obey the rate limits. seed: repeats ids, tokens, keys, faults. None: made from the seed.

    private_key: the application's Ed25519 seed, hex; its public half is what applications verify with.
    message_content, guild_members, presences: the privileged intents that the application may ask for.
    *_seconds: how long an interaction waits for its first response, its token lives, a nonce is remembered, a session
    may be resumed, an attachment's URL works. replay_limit: events kept for a resume. heartbeat_ms: what HELLO asks.
    file_limit: bytes. state_file: keep the state there over restarts.
    """

    bot_token: str | None = None
    application_id: int | None = None
    bot_name: str = "Parley"
    private_key: str | None = None
    interactions_url: str | None = None
    seed: int = 0
    flood: bool = False
    limits: Limits = Limits()
    message_content: bool = True
    guild_members: bool = True
    presences: bool = True
    heartbeat_ms: int = 41_250
    response_seconds: float = 3.0
    token_seconds: float = 900.0
    nonce_seconds: float = 300.0
    resume_seconds: float = 180.0
    attachment_seconds: float = 24 * 3600.0
    replay_limit: int = 10_000
    file_limit: int = 10 * 1024 * 1024
    state_file: str | None = None

    @property
    def privileged(self) -> int:
        return (
            self.message_content * MESSAGE_CONTENT
            | self.guild_members * GUILD_MEMBERS
            | self.presences * GUILD_PRESENCES
        )


@dataclass(slots=True)
class Bot:
    """A bot user and its application, which share an id. key: the Ed25519 seed, hex. commands: by guild, 0 global."""

    id: int
    token: str
    name: str
    key: str
    interactions_url: str = ""
    commands: dict[int, list[JsonObject]] = field(default_factory=dict)

    def profile(self) -> JsonObject:
        return {
            "id": str(self.id),
            "username": self.name,
            "discriminator": f"{self.id % 10000:04d}",
            "global_name": None,
            "avatar": None,
            "bot": True,
            "public_flags": 0,
        }


@dataclass(slots=True)
class Person:
    """Somebody at a keyboard. `closed`: bots whose direct messages do not reach them."""

    id: int
    name: str
    display: str = ""
    closed: set[int] = field(default_factory=set)

    def profile(self) -> JsonObject:
        return {
            "id": str(self.id),
            "username": self.name,
            "discriminator": "0",
            "global_name": self.display or self.name,
            "avatar": None,
            "public_flags": 0,
        }


@dataclass(slots=True)
class Seen:
    """A message as readers saw it: now (`message`, as the API gives it), before each edit, and since when it is gone.

    only: the one person who sees an ephemeral message. reactions: user ids by emoji.
    """

    message: JsonObject
    edits: list[JsonObject] = field(default_factory=list)
    deleted: float | None = None
    reactions: dict[str, list[int]] = field(default_factory=dict)
    only: int | None = None


@dataclass(slots=True)
class Channel:
    """A guild's channel, a thread or a dialogue. members: who may see it when it is private, a DM or a private thread,
    and who follows a thread. denied: permission bits taken from a member (0: from everyone)."""

    id: int
    type: int
    name: str = ""
    guild: int = 0
    parent: int = 0
    topic: str = ""
    private: bool = False
    owner: int = 0
    position: int = 0
    archived: bool = False
    locked: bool = False
    archive_minutes: int = 4320
    tags: list[str] = field(default_factory=list)
    members: set[int] = field(default_factory=set)
    denied: dict[int, int] = field(default_factory=dict)
    messages: dict[int, Seen] = field(default_factory=dict)
    last_message: int = 0
    typing: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Guild:
    id: int
    name: str
    owner: int
    members: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Stored:
    """An attachment's bytes."""

    id: int
    channel: int
    name: str
    mime: str
    data: bytes


@dataclass(slots=True)
class Interaction:
    """state: waiting, deferred (a message is owed), updating (type 6), answered, failed (nobody answered in time).

    source: the message whose button was pressed. response: the message that answered. http: sent to the endpoint.
    """

    id: int
    token: str
    bot: int
    user: int
    channel: int
    kind: int
    asked: float
    data: JsonObject
    source: int = 0
    state: str = "waiting"
    response: int = 0
    only: int | None = None
    http: bool = False
    messages: list[int] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """Everything there is. `now` is wall-clock seconds, `tick` monotonic seconds; `deliver` posts an interaction to the
    bot's endpoint, `verify` sets that endpoint or raises ApiError. root: where it was last asked for by HTTP. missed:
    events that no session was there to get."""

    config: Config
    now: Callable[[], float] = time.time
    tick: Callable[[], float] = time.monotonic
    deliver: Callable[[Bot, Interaction, JsonObject], None] = lambda bot, interaction, payload: None
    verify: Callable[[Bot, str], Awaitable[None]] | None = None
    bots: dict[int, Bot] = field(default_factory=dict)
    by_token: dict[str, Bot] = field(default_factory=dict)
    people: dict[int, Person] = field(default_factory=dict)
    guilds: dict[int, Guild] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    dialogues: dict[tuple[int, int], Channel] = field(default_factory=dict)
    files: dict[int, Stored] = field(default_factory=dict)
    interactions: dict[int, Interaction] = field(default_factory=dict)
    tokens: dict[str, Interaction] = field(default_factory=dict)
    nonces: dict[tuple[int, str], tuple[float, int, int]] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    truth: list[JsonObject] = field(default_factory=list)
    calls: dict[str, Counter[str]] = field(default_factory=dict)
    held: dict[tuple[int, int], list[Callable[[], None]]] = field(default_factory=dict)
    hub: Hub = field(default_factory=Hub)
    counters: Counters = field(default_factory=Counters)
    ids: Snowflakes = field(default_factory=Snowflakes)
    missed: int = 0
    changes: int = 0
    root: str = ""
    rng: random.Random = field(init=False)
    faults: FaultBook = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.config.seed)
        self.faults = FaultBook(random.Random(self.config.seed + 1), lambda: self.tick())

    def count(self, method: str, outcome: str) -> None:
        self.calls.setdefault(method, Counter())[outcome] += 1

    def take_id(self) -> int:
        return self.ids.take(self.now())

    def profile(self, number: int) -> JsonObject:
        """The user object of a person or a bot."""
        return (self.bots.get(number) or self.people[number]).profile()

    def dialogue(self, bot: Bot, person: Person) -> Channel:
        """The direct messages of a person with a bot, opened if need be."""
        key = (bot.id, person.id)
        if key not in self.dialogues:
            channel = Channel(self.take_id(), DM, members={bot.id, person.id})
            self.dialogues[key] = self.channels[channel.id] = channel
            self.changes += 1
        return self.dialogues[key]

    def put(self, channel: Channel, seen: Seen) -> None:
        number = int(seen.message["id"])
        channel.messages[number] = seen
        if seen.only is None:
            channel.last_message = number
        self.changes += 1

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, then)

    def record(
        self, bot: int, method: str, channel: int, message: JsonObject, request: JsonObject, seen_by: list[int]
    ) -> None:
        """Remember an accepted operation of a bot and tell the listeners. The request is kept without upload bytes."""
        self.changes += 1
        entry = {
            "seq": len(self.truth) + 1,
            "time": self.now(),
            "bot_id": str(bot),
            "method": method,
            "channel_id": str(channel),
            "message_id": message.get("id"),
            "text": message.get("content"),
            "request": request,
            "seen_by": [str(number) for number in seen_by],
        }
        self.truth.append(entry)
        self.hub.publish("send", **entry, message=message)
