"""Messages: made by bots and people alike, edited, deleted, listed."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from simulators.discord import forms
from simulators.discord.access import audience, can
from simulators.discord.errors import ApiError, JsonObject, invalid, unknown
from simulators.discord.events import emit, message_event, place_of
from simulators.discord.files import kept, upload_all
from simulators.discord.params import Params, mapping, number
from simulators.discord.permissions import MENTION_EVERYONE
from simulators.discord.state import DM, THREADS, Bot, Channel, Seen, World
from simulators.discord.wire import stamp

EMPTY = ApiError(400, 50006, "Cannot send an empty message")
DEFAULT, REPLY, SLASH_REPLY = 0, 19, 20
LOADING = 1 << 7


def find_message(channel: Channel, number: int) -> Seen:
    """A message that is still there. Raises ApiError."""
    seen = channel.messages.get(number)
    if seen is None or seen.deleted:
        raise unknown(10008)
    return seen


def compose(
    world: World, channel: Channel, author: int, params: Params, flags: int = forms.SENDABLE_FLAGS
) -> JsonObject:
    """A message object from a form; nothing is stored yet but its files. Raises ApiError."""
    values = params.values
    text = forms.content_of(values) or ""
    embeds = forms.embeds_of(values) or []
    components = forms.components_of(values) or []
    nonce = forms.nonce_of(values)
    users, everyone = forms.mentioned(values, text)
    reference = _reference(world, channel, values.get("message_reference"))
    shown_flags = forms.flags_of(values, flags)
    attachments = upload_all(world, channel, params, values.get("attachments"))
    if not (text or embeds or attachments or components or values.get("poll") or values.get("sticker_ids")):
        raise EMPTY
    message: JsonObject = {
        "id": str(world.take_id()),
        "type": REPLY if reference else DEFAULT,
        "channel_id": str(channel.id),
        "author": world.profile(author),
        "content": text,
        "timestamp": stamp(world.now()),
        "edited_timestamp": None,
        "tts": bool(values.get("tts")),
        "mention_everyone": everyone and can(world, channel, author, MENTION_EVERYONE) and channel.type != DM,
        "mentions": _mentions(world, channel, users, values, reference),
        "mention_roles": [],
        "attachments": attachments,
        "embeds": embeds,
        "components": components,
        "pinned": False,
        "flags": shown_flags,
        **reference,
    }
    if author in world.bots:
        message["application_id"] = str(author)
    if channel.type in THREADS:
        message["position"] = len(channel.messages)
    return message | {"nonce": nonce} if nonce is not None else message


def _mentions(
    world: World, channel: Channel, users: list[int], values: JsonObject, reference: JsonObject
) -> list[JsonObject]:
    known = [user for user in users if user in world.people or user in world.bots]
    allowed = values.get("allowed_mentions")
    quoted = reference.get("referenced_message")
    pings = allowed is None or bool(mapping("allowed_mentions", allowed).get("replied_user"))
    if quoted and pings and (author := int(quoted["author"]["id"])) not in known:
        known.append(author)
    return [world.profile(user) for user in known]


def _reference(world: World, channel: Channel, given: Any) -> JsonObject:
    given = mapping("message_reference", given)
    if given.get("message_id") is None:
        return {}
    wanted = number("message_reference.message_id", given["message_id"])
    seen = channel.messages.get(wanted)
    if seen is None or seen.deleted:
        if given.get("fail_if_not_exists", True):
            raise invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        return {}
    reference = {"type": 0, "message_id": str(wanted), "channel_id": str(channel.id)}
    if channel.guild:
        reference["guild_id"] = str(channel.guild)
    return {
        "message_reference": reference,
        "referenced_message": {k: v for k, v in seen.message.items() if k != "referenced_message"},
    }


def post(world: World, channel: Channel, message: JsonObject, only: int | None = None) -> Seen:
    """Put a message into its channel and tell everybody who may see it."""
    seen = Seen(message, only=only)
    world.put(channel, seen)
    channel.archived = False
    channel.typing.pop(int(message["author"]["id"]), None)
    message_event(world, "MESSAGE_CREATE", channel, seen)
    if message["author"]["id"] not in {str(bot) for bot in world.bots}:
        world.hub.publish("message", channel_id=str(channel.id), message=message, only=_text(only))
    return seen


def send(world: World, bot: Bot, channel: Channel, params: Params) -> Seen:
    """A bot writes. With `enforce_nonce`, the same nonce within minutes gives the message it made. Raises ApiError."""
    nonce = forms.nonce_of(params.values)
    enforced = nonce is not None and bool(params.values.get("enforce_nonce"))
    if enforced and (earlier := _earlier(world, bot, channel, str(nonce))):
        return earlier
    message = compose(world, channel, bot.id, params)
    if channel.type == DM:
        refuse_closed(world, bot, channel)
    if nonce is not None:
        _forget(world)
        world.nonces[(bot.id, str(nonce))] = (world.now(), channel.id, int(message["id"]))
    seen = post(world, channel, message)
    world.record(bot.id, "create_message", channel.id, message, params.values, audience(world, channel))
    return seen


def _earlier(world: World, bot: Bot, channel: Channel, nonce: str) -> Seen | None:
    made = world.nonces.get((bot.id, nonce))
    if made is None or made[0] < world.now() - world.config.nonce_seconds or made[1] != channel.id:
        return None
    return channel.messages.get(made[2])


def _forget(world: World) -> None:
    """Drop the nonces that are too old; they stand in the order in which they came."""
    while world.nonces:
        oldest = next(iter(world.nonces))
        if world.nonces[oldest][0] >= world.now() - world.config.nonce_seconds:
            return
        del world.nonces[oldest]


def refuse_closed(world: World, bot: Bot, channel: Channel) -> None:
    """50007 when the person of a dialogue does not take this bot's messages. Raises ApiError."""
    for member in channel.members:
        person = world.people.get(member)
        if person and (bot.id in person.closed or not _together(world, bot.id, member)):
            raise ApiError(403, 50007, "Cannot send messages to this user")


