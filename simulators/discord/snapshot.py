"""The state as one JSON file: read at start, written atomically."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulators.discord.snowflakes import Snowflakes
from simulators.discord.state import (
    Bot,
    Channel,
    Guild,
    Interaction,
    JsonObject,
    Person,
    Seen,
    Stored,
    World,
)
from simulators.discord.wire import dump

FORMAT = 1


def dump_world(world: World) -> bytes:
    """Everything but sessions, faults and counters: a platform that restarts knows no sockets."""
    state = {
        "format": FORMAT,
        "last_id": world.ids.last,
        "missed": world.missed,
        "bots": [asdict(bot) | {"commands": list(bot.commands.items())} for bot in world.bots.values()],
        "people": [asdict(person) | {"closed": sorted(person.closed)} for person in world.people.values()],
        "guilds": [asdict(guild) | {"members": sorted(guild.members)} for guild in world.guilds.values()],
        "channels": [_channel(channel) for channel in world.channels.values()],
        "dialogues": [[bot, person, channel.id] for (bot, person), channel in world.dialogues.items()],
        "files": [asdict(file) | {"data": base64.b64encode(file.data).decode()} for file in world.files.values()],
        "interactions": [asdict(one) for one in world.interactions.values()],
        "nonces": [[bot, nonce, *made] for (bot, nonce), made in world.nonces.items()],
        "truth": world.truth,
    }
    return dump(state)


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
    state = json.loads(path.read_bytes())
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a state file of format {FORMAT}")
    world.ids = Snowflakes(state["last_id"])
    world.missed = state["missed"]
    for entry in state["bots"]:
        bot = Bot(**entry | {"commands": {int(guild): some for guild, some in entry["commands"]}})
        world.bots[bot.id] = world.by_token[bot.token] = bot
    world.people = {one["id"]: Person(**one | {"closed": set(one["closed"])}) for one in state["people"]}
    world.guilds = {one["id"]: Guild(**one | {"members": set(one["members"])}) for one in state["guilds"]}
    world.channels = {one["id"]: _read_channel(one) for one in state["channels"]}
    world.dialogues = {(bot, person): world.channels[number] for bot, person, number in state["dialogues"]}
    files = (Stored(**one | {"data": base64.b64decode(one["data"])}) for one in state["files"])
    world.files = {file.id: file for file in files}
    world.interactions = {one["id"]: Interaction(**one) for one in state["interactions"]}
    world.tokens = {one.token: one for one in world.interactions.values()}
    world.nonces = {(bot, nonce): (made, channel, number) for bot, nonce, made, channel, number in state["nonces"]}
    world.truth = state["truth"]


def _channel(channel: Channel) -> JsonObject:
    kept = {name: getattr(channel, name) for name in Channel.__dataclass_fields__ if name not in ("messages", "typing")}
    return kept | {
        "members": sorted(channel.members),
        "denied": list(channel.denied.items()),
        "messages": [[number, asdict(seen)] for number, seen in channel.messages.items()],
    }


def _read_channel(entry: JsonObject) -> Channel:
    read: dict[str, Any] = {
        "members": set(entry["members"]),
        "denied": {int(member): bits for member, bits in entry["denied"]},
        "messages": {int(number): Seen(**seen) for number, seen in entry["messages"]},
    }
    return Channel(**entry | read)
