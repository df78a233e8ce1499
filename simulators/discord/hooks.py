"""Operations that whoever holds an interaction's token may do: the callback, follow-ups, edits, deletions."""

from typing import Any

from simulators.discord import messages, responses
from simulators.discord.calls import NOTHING, Call
from simulators.discord.errors import JsonObject
from simulators.discord.events import secret
from simulators.discord.payloads import message_object
from simulators.discord.state import Channel, Interaction, Seen


def _asked(call: Call) -> Interaction:
    if call.interaction is None:
        raise LookupError("a route of an interaction without one")
    return call.interaction


def _shown(call: Call, channel: Channel, seen: Seen) -> JsonObject:
    return message_object(channel, seen, call.bot.id, call.root, secret(call.world), True)


def create_response(call: Call) -> Any:
    asked = _asked(call)
    seen = responses.respond(call.world, asked, call.params)
    if call.query.get("with_response", "").lower() not in ("true", "1"):
        return NOTHING
    shown = _shown(call, call.world.channels[asked.channel], seen) if seen else None
    return responses.callback_object(call.world, call.bot, asked, call.params.values["type"], shown)


def create_followup(call: Call) -> Any:
    asked = _asked(call)
    seen = responses.follow_up(call.world, asked, call.params)
    responses.note(call.world, asked, call.method, seen, call.params)
    return _shown(call, call.world.channels[asked.channel], seen)


def get_message(call: Call) -> Any:
    channel, seen = responses.find(call.world, _asked(call), call.path["message"])
    return _shown(call, channel, seen)


def edit_message(call: Call) -> Any:
    asked = _asked(call)
    channel, seen = responses.find(call.world, asked, call.path["message"])
    responses.change(call.world, asked, channel, seen, call.params)
    responses.note(call.world, asked, call.method, seen, call.params)
    return _shown(call, channel, seen)


def delete_message(call: Call) -> Any:
    asked = _asked(call)
    channel, seen = responses.find(call.world, asked, call.path["message"])
    messages.remove(call.world, channel, seen)
    responses.note(call.world, asked, call.method, seen, call.params)
    return NOTHING
