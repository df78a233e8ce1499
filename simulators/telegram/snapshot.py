"""The state as one JSON file: read at start, written atomically."""

import base64
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from simulators.telegram.state import Bot, Callback, Chat, JsonObject, Seen, Stored, User, Webhook, World
from simulators.telegram.updates import Mailbox, Update

FORMAT = 1


def dump(world: World) -> bytes:
    """Everything but faults, flood counters and call counters."""
    state = {
        "format": FORMAT,
        "bots": [_bot(bot) for bot in world.bots.values()],
        "users": [asdict(user) for user in world.users.values()],
        "groups": [_chat(chat) for chat in world.groups.values()],
        "dialogues": [[bot, _chat(chat)] for (bot, _), chat in world.dialogues.items()],
        "files": [asdict(file) | {"data": base64.b64encode(file.data).decode()} for file in world.files.values()],
        "callbacks": [asdict(callback) for callback in world.callbacks.values()],
        "truth": world.truth,
    }
    return orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS)


def write(path: Path, body: bytes) -> None:
    """Replace the file in one step, so that a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(body)
    fresh.replace(path)


def load(world: World, path: Path) -> None:
    """Fill an empty world. A missing file is a first start; raises ValueError for a file of another format."""
    if not path.exists():
        return
    state = orjson.loads(path.read_bytes())
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a state file of format {FORMAT}")
    for entry in state["bots"]:
        bot = _read_bot(entry)
        world.bots[bot.id] = bot
        world.by_token[bot.token] = bot
    world.users = {user["id"]: User(**user) for user in state["users"]}
    world.groups = {chat["id"]: _read_chat(chat) for chat in state["groups"]}
    world.dialogues = {(bot, chat["id"]): _read_chat(chat) for bot, chat in state["dialogues"]}
    for entry in state["files"]:
        file = Stored(**entry | {"data": base64.b64decode(entry["data"])})
        world.files[file.id] = file
        world.paths[file.path] = file
    world.callbacks = {entry["id"]: Callback(**entry) for entry in state["callbacks"]}
    world.truth = state["truth"]


def _bot(bot: Bot) -> JsonObject:
    waiting = [
        {"id": u.id, "kind": u.kind, "chat": u.chat, "date": u.date, "body": u.body.decode()}
        for u in bot.mailbox.entries.values()
    ]
    return {
        "id": bot.id,
        "token": bot.token,
        "username": bot.username,
        "name": bot.name,
        "reads_all": bot.reads_all,
        "last_message_id": bot.last_message_id,
        "commands": bot.commands,
        "webhook": asdict(bot.webhook),
        "mailbox": {
            "next_id": bot.mailbox.next_id,
            "allowed": sorted(bot.mailbox.allowed),
            "waiting": waiting,
        },
    }


def _read_bot(entry: JsonObject) -> Bot:
    kept = entry.pop("mailbox")
    mailbox = Mailbox(kept["next_id"], frozenset(kept["allowed"]), OrderedDict())
    for update in kept["waiting"]:
        mailbox.put(Update(**update | {"body": update["body"].encode()}))
    return Bot(**entry | {"mailbox": mailbox, "webhook": Webhook(**entry["webhook"])})


def _chat(chat: Chat) -> JsonObject:
    return {
        "id": chat.id,
        "type": chat.type,
        "title": chat.title,
        "forum": chat.forum,
        "bots": sorted(chat.bots),
        "kicked": sorted(chat.kicked),
        "users": sorted(chat.users),
        "blocked": chat.blocked,
        "migrated_to": chat.migrated_to,
        "last_message_id": chat.last_message_id,
        "topics": list(chat.topics.items()),
        "messages": [[number, asdict(seen)] for number, seen in chat.messages.items()],
    }


def _read_chat(entry: JsonObject) -> Chat:
    sets: dict[str, Any] = {name: set(entry[name]) for name in ("bots", "kicked", "users")}
    topics = {int(number): name for number, name in entry["topics"]}
    messages = {int(number): Seen(**seen) for number, seen in entry["messages"]}
    return Chat(**entry | sets | {"topics": topics, "messages": messages})
