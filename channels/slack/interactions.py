"""What people press, submit and command, as inbound messages.

https://docs.slack.dev/reference/interaction-payloads and https://docs.slack.dev/interactivity/implementing-slash-commands
"""

from __future__ import annotations

from typing import Any

import orjson

from channels.slack.commands import PRIVATE, slash, typed
from channels.slack.places import (
    Place,
    object_in,
    optional,
    optional_stamp,
    sender_of,
    stamp_in,
    text_in,
)
from channels.slack.words import clean, readable
from kernel.types import Ignored, InboundMessage, Json, Parsed, Sender

COMMENT = "parley_comment"  # callback_id of the form that asks what was wrong
COMMENT_BLOCK, COMMENT_ACTION = "comment", "text"
OTHERS = ("view_closed", "shortcut", "message_action", "block_suggestion", "workflow_step_edit")


def command(team: str, bot: str, update: Json) -> Parsed:
    """A slash command, which belongs to no thread. Its reply goes to the channel, or, where the bot may not write and
    for what is private, to the person's direct messages."""
    user, channel = text_in(update, "user_id"), text_in(update, "channel_id")
    words, _ = readable(optional(update, "text"), bot)
    name, rest = slash(text_in(update, "command"), words)
    place = Place(team, channel, channel.startswith("D"))
    if name in PRIVATE and not place.direct:
        place = Place(team, user, direct=True)
    return InboundMessage(
        external_id=f"{team}:command:{text_in(update, 'trigger_id')}",
        conversation_key=place.key,
        kind="command" if name else "text",
        sender=sender_of(team, user, username=update.get("user_name")),
        text=rest,
        address=place.address(user, otherwise=user),
        command=name,
        private=place.direct,
        chat=channel,
    )


def actions(update: Json) -> list[Parsed]:
    """Presses of our buttons: `fb:up:TURN`, `fb:down:TURN`, `say:TEXT`."""
    channel = update.get("channel")
    if not isinstance(channel, dict):
        return [Ignored("view_action")]
    pressed = update.get("actions")
    if not isinstance(pressed, list) or not all(isinstance(one, dict) for one in pressed):
        raise ValueError("actions must be a list of objects")
    return [_action(update, text_in(channel, "id"), one) for one in pressed]


def _action(update: Json, channel: str, action: Json) -> Parsed:
    container = object_in(update, "container")
    ts, action_ts = stamp_in(container, "message_ts"), stamp_in(action, "action_ts")
    # At the top of a channel the bot speaks only when a slash command was given there, which has no thread.
    thread = optional_stamp(container, "thread_ts")
    place = Place(team_of(update), channel, channel.startswith("D"), thread if thread != ts else "")
    sender = _presser(place.team, object_in(update, "user"))
    verb, _, rest = clean(optional(action, "value")).partition(":")
    told = _told(verb, rest)
    if told is None:
        return Ignored("unknown_action")
    return InboundMessage(
        external_id=f"{place.team}:{channel}:action:{action_ts}",
        conversation_key=place.key,
        sender=sender,
        address=place.address(sender.external_id.partition(":")[2]),
        message_ref=ts,
        private=place.direct,
        sent_at=float(action_ts),
        chat=channel,
        thread=bool(place.thread),
        press=_press(update),
        **told,
    )


def _told(verb: str, rest: str) -> Json | None:
    """What a button says in the person's name; None when it is not one of ours."""
    if verb == "say" and rest:
        name, argument = typed(rest)
        return {"kind": "command" if name else "text", "command": name, "text": argument}
    detail, _, turn = rest.partition(":")
    if verb == "fb" and detail in ("up", "down") and turn:
        return {"kind": "feedback", "text": "", "detail": detail, "about": turn}
    return None


def _press(update: Json) -> str:
    """What `acknowledge` needs, as text: where to answer, and what lets a form be opened for three seconds."""
    press = {"url": optional(update, "response_url"), "trigger": optional(update, "trigger_id")}
    return orjson.dumps(press).decode()


def submission(update: Json) -> Parsed:
    """The form that asks what was wrong with an answer, filled in."""
    view = object_in(update, "view")
    if view.get("callback_id") != COMMENT:
        return Ignored("unknown_view")
    meta = orjson.loads(text_in(view, "private_metadata"))
    team, channel = team_of(update), text_in(meta, "channel")
    place = Place(team, channel, channel.startswith("D"), optional_stamp(meta, "thread_ts"))
    sender = _presser(team, object_in(update, "user"))
    return InboundMessage(
        external_id=f"{team}:view:{text_in(view, 'id')}",
        conversation_key=place.key,
        kind="feedback",
        sender=sender,
        text=_comment(view),
        address=place.address(sender.external_id.partition(":")[2]),
        message_ref=optional_stamp(meta, "ts"),
        private=place.direct,
        detail="down",
        chat=channel,
        thread=bool(place.thread),
        about=text_in(meta, "turn"),
    )


def _comment(view: Json) -> str:
    found: Any = view
    for key in ("state", "values", COMMENT_BLOCK, COMMENT_ACTION):
        found = object_in(found, key)
    return clean(optional(found, "value")).strip()


def team_of(update: Json) -> str:
    """An interaction's team: of a form that in which the app is; of an app that an organization installed, that."""
    view = update.get("view")
    if isinstance(view, dict) and view.get("app_installed_team_id"):
        return text_in(view, "app_installed_team_id")
    for name in ("team", "enterprise"):
        if isinstance(found := update.get(name), dict):
            return text_in(found, "id")
    raise ValueError("an interaction must name its team")


def _presser(team: str, user: Json) -> Sender:
    return sender_of(team, text_in(user, "id"), username=user.get("username") or user.get("name"))
