"""What a bot answers to an interaction: at once by a callback or in the HTTP response, later through its token."""

from typing import Any

from simulators.discord import forms, messages
from simulators.discord.access import audience
from simulators.discord.errors import ApiError, JsonObject, invalid, unknown
from simulators.discord.interactions import COMMAND, COMPONENT, interaction_view, original, owners
from simulators.discord.messages import LOADING
from simulators.discord.params import Params, mapping
from simulators.discord.state import Bot, Channel, Interaction, Seen, World

PONG, MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE = 1, 4, 5, 6, 7
ALLOWED = forms.SENDABLE_FLAGS | forms.EPHEMERAL
ACKNOWLEDGED = ApiError(400, 40060, "Interaction has already been acknowledged.")


def respond(world: World, asked: Interaction, params: Params) -> Seen | None:
    """The first response; the message it made or changed. Raises ApiError: too late, twice, or not well formed."""
    if asked.state == "failed" or asked.asked < world.now() - world.config.response_seconds:
        raise unknown(10062)
    if asked.state != "waiting":
        raise ACKNOWLEDGED
    kind = params.whole("type")
    if kind not in (PONG, MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE):
        raise invalid("type", "BASE_TYPE_CHOICES", "Value must be one of {1, 4, 5, 6, 7}.")
    if kind in (DEFERRED_UPDATE, UPDATE) and asked.kind != COMPONENT:
        raise invalid("type", "INTERACTION_RESPONSE_TYPE_INVALID", "This response is for components only.")
    form = _form(params)
    seen = _first(world, asked, kind, form)
    request = {"type": kind, "data": form.values}
    _note(world, asked, "create_interaction_response", seen, request)
    return seen


def _form(params: Params) -> Params:
    """The message in a response; a nonce means nothing here."""
    data = mapping("data", params.values.get("data"))
    return Params({k: v for k, v in data.items() if k != "nonce"}, params.files)


def _first(world: World, asked: Interaction, kind: int, form: Params) -> Seen | None:
    channel = world.channels[asked.channel]
    if kind == PONG:
        asked.state = "answered"
        return None
    if kind in (DEFERRED_UPDATE, UPDATE):
        seen = messages.find_message(channel, asked.source)
        if kind == UPDATE:
            messages.change(world, channel, seen, form)
        asked.state, asked.response = "updating" if kind == DEFERRED_UPDATE else "answered", asked.source
        return seen
    seen = _loading(world, asked, channel, form) if kind == DEFERRED else _post(world, asked, channel, form, True)
    asked.state = "deferred" if kind == DEFERRED else "answered"
    asked.response = int(seen.message["id"])
    return seen


def _loading(world: World, asked: Interaction, channel: Channel, form: Params) -> Seen:
    """ "Parley is thinking…" """
    blank = Params({"content": "…", "flags": form.values.get("flags")})
    message = messages.compose(world, channel, asked.bot, blank, ALLOWED)
    message |= {"content": "", "flags": message["flags"] | LOADING}
    return _show(world, asked, channel, message, first=True)


def _post(world: World, asked: Interaction, channel: Channel, form: Params, first: bool) -> Seen:
    message = messages.compose(world, channel, asked.bot, form, ALLOWED)
    return _show(world, asked, channel, message, first)


def _show(world: World, asked: Interaction, channel: Channel, message: JsonObject, first: bool) -> Seen:
    user = world.people[asked.user].profile()
    metadata: JsonObject = {
        "id": str(asked.id),
        "type": asked.kind,
        "user": user,
        "authorizing_integration_owners": owners(channel),
    }
    message |= {"webhook_id": str(asked.bot), "interaction_metadata": metadata}
    if asked.kind == COMMAND:
        metadata["name"] = asked.data["name"]
        if first:
            message["type"] = messages.SLASH_REPLY
    elif first:
        metadata["interacted_message_id"] = str(asked.source)
        message |= {"type": messages.REPLY} | _answered(channel, asked)
    only = asked.user if message["flags"] & forms.EPHEMERAL else None
    asked.messages.append(int(message["id"]))
    return messages.post(world, channel, message, only)


def _answered(channel: Channel, asked: Interaction) -> JsonObject:
    source = channel.messages[asked.source].message
    reference = {"type": 0, "message_id": str(asked.source), "channel_id": str(channel.id)}
    quoted = {k: v for k, v in source.items() if k != "referenced_message"}
    return {"message_reference": reference, "referenced_message": quoted}


def follow_up(world: World, asked: Interaction, params: Params) -> Seen:
    """A message through the token; the first one after a deferred response takes the place of "thinking".

    Raises ApiError: an interaction without a first response has no webhook yet.
    """
    if asked.state in ("waiting", "failed"):
        raise unknown(10015)
    channel = world.channels[asked.channel]
    form = Params({k: v for k, v in params.values.items() if k != "nonce"}, params.files)
    if asked.state == "deferred":
        _, loading = original(world, asked)
        if loading and not loading.deleted:
            return _fill(world, asked, channel, loading, form)
    return _post(world, asked, channel, form, False)


def change(world: World, asked: Interaction, channel: Channel, seen: Seen, params: Params) -> Seen:
    """Edit a message of an interaction. Raises ApiError."""
    form = Params({k: v for k, v in params.values.items() if k != "nonce"}, params.files)
    if seen.message["flags"] & LOADING:
        return _fill(world, asked, channel, seen, form)
    messages.change(world, channel, seen, form)
    return seen


def _fill(world: World, asked: Interaction, channel: Channel, seen: Seen, form: Params) -> Seen:
    """Put the answer where "thinking" stood; it does not count as edited."""
    messages.change(world, channel, seen, form, first=True)
    asked.state = "answered"
    world.hub.publish("interaction", **interaction_view(asked))
    return seen


def find(world: World, asked: Interaction, which: str) -> tuple[Channel, Seen]:
    """A message of an interaction: "@original" or the id of a follow-up. Raises ApiError."""
    if asked.state in ("waiting", "failed"):
        raise unknown(10015)
    channel, seen = original(world, asked)
    if which != "@original":
        mine = int(which) in asked.messages or int(which) == asked.response
        seen = channel.messages.get(int(which)) if mine else None
    if seen is None or seen.deleted:
        raise unknown(10008)
    return channel, seen


def note(world: World, asked: Interaction, method: str, seen: Seen | None, params: Params) -> None:
    _note(world, asked, method, seen, params.values)


def _note(world: World, asked: Interaction, method: str, seen: Seen | None, request: JsonObject) -> None:
    channel = world.channels[asked.channel]
    only = seen.only if seen else None
    seen_by = audience(world, channel) if only is None else [only]
    message = seen.message if seen else {}
    more = {"interaction_id": str(asked.id)}
    world.record(asked.bot, method, channel.id, message, request | more, seen_by)
    world.hub.publish("interaction", **interaction_view(asked))


def callback_object(world: World, bot: Bot, asked: Interaction, kind: int, message: Any) -> JsonObject:
    """The answer to a callback with `with_response`."""
    flags = message["flags"] if message else 0
    shown: JsonObject = {
        "interaction": {
            "id": str(asked.id),
            "type": asked.kind,
            "response_message_id": message["id"] if message else None,
            "response_message_loading": bool(flags & LOADING),
            "response_message_ephemeral": bool(flags & forms.EPHEMERAL),
        }
    }
    if message:
        shown["resource"] = {"type": kind, "message": message}
    else:
        shown["interaction"].pop("response_message_id")
    return shown
