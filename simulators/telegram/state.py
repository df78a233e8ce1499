"""The truth: bots, users, chats, and every message as its readers saw it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from simulators.telegram.faults import FaultBook
from simulators.telegram.flood import FloodControl, FloodLimits
from simulators.telegram.hub import Hub
from simulators.telegram.updates import Mailbox, Update

JsonObject = dict[str, Any]

ACTION_SECONDS = 5
DRAFT_SECONDS = 30
HELD_MS = 500  # how long an update waits for another to overtake it, when its fault does not say


@dataclass(frozen=True, slots=True)
class Config:
    """flood: obey the documented limits. seed: repeats ids, tokens, faults and jitter. retry_base, webhook_timeout,
    callback_ttl: seconds. bot_token None: one is made from the seed. state_file: keep the state there over restarts."""

    bot_token: str | None = None
    bot_username: str = "parley_demo_bot"
    bot_name: str = "Parley"
    seed: int = 0
    flood: bool = False
    limits: FloodLimits = FloodLimits()
    retry_base: float = 1.0
    webhook_timeout: float = 60.0
    callback_ttl: float = 60.0
    state_file: str | None = None


@dataclass(slots=True)
class Webhook:
    url: str = ""
    secret: str = ""
    max_connections: int = 40
    last_error_date: int = 0
    last_error_message: str = ""


@dataclass(slots=True)
class Bot:
    id: int
    token: str
    username: str
    name: str
    mailbox: Mailbox
    reads_all: bool = False
    last_message_id: int = 0
    commands: dict[str, list[JsonObject]] = field(default_factory=dict)
    webhook: Webhook = field(default_factory=Webhook)

    def profile(self) -> JsonObject:
        return {"id": self.id, "is_bot": True, "first_name": self.name, "username": self.username}


@dataclass(slots=True)
class User:
    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str = "en"

    def profile(self) -> JsonObject:
        named = {"last_name": self.last_name, "username": self.username, "language_code": self.language_code}
        return {"id": self.id, "is_bot": False, "first_name": self.first_name} | {k: v for k, v in named.items() if v}


@dataclass(slots=True)
class Seen:
    """A message as readers saw it: now (`message`, in Bot API form), before each edit, and since when it is gone."""

    message: JsonObject
    edits: list[JsonObject] = field(default_factory=list)
    deleted: float | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Chat:
    """A dialogue of one bot with one user, or a group. `bots` and `users` are its present members."""

    id: int
    type: str
    title: str = ""
    forum: bool = False
    bots: set[int] = field(default_factory=set)
    kicked: set[int] = field(default_factory=set)
    users: set[int] = field(default_factory=set)
    blocked: bool = False
    migrated_to: int | None = None
    last_message_id: int = 0
    topics: dict[int, str] = field(default_factory=dict)
    messages: dict[int, Seen] = field(default_factory=dict)
    action: tuple[str, float, int] | None = None
    draft: JsonObject | None = None


@dataclass(slots=True)
class Stored:
    """A file: what its ids and path are, and its bytes."""

    id: str
    unique_id: str
    path: str
    name: str
    mime: str
    data: bytes


@dataclass(slots=True)
class Callback:
    id: str
    bot: int
    user: int
    chat: int
    message_id: int
    data: str
    asked: float
    answer: JsonObject | None = None


@dataclass(slots=True)
class World:
    """Everything there is. `now` is wall-clock seconds, `tick` monotonic seconds; `deliver` is told of new mail."""

    config: Config
    now: Callable[[], float] = time.time
    tick: Callable[[], float] = time.monotonic
    deliver: Callable[[Bot, int, Update], None] = lambda bot, serial, update: None
    bots: dict[int, Bot] = field(default_factory=dict)
    by_token: dict[str, Bot] = field(default_factory=dict)
    users: dict[int, User] = field(default_factory=dict)
    groups: dict[int, Chat] = field(default_factory=dict)
    dialogues: dict[tuple[int, int], Chat] = field(default_factory=dict)
    files: dict[str, Stored] = field(default_factory=dict)
    paths: dict[str, Stored] = field(default_factory=dict)
    callbacks: dict[str, Callback] = field(default_factory=dict)
    truth: list[JsonObject] = field(default_factory=list)
    calls: dict[str, Counter[str]] = field(default_factory=dict)
    held: dict[tuple[int, int], list[Update]] = field(default_factory=dict)
    hub: Hub = field(default_factory=Hub)
    changes: int = 0
    rng: random.Random = field(init=False)
    faults: FaultBook = field(init=False)
    flood: FloodControl | None = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.config.seed)
        self.faults = FaultBook(random.Random(self.config.seed + 1))
        self.flood = FloodControl(self.config.limits) if self.config.flood else None

    def count(self, method: str, outcome: str) -> None:
        self.calls.setdefault(method, Counter())[outcome] += 1

    def find(self, bot: Bot, chat_id: int) -> Chat | None:
        """The chat a bot means by an id, when it ever had to do with it."""
        if chat_id > 0:
            return self.dialogues.get((bot.id, chat_id))
        chat = self.groups.get(chat_id)
        return chat if chat and (bot.id in chat.bots or bot.id in chat.kicked or chat.migrated_to) else None

    def dialogue(self, bot: Bot, user: User) -> Chat:
        """The private chat of a user with a bot, opened if need be."""
        key = (bot.id, user.id)
        if key not in self.dialogues:
            self.dialogues[key] = Chat(user.id, "private", bots={bot.id}, users={user.id})
        return self.dialogues[key]

    def chats(self) -> Iterable[Chat]:
        yield from self.dialogues.values()
        yield from self.groups.values()

    def members(self, chat: Chat) -> list[Bot]:
        return [self.bots[number] for number in sorted(chat.bots)]

    def take_message_id(self, bot: Bot, chat: Chat) -> int:
        """Supergroups number their own messages; private chats and basic groups share the account's numbers."""
        holder: Bot | Chat = chat if chat.type == "supergroup" else bot
        holder.last_message_id += 1
        while holder.last_message_id in chat.messages:
            holder.last_message_id += 1
        return holder.last_message_id

    def show_chat(self, chat: Chat) -> JsonObject:
        """The `chat` field of a message."""
        if chat.type == "private":
            user = self.users[chat.id]
            shown = {"id": user.id, "type": "private", "first_name": user.first_name}
            extra = {"last_name": user.last_name, "username": user.username}
            return shown | {k: v for k, v in extra.items() if v}
        shown = {"id": chat.id, "type": chat.type, "title": chat.title}
        return shown | {"is_forum": True} if chat.forum else shown

    def post(self, bot: Bot, kind: str, chat: Chat, value: JsonObject) -> int | None:
        """Put an update into a bot's mailbox (unless the bot does not want its kind) and return its id."""
        if not bot.mailbox.wants(kind):
            return None
        number = bot.mailbox.take_id()
        body = orjson.dumps({"update_id": number, kind: value})
        update = Update(number, kind, chat.id, int(self.now()), body)
        fault = self.faults.for_update(kind, bot.id, chat.id)
        key = (bot.id, chat.id)
        if fault and fault.kind == "reorder" and key not in self.held:
            self.held[key] = [update]
            wait = (fault.ms or HELD_MS) / 1000
            asyncio.get_running_loop().call_later(wait, self.release, bot, chat.id)
            return number
        self._put(bot, update)
        if fault and fault.kind == "duplicate":
            self._put(bot, update)
        self.release(bot, chat.id)
        return number

    def release(self, bot: Bot, chat_id: int) -> None:
        """Let go of an update that waited to be overtaken."""
        for update in self.held.pop((bot.id, chat_id), []):
            self._put(bot, update)

    def _put(self, bot: Bot, update: Update) -> None:
        self.changes += 1
        self.deliver(bot, bot.mailbox.put(update), update)

    def record(self, bot: Bot, method: str, chat: Chat, message: JsonObject, request: JsonObject) -> None:
        """Remember an accepted operation of a bot and tell the listeners. The request is kept without upload bytes."""
        self.changes += 1
        entry = {
            "seq": len(self.truth) + 1,
            "time": self.now(),
            "bot_id": bot.id,
            "method": method,
            "chat_id": chat.id,
            "message_id": message.get("message_id"),
            "text": message.get("text", message.get("caption")),
            "entities": message.get("entities", message.get("caption_entities", [])),
            "message_thread_id": message.get("message_thread_id"),
            "request": request,
        }
        self.truth.append(entry)
        self.hub.publish("send", **entry, message=message)

    def reset(self) -> None:
        """Forget users, chats, messages, faults and counters; bots, their tokens and webhooks stay."""
        for store in (self.users, self.groups, self.dialogues, self.files, self.paths, self.callbacks):
            store.clear()
        self.truth.clear()
        self.calls.clear()
        self.held.clear()
        self.faults.clear()
        if self.flood:
            self.flood.clear()
        self.rng.seed(self.config.seed)
        for bot in self.bots.values():
            bot.mailbox.clear()
            bot.last_message_id = 0
            bot.commands.clear()
        self.changes += 1
        self.hub.publish("reset")