def _together(world: World, one: int, other: int) -> bool:
    return any({one, other} <= guild.members for guild in world.guilds.values())


def change(
    world: World, channel: Channel, seen: Seen, params: Params, flags: int = 1 << 2, first: bool = False
) -> JsonObject:
    """Apply an edit to a message and tell everybody. Raises ApiError.

    first: it takes the place of "thinking", which does not count as an edit.
    """
    values = params.values
    text = forms.content_of(values)
    embeds = forms.embeds_of(values)
    components = forms.components_of(values)
    message = dict(seen.message)
    if text is not None:
        message["content"] = text
        users, message["mention_everyone"] = forms.mentioned(values, text)
        message["mentions"] = _mentions(world, channel, users, values, {})
    if embeds is not None:
        message["embeds"] = embeds
    if components is not None:
        message["components"] = components
    if "flags" in values:
        message["flags"] = message["flags"] & ~flags | forms.flags_of(values, flags)
    attachments = message["attachments"]
    if "attachments" in values:
        attachments = kept(attachments, values["attachments"])
    message["attachments"] = attachments + upload_all(world, channel, params, values.get("attachments"))
    if not any(message[name] for name in ("content", "embeds", "attachments", "components")):
        raise EMPTY
    if first:
        message["flags"] &= ~LOADING
    else:
        message["edited_timestamp"] = stamp(world.now())
    replace(world, channel, seen, message)
    return message


def replace(world: World, channel: Channel, seen: Seen, message: JsonObject) -> None:
    """Show another message in the place of this one; what it said is remembered."""
    seen.edits.append({"time": world.now(), **{k: seen.message[k] for k in ("content", "embeds", "components")}})
    seen.message = message
    world.changes += 1
    message_event(world, "MESSAGE_UPDATE", channel, seen)
    world.hub.publish("edited_message", channel_id=str(channel.id), message=message, only=_text(seen.only))


def remove(world: World, channel: Channel, seen: Seen) -> None:
    """Delete a message and tell everybody."""
    seen.deleted = world.now()
    world.changes += 1
    number = seen.message["id"]
    place = {k: v for k, v in place_of(world, channel, 0).items() if k == "guild_id"}
    if seen.only is None:
        emit(world, "MESSAGE_DELETE", channel, {"id": number, "channel_id": str(channel.id), **place})
    world.hub.publish("deleted_message", channel_id=str(channel.id), message_id=number, only=_text(seen.only))


def page(channel: Channel, before: int, after: int, around: int, limit: int) -> list[Seen]:
    """A page of history, newest first; at most one of `before`, `after`, `around` is not 0."""
    if around:
        older = page(channel, around, 0, 0, limit // 2)[::-1] if limit > 1 else []
        newer = islice(_shown(channel.messages.values(), around - 1), limit - len(older))
        found = [*older, *newer]
    elif after:
        found = list(islice(_shown(channel.messages.values(), after), limit))
    else:
        latest = _shown(reversed(channel.messages.values()), 0)
        return list(islice((seen for seen in latest if not before or int(seen.message["id"]) < before), limit))
    return found[::-1]


def _shown(some: Iterable[Seen], after: int) -> Iterator[Seen]:
    """What anybody may read, of messages that stand in the order of their ids."""
    return (seen for seen in some if not seen.deleted and seen.only is None and int(seen.message["id"]) > after)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
