"""Message events to inbound messages. https://docs.slack.dev/reference/events/message

`message` and `app_mention` tell of the same thing, and so does history: all get the same key, team, channel and ts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.slack.commands import typed
from channels.slack.files import attachments
from channels.slack.places import (
    Place,
    object_in,
    optional,
    optional_stamp,
    place_of,
    sender_of,
    stamp_in,
    text_in,
)
from channels.slack.words import readable
from kernel.types import Attachment, Ignored, InboundKind, InboundMessage, Json, Parsed

FROM_PEOPLE = ("", "file_share", "thread_broadcast", "me_message")
TITLE_SECONDS = 3600.0  # a thread older than that has its title
TITLE_LENGTH = 80
_DETAILS = {"image": "photo", "audio": "voice", "video": "video", "file": "document"}


def message(team: str, bot: str, event: Json) -> Parsed:
    """A `message` or `app_mention` event. Raises ValueError when it is not Slack's shape."""
    subtype = optional(event, "subtype")
    if subtype == "message_changed":
        return _changed(team, bot, event)
    if subtype == "message_deleted":
        previous = event.get("previous_message")
        return _deleted(team, bot, event, previous if isinstance(previous, dict) else {}, stamp_in(event, "deleted_ts"))
    if reason := _stranger(event, bot, subtype):
        return Ignored(reason)
    return _said(team, bot, event)


def _stranger(message: Json, bot: str, subtype: str) -> str:
    """Why nobody is answered here; empty for a person's own words."""
    user = message.get("user")
    if bot and user == bot:
        return "own_message"
    if message.get("bot_id") or message.get("bot_profile") or subtype == "bot_message" or user == "USLACKBOT":
        return "from_bot"
    return "" if subtype in FROM_PEOPLE and user else "service_message"


def _said(team: str, bot: str, event: Json) -> Parsed:
    place, ts = _place(team, text_in(event, "channel"), event), stamp_in(event, "ts")
    user = text_in(event, "user")
    text, mentioned = readable(optional(event, "text"), bot)
    files = attachments(team, event.get("files"))
    command, argument = typed(text)
    kind: InboundKind = "command" if command else "text"
    if not text:
        kind, command = ("unsupported", "") if files else ("command", "help")
        if not files and not mentioned and event.get("type") != "app_mention":
            return Ignored("no_text")
    return InboundMessage(
        external_id=f"{team}:{place.channel}:{ts}",
        conversation_key=place.key,
        kind=kind,
        sender=sender_of(team, user, _name(event.get("user_profile"))),
        text=argument if command else text,
        address=place.address(user, **_title(place, ts, text if kind == "text" else "")),
        message_ref=ts,
        command=command,
        private=place.direct,
        detail=_detail(files) if kind == "unsupported" else "",
        sent_at=float(ts),
        chat=place.channel,
        thread=_in_thread(place, ts),
        addressed=place.direct or mentioned or event.get("type") == "app_mention" or _to_bot(event, bot, ts),
        attachments=files,
    )


def _place(team: str, channel: str, message: Json) -> Place:
    return place_of(team, channel, stamp_in(message, "ts"), optional_stamp(message, "thread_ts"))


def _in_thread(place: Place, ts: str) -> bool:
    return bool(place.thread) and place.thread != ts


def _to_bot(message: Json, bot: str, ts: str) -> bool:
    """A reply in a thread that the bot began."""
    return bool(bot) and message.get("parent_user_id") == bot and message.get("thread_ts") != ts


def _title(place: Place, ts: str, question: str) -> Json:
    """A direct thread is called after the question that it begins with."""
    young = place.direct and place.thread and float(ts) - float(place.thread) < TITLE_SECONDS
    words = " ".join(question.split())
    return {"title": words[:TITLE_LENGTH]} if young and words else {}


def _detail(files: Sequence[Attachment]) -> str:
    return _DETAILS[files[0].kind]


def _name(profile: Any) -> str:
    if not isinstance(profile, dict):
        return ""
    return next(
        (name for key in ("display_name", "real_name") if isinstance(name := profile.get(key), str) and name), ""
    )


def _changed(team: str, bot: str, event: Json) -> Parsed:
    """A person's edit. Slack tells of unfurled links and new replies in the same way, with no new `edited`."""
    changed, previous = object_in(event, "message"), event.get("previous_message")
    before = previous if isinstance(previous, dict) else {}
    subtype = optional(changed, "subtype")
    if subtype == "tombstone":
        return _deleted(team, bot, event, before, stamp_in(changed, "ts"))
    if reason := _stranger(changed, bot, subtype):
        return Ignored(reason)
    edited = changed.get("edited")
    if not isinstance(edited, dict) or edited == before.get("edited"):
        return Ignored("not_an_edit")
    place, ts = _place(team, text_in(event, "channel"), changed), stamp_in(changed, "ts")
    user = text_in(changed, "user")
    text, mentioned = readable(optional(changed, "text"), bot)
    return InboundMessage(
        external_id=f"{team}:{place.channel}:{ts}:edit:{stamp_in(edited, 'ts')}",
        conversation_key=place.key,
        kind="edit",
        sender=sender_of(team, user, _name(changed.get("user_profile"))),
        text=text,
        address=place.address(user),
        message_ref=ts,
        private=place.direct,
        sent_at=float(stamp_in(edited, "ts")),
        chat=place.channel,
        thread=_in_thread(place, ts),
        addressed=place.direct or mentioned or _to_bot(changed, bot, ts),
        attachments=attachments(team, changed.get("files")),
    )


def _deleted(team: str, bot: str, event: Json, previous: Json, ts: str) -> Parsed:
    if reason := _stranger(previous, bot, optional(previous, "subtype")):
        return Ignored(reason)
    place = place_of(team, text_in(event, "channel"), ts, optional_stamp(previous, "thread_ts"))
    user = text_in(previous, "user")
    return InboundMessage(
        external_id=f"{team}:{place.channel}:{ts}:deleted",
        conversation_key=place.key,
        kind="deletion",
        sender=sender_of(team, user, _name(previous.get("user_profile"))),
        text="",
        address=place.address(user),
        message_ref=ts,
        private=place.direct,
        sent_at=float(optional_stamp(event, "event_ts") or ts),
        chat=place.channel,
        thread=_in_thread(place, ts),
        addressed=place.direct,
    )
