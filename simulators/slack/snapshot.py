"""The state as one JSON file: read at start, written atomically."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulators.slack.state import World
from simulators.slack.values import (
    App,
    Channel,
    Dispatch,
    Installation,
    JsonObject,
    Seen,
    Stored,
    Team,
    User,
    View,
)

FORMAT = 1


def dump(world: World) -> bytes:
    """Everything but faults, flood and call counters, open interactions, trigger ids, response URLs and codes."""
    state = {
        "format": FORMAT,
        "app": asdict(world.app),
        "teams": [asdict(team) for team in world.teams.values()],
        "users": [asdict(user) for user in world.users.values()],
        "channels": [_channel(channel) for channel in world.channels.values()],
        "installations": [asdict(one) for one in world.installations.values()],
        "revoked": world.revoked,
        "files": [asdict(file) | {"data": base64.b64encode(file.data).decode()} for file in world.files.values()],
        "views": [asdict(view) for view in world.views.values()],
        "homes": [[team, user, view] for (team, user), view in world.homes.items()],
        "pending": [_dispatch(one) for one in world.pending.values() if one.kind == "events_api"],
        "truth": world.truth,
        "counts": [world.delivered, world.lost, world.last_micros, world.last_serial],
        "random": world.rng.getstate(),
    }
    return json.dumps(state).encode()


def write(path: Path, body: bytes) -> None:
    """Replace the file in one step, so that a crash leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(body)
    fresh.replace(path)


def load(world: World, path: Path) -> bool:
    """Fill an empty world, unless the file is missing (a first start): whether there was one. Secrets that the
    configuration gives win. Raises ValueError for a file of another format."""
    if not path.exists():
        return False
    state = json.loads(path.read_bytes())
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} is not a state file of format {FORMAT}")
    config, app = world.config, App(**state["app"])
    for name in ("app_token", "signing_secret", "client_id", "client_secret"):
        setattr(app, name, getattr(config, name) or getattr(app, name))
    world.app = app
    world.teams = {one["id"]: Team(**one) for one in state["teams"]}
    world.users = {one["id"]: User(**one) for one in state["users"]}
    world.channels = {one["id"]: _read_channel(one) for one in state["channels"]}
    _read_installations(world, state["installations"])
    world.revoked = state["revoked"]
    world.files = {one["id"]: Stored(**one | {"data": base64.b64decode(one["data"])}) for one in state["files"]}
    world.views = {one["id"]: View(**one) for one in state["views"]}
    world.homes = {(team, user): view for team, user, view in state["homes"]}
    world.pending = {one["serial"]: Dispatch(**one) for one in state["pending"]}
    world.truth = state["truth"]
    world.delivered, world.lost, world.last_micros, world.last_serial = state["counts"]
    version, numbers, rest = state["random"]
    world.rng.setstate((version, tuple(numbers), rest))
    return True


def _read_installations(world: World, listed: list[JsonObject]) -> None:
    for number, one in enumerate(listed):
        made = Installation(**one | {"scopes": tuple(one["scopes"])})
        if number == 0 and world.config.bot_token:
            made.token = world.config.bot_token
        world.installations[made.token] = made


def _dispatch(one: Dispatch) -> JsonObject:
    names = ("serial", "kind", "name", "team", "channel", "payload", "created", "attempts")
    return {name: getattr(one, name) for name in names}


def _channel(channel: Channel) -> JsonObject:
    kept = {name: getattr(channel, name) for name in channel.__slots__ if name not in ("members", "messages")}
    return kept | {
        "members": sorted(channel.members),
        "messages": [[ts, asdict(seen) | {"streaming": None}] for ts, seen in channel.messages.items()],
    }


def _read_channel(entry: JsonObject) -> Channel:
    messages: dict[str, Any] = {ts: Seen(**seen) for ts, seen in entry["messages"]}
    return Channel(**entry | {"members": set(entry["members"]), "messages": messages})
