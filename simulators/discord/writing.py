"""Operations of bots on messages, reactions, dialogues and the typing sign."""

import unicodedata
from typing import Any

from simulators.discord import messages, people
from simulators.discord.access import audience, can, seen_channel
from simulators.discord.calls import NOTHING, Call
from simulators.discord.errors import ApiError, missing_access, missing_permissions, unknown
from simulators.discord.params import number
from simulators.discord.payloads import channel_object
from simulators.discord.permissions import (
    ADD_REACTIONS,
    ATTACH_FILES,
    MANAGE_MESSAGES,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS,
    VIEW_CHANNEL,
)
from simulators.discord.reading import shown
from simulators.discord.state import DM, FORUM, THREADS, Channel, Seen


def open_dm(call: Call) -> Any:
    person = call.world.people.get(number("recipient_id", call.params.needed("recipient_id")))
    if person is None:
        raise ApiError(400, 50033, "Invalid Recipient(s)")
    return channel_object(call.world, call.world.dialogue(call.bot, person))


def create_message(call: Call) -> Any:
    channel = writable(call)
    if call.params.files and not can(call.world, channel, call.bot.id, ATTACH_FILES):
        raise missing_permissions()
    return shown(call, channel, messages.send(call.world, call.bot, channel, call.params))


def writable(call: Call) -> Channel:
    """The channel of the path, where the bot may write. Raises ApiError."""
    channel = seen_channel(call.world, call.bot.id, call.number("channel"))
    if channel.type == FORUM:
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    bit = SEND_MESSAGES_IN_THREADS if channel.type in THREADS else SEND_MESSAGES
    if not can(call.world, channel, call.bot.id, bit):
        raise missing_permissions()
    if channel.locked:
        raise ApiError(400, 50083, "Thread is archived")
    return channel


def _target(call: Call, *bits: int) -> tuple[Channel, Seen]:
    channel = seen_channel(call.world, call.bot.id, call.number("channel"), *bits)
    seen = messages.find_message(channel, call.number("message"))
    if seen.only is not None:
        raise unknown(10008)
    return channel, seen


def edit_message(call: Call) -> Any:
    channel, seen = _target(call, VIEW_CHANNEL)
    if seen.message["author"]["id"] != str(call.bot.id):
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    messages.change(call.world, channel, seen, call.params)
    _record(call, channel, seen)
    return shown(call, channel, seen)


def delete_message(call: Call) -> Any:
    channel, seen = _target(call, VIEW_CHANNEL)
    if seen.message["author"]["id"] != str(call.bot.id):
        if channel.type == DM:
            raise ApiError(403, 50003, "Cannot execute action on a DM channel")
        if not can(call.world, channel, call.bot.id, MANAGE_MESSAGES):
            raise missing_permissions()
    messages.remove(call.world, channel, seen)
    _record(call, channel, seen)
    return NOTHING


def trigger_typing(call: Call) -> Any:
    people.start_typing(call.world, writable(call), call.bot.id)
    return NOTHING


def create_reaction(call: Call) -> Any:
    channel, seen = _target(call, READ_MESSAGE_HISTORY)
    emoji = _emoji(call)
    if not can(call.world, channel, call.bot.id, ADD_REACTIONS):
        raise missing_permissions()
    if people.react(call.world, channel, call.bot.id, seen, emoji):
        _record(call, channel, seen, emoji=emoji)
    return NOTHING


def delete_reaction(call: Call) -> Any:
    channel, seen = _target(call, READ_MESSAGE_HISTORY)
    emoji, user = _emoji(call), call.path["user"]
    member = call.bot.id if user == "@me" else number("user_id", user)
    if member != call.bot.id and not can(call.world, channel, call.bot.id, MANAGE_MESSAGES):
        raise missing_permissions()
    if people.react(call.world, channel, member, seen, emoji, remove=True):
        _record(call, channel, seen, emoji=emoji)
    return NOTHING


def get_reactions(call: Call) -> Any:
    _, seen = _target(call, READ_MESSAGE_HISTORY)
    return [call.world.profile(user) for user in seen.reactions.get(_emoji(call), [])]


def _emoji(call: Call) -> str:
    """A Unicode emoji; there are no custom ones here. Raises ApiError."""
    emoji = call.path["emoji"]
    if not any(unicodedata.category(c) in ("So", "Sk", "Sm", "Me", "Po") and ord(c) > 127 for c in emoji):
        raise unknown(10014)
    return emoji


def _record(call: Call, channel: Channel, seen: Seen, **more: Any) -> None:
    request = call.params.values | more
    call.world.record(call.bot.id, call.method, channel.id, seen.message, request, audience(call.world, channel))


def refuse_unknown_application(call: Call) -> None:
    """Another application's commands are none of this bot's business. Raises ApiError."""
    if call.number("application") != call.bot.id:
        raise missing_access()
