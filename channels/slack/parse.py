"""Slack's updates to inbound messages: plain dictionaries in, kernel values out, nothing looked up.

An update is what HTTP posts or a socket's envelope carries: an event's envelope, an interaction, a slash command.
https://docs.slack.dev/apis/events-api and https://docs.slack.dev/reference/interaction-payloads
"""

from __future__ import annotations

from channels.slack.interactions import OTHERS, actions, command, submission
from channels.slack.messages import message
from channels.slack.places import Place, bot_of, object_in, optional, place_of, sender_of, stamp_in, text_in
from kernel.types import Account, Ignored, InboundMessage, Json, Parsed

# Events that need no turn, named so that the counter's labels stay a closed set.
OTHER_EVENTS = (
    "assistant_thread_context_changed",
    "app_home_opened",
    "app_uninstalled",
    "tokens_revoked",
    "channel_archive",
    "channel_left",
    "channel_rename",
    "group_left",
    "im_created",
    "member_joined_channel",
    "member_left_channel",
    "link_shared",
    "file_shared",
    "user_change",
)
_PRAISE, _BLAME = ("+1", "thumbsup"), ("-1", "thumbsdown")


def parse(account: Account, update: Json) -> list[Parsed]:
    """What one update means to us. Raises ValueError when it is not Slack's shape."""
    if not isinstance(update, dict):
        raise ValueError("an update must be an object")
    kind = optional(update, "type")
    if kind == "event_callback":
        return [_event(account, update, object_in(update, "event"))]
    if kind == "block_actions":
        return actions(update)
    if kind == "view_submission":
        return [submission(update)]
    if "command" in update:
        team = text_in(update, "team_id")
        return [command(team, bot_of(account, team, update), update)]
    if kind == "url_verification" or "ssl_check" in update:
        return [Ignored("check")]
    return [Ignored(kind if kind in (*OTHERS, "app_rate_limited") else "unknown_update")]


def _event(account: Account, update: Json, event: Json) -> Parsed:
    team, kind = _team(update), text_in(event, "type")
    if kind in ("message", "app_mention"):
        return message(team, bot_of(account, team, update), event)
    if kind in ("reaction_added", "reaction_removed"):
        return _reaction(team, bot_of(account, team, update), event, taken_back=kind == "reaction_removed")
    if kind == "assistant_thread_started":
        return _opened(team, object_in(event, "assistant_thread"))
    return Ignored(kind if kind in OTHER_EVENTS else "unknown_event")


def _team(update: Json) -> str:
    """The team that gave us the right to hear the event. In a channel that teams share, `team_id` may be another's."""
    given = update.get("authorizations")
    first = given[0] if isinstance(given, list) and given else None
    own = first.get("team_id") if isinstance(first, dict) else None
    return own if isinstance(own, str) and own else text_in(update, "team_id")


def _reaction(team: str, bot: str, event: Json, *, taken_back: bool) -> Parsed:
    """A thumb on one of the bot's messages. Slack does not tell in which thread that stands: it is known by its ts."""
    item, user = object_in(event, "item"), text_in(event, "user")
    name = text_in(event, "reaction").partition("::")[0]
    if name not in (*_PRAISE, *_BLAME):
        return Ignored("other_reaction")
    if item.get("type") != "message" or not bot or event.get("item_user") != bot or user == bot:
        return Ignored("reaction_to_others")
    ts, event_ts = stamp_in(item, "ts"), stamp_in(event, "event_ts")
    place = place_of(team, text_in(item, "channel"), ts)
    detail = "none" if taken_back else "up" if name in _PRAISE else "down"
    return InboundMessage(
        external_id=f"{team}:{place.channel}:{ts}:reaction:{user}:{event_ts}",
        conversation_key=place.key,
        kind="feedback",
        sender=sender_of(team, user),
        text="",
        address=place.address(user),
        message_ref=ts,
        private=place.direct,
        detail=detail,
        sent_at=float(event_ts),
        chat=place.channel,
    )


def _opened(team: str, thread: Json) -> Parsed:
    """Somebody opened the assistant: it says hello, and `send` offers what one could ask."""
    channel, user, ts = text_in(thread, "channel_id"), text_in(thread, "user_id"), stamp_in(thread, "thread_ts")
    place = Place(team, channel, direct=True, thread=ts)
    return InboundMessage(
        external_id=f"{team}:{channel}:{ts}:opened",
        conversation_key=place.key,
        kind="command",
        sender=sender_of(team, user),
        text="",
        address=place.address(user, opened=True),
        command="start",
        sent_at=float(ts),
        chat=channel,
        thread=True,
    )
