"""reactions.add, remove, get; the same for people."""

import re

from simulators.slack.calls import Call
from simulators.slack.errors import SlackError
from simulators.slack.state import World
from simulators.slack.values import Channel, JsonObject, Seen

NAME = re.compile(r"[a-z0-9_'+-]+(::skin-tone-[2-6])?")


def add(call: Call) -> JsonObject:
    channel, seen, name = _place(call)
    react(call.world, channel, seen, call.install.bot_user, name)
    call.record(channel, seen.message, reaction=name)
    return {}


def remove(call: Call) -> JsonObject:
    channel, seen, name = _place(call)
    unreact(call.world, channel, seen, call.install.bot_user, name)
    call.record(channel, seen.message, reaction=name)
    return {}


def get(call: Call) -> JsonObject:
    channel = call.channel()
    seen = call.seen(channel, "timestamp")
    return {"type": "message", "channel": channel.id, "message": dict(seen.message)}


def _place(call: Call) -> tuple[Channel, Seen, str]:
    if not call.params.has("timestamp"):
        raise SlackError("no_item_specified")
    channel = call.channel()
    return channel, call.seen(channel, "timestamp"), call.params.text("name").strip(":")


def react(world: World, channel: Channel, seen: Seen, user: str, name: str) -> None:
    """Raises SlackError: invalid_name, already_reacted."""
    if not NAME.fullmatch(name):
        raise SlackError("invalid_name")
    reactions: list[JsonObject] = [dict(one) for one in seen.message.get("reactions", [])]
    known = next((one for one in reactions if one["name"] == name), None)
    if known and user in known["users"]:
        raise SlackError("already_reacted")
    if known is None:
        known = {"name": name, "users": [], "count": 0}
        reactions.append(known)
    known |= {"users": [*known["users"], user], "count": known["count"] + 1}
    seen.message = seen.message | {"reactions": reactions}
    _tell(world, channel, seen, user, name, "reaction_added")


def unreact(world: World, channel: Channel, seen: Seen, user: str, name: str) -> None:
    """Raises SlackError: no_reaction."""
    reactions: list[JsonObject] = [dict(one) for one in seen.message.get("reactions", [])]
    known = next((one for one in reactions if one["name"] == name), None)
    if known is None or user not in known["users"]:
        raise SlackError("no_reaction")
    known |= {"users": [one for one in known["users"] if one != user], "count": known["count"] - 1}
    message = seen.message | {"reactions": [one for one in reactions if one["count"]]}
    seen.message = message if message["reactions"] else {k: v for k, v in message.items() if k != "reactions"}
    _tell(world, channel, seen, user, name, "reaction_removed")


def _tell(world: World, channel: Channel, seen: Seen, user: str, name: str, kind: str) -> None:
    world.changes += 1
    install = world.installed(channel.team)
    if install and install.bot_user in channel.members and "reactions:read" in install.scopes:
        event: JsonObject = {"type": kind, "user": user, "reaction": name, "event_ts": world.take_ts()}
        event["item"] = {"type": "message", "channel": channel.id, "ts": seen.message["ts"]}
        if author := seen.message.get("user"):
            event["item_user"] = author
        world.emit(channel.team, event, channel.id)
    world.hub.publish("reaction", team=channel.team, channel=channel.id, ts=seen.message["ts"])
