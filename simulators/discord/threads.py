"""Threads and forum posts (https://docs.discord.com/developers/topics/threads)."""

from typing import Any

from simulators.discord import messages
from simulators.discord.access import audience, can, permissions, seen_channel
from simulators.discord.calls import NOTHING, Call, Status
from simulators.discord.errors import ApiError, JsonObject, invalid, missing_permissions, required, too_long
from simulators.discord.events import emit, message_event
from simulators.discord.params import Params
from simulators.discord.payloads import channel_object
from simulators.discord.people import Refused
from simulators.discord.permissions import CREATE_PUBLIC_THREADS, SEND_MESSAGES
from simulators.discord.reading import shown
from simulators.discord.state import (
    FORUM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
    THREADS,
    Channel,
    Person,
    Seen,
    World,
)

THREAD_CREATED = 18
HAS_THREAD = 1 << 5
NAME_LIMIT = 100


def open_thread(
    world: World, parent: Channel, owner: int, name: str, number: int = 0, kind: int = PUBLIC_THREAD, minutes: int = 0
) -> Channel:
    """Make a thread and tell everybody; `number`: its id, when a message starts it."""
    thread = Channel(number or world.take_id(), kind, name, parent.guild, parent.id, owner=owner)
    thread.archive_minutes = minutes or thread.archive_minutes
    thread.members = {owner}
    world.channels[thread.id] = thread
    world.changes += 1
    emit(world, "THREAD_CREATE", thread, channel_object(world, thread) | {"newly_created": True})
    world.hub.publish("channel", channel_id=str(thread.id))
    return thread


def thread_from(world: World, parent: Channel, seen: Seen, owner: int, name: str, minutes: int = 0) -> Channel:
    """A thread that a message starts; it has the message's id. Raises ApiError when there is one."""
    number = int(seen.message["id"])
    if number in world.channels:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = open_thread(world, parent, owner, name, number, PUBLIC_THREAD, minutes)
    seen.message = seen.message | {"flags": seen.message["flags"] | HAS_THREAD}
    message_event(world, "MESSAGE_UPDATE", parent, seen)
    return thread


def announced(world: World, parent: Channel, thread: Channel) -> None:
    """A thread without a message: the channel says that somebody started it."""
    message = messages.compose(world, parent, thread.owner, Params({"content": thread.name}))
    reference = {"type": 0, "channel_id": str(thread.id), "guild_id": str(thread.guild)}
    messages.post(world, parent, message | {"type": THREAD_CREATED, "message_reference": reference})


def post_in_forum(world: World, forum: Channel, owner: int, name: str, form: Params, minutes: int = 0) -> Seen:
    """A forum post: a thread whose first message has its id. Raises ApiError."""
    message = messages.compose(world, forum, owner, form)
    thread = open_thread(world, forum, owner, name, int(message["id"]), PUBLIC_THREAD, minutes)
    for attachment in message["attachments"]:
        world.files[int(attachment["id"])].channel = thread.id
    return messages.post(world, thread, message | {"channel_id": str(thread.id), "position": 0})


def person_opens(
    world: World, person: Person, parent: Channel, name: str, content: str, message_id: int, files: Params
) -> tuple[Channel, Seen | None]:
    """A person opens a thread, from a message or without one, or a forum post. Raises Refused."""
    if not name.strip() or len(name) > NAME_LIMIT:
        raise Refused(f"a thread's name has 1 to {NAME_LIMIT} characters")
    if not permissions(world, parent, person.id) & CREATE_PUBLIC_THREADS or parent.type not in (TEXT, FORUM):
        raise Refused(f"{person.name} may not open threads here")
    form = Params({"content": content}, files.files)
    try:
        if parent.type == FORUM:
            seen = post_in_forum(world, parent, person.id, name, form)
            return world.channels[int(seen.message["id"])], seen
        if message_id:
            thread = thread_from(world, parent, messages.find_message(parent, message_id), person.id, name)
        else:
            thread = open_thread(world, parent, person.id, name)
            announced(world, parent, thread)
        first = messages.compose(world, thread, person.id, form) if content or files.files else None
    except ApiError as error:
        raise Refused(error.message) from None
    return thread, messages.post(world, thread, first) if first else None


def _name(call: Call) -> str:
    name = str(call.params.needed("name")).strip()
    if len(name) > NAME_LIMIT:
        raise too_long("name", NAME_LIMIT)
    return name


def _parent(call: Call) -> Channel:
    parent = seen_channel(call.world, call.bot.id, call.number("channel"), CREATE_PUBLIC_THREADS)
    if parent.type not in (TEXT, FORUM):
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    return parent


def start_from_message(call: Call) -> Any:
    parent = _parent(call)
    seen = messages.find_message(parent, call.number("message"))
    minutes = call.params.whole("auto_archive_duration")
    thread = thread_from(call.world, parent, seen, call.bot.id, _name(call), minutes)
    _record(call, thread, None)
    return Status(201, channel_object(call.world, thread))


def start(call: Call) -> Any:
    """A thread without a message, or in a forum a post."""
    parent, name = _parent(call), _name(call)
    minutes = call.params.whole("auto_archive_duration")
    if parent.type == FORUM:
        if not can(call.world, parent, call.bot.id, SEND_MESSAGES):
            raise missing_permissions()
        if not isinstance(call.params.values.get("message"), dict):
            raise required("message")
        form = Params(call.params.values["message"], call.params.files)
        seen = post_in_forum(call.world, parent, call.bot.id, name, form, minutes)
        thread = call.world.channels[int(seen.message["id"])]
        _record(call, thread, seen)
        return Status(201, channel_object(call.world, thread) | {"message": shown(call, thread, seen)})
    kind = call.params.whole("type", PRIVATE_THREAD)
    if kind not in THREADS:
        raise invalid("type", "BASE_TYPE_CHOICES", "Value must be one of {10, 11, 12}.")
    thread = open_thread(call.world, parent, call.bot.id, name, 0, kind, minutes)
    if kind == PUBLIC_THREAD:
        announced(call.world, parent, thread)
    _record(call, thread, None)
    return Status(201, channel_object(call.world, thread))


def modify(call: Call) -> Any:
    """Rename, archive or lock a thread that the bot may change."""
    channel = seen_channel(call.world, call.bot.id, call.number("channel"))
    if channel.type not in THREADS or channel.owner != call.bot.id:
        raise missing_permissions()
    if call.params.has("name"):
        channel.name = _name(call)
    channel.archived = bool(call.params.values.get("archived", channel.archived))
    channel.locked = bool(call.params.values.get("locked", channel.locked))
    _updated(call.world, channel)
    _record(call, channel, None)
    return channel_object(call.world, channel)


def _updated(world: World, channel: Channel) -> None:
    world.changes += 1
    emit(world, "THREAD_UPDATE", channel, channel_object(world, channel))
    world.hub.publish("channel", channel_id=str(channel.id))


def join(call: Call) -> Any:
    channel = seen_channel(call.world, call.bot.id, call.number("channel"))
    if channel.type not in THREADS:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    channel.members.add(call.bot.id)
    call.world.changes += 1
    return NOTHING


def leave(call: Call) -> Any:
    channel = seen_channel(call.world, call.bot.id, call.number("channel"))
    channel.members.discard(call.bot.id)
    call.world.changes += 1
    return NOTHING


def list_archived(call: Call) -> Any:
    parent = seen_channel(call.world, call.bot.id, call.number("channel"))
    found: list[JsonObject] = [
        channel_object(call.world, channel)
        for channel in call.world.channels.values()
        if channel.parent == parent.id and channel.archived and channel.type == PUBLIC_THREAD
    ]
    return {"threads": found, "members": [], "has_more": False}


def _record(call: Call, thread: Channel, seen: Seen | None) -> None:
    message = seen.message if seen else {}
    seen_by = audience(call.world, thread)
    call.world.record(call.bot.id, call.method, thread.id, message, call.params.values, seen_by)
