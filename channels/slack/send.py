"""One message out or changed, and what became of it. Every failure is a value.

https://docs.slack.dev/reference/methods/chat.postMessage and chat.update. Each message carries the key of its unit in
its metadata, by which a send that broke off is found (`channels.slack.find`).
"""

from __future__ import annotations

from channels.slack.assistant import furnish
from channels.slack.client import Answer, NoAnswer, NotConnected, SlackClient
from channels.slack.mrkdwn import escape
from kernel.platform import Pace
from kernel.types import Json, NotSent, Refused, SendOutcome, Sent, Unit, Unknown

MARKER = "parley_unit"

_FORMATTING = frozenset(
    (
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "msg_blocks_too_long",
        "msg_too_long",
        "block_mismatch",
        "invalid_arguments",
    )
)
_PUT_OUT = frozenset(
    (
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "cannot_dm_bot",
        "messages_tab_disabled",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "restricted_action_non_threadable_channel",
    )
)
# Of these Slack says that parts of the work may have been done.
MAYBE_DONE = frozenset(("internal_error", "fatal_error"))
_LATER = frozenset(("ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"))
_NOT_THERE = ("not_in_channel", "channel_not_found")


async def send(client: SlackClient, address: Json, unit: Unit, plain: bool, key: str = "") -> SendOutcome:
    """Posts one unit to `address`, formatted or `plain`. The receipt of a Sent holds channel, ts and team.

    Where a slash command was given in a place that the bot is not in, the reply goes to the person directly.
    """
    message = {"channel": address["channel"], **content(unit, plain), **marked(key)}
    if address.get("thread_ts"):
        message["thread_ts"] = address["thread_ts"]
    outcome = await _post(client, address["team"], message, plain=plain)
    otherwise = address.get("otherwise")
    if isinstance(outcome, Refused) and outcome.code in _NOT_THERE and otherwise not in (None, address["channel"]):
        outcome = await _post(client, address["team"], {**message, "channel": otherwise}, plain=plain)
    if isinstance(outcome, Sent):
        await furnish(client, address)
    return outcome


def content(unit: Unit, plain: bool) -> Json:
    return {"text": escape(unit.plain), "mrkdwn": False} if plain else dict(unit.payload)


def marked(key: str, kind: str = MARKER) -> Json:
    return {"metadata": {"event_type": kind, "event_payload": {"key": key}}} if key else {}


async def _post(client: SlackClient, team: str, message: Json, *, plain: bool) -> SendOutcome:
    try:
        answer = await client.call(team, "chat.postMessage", message)
    except NotConnected as error:
        return NotSent(str(error))
    except NoAnswer as error:
        return Unknown(str(error))
    return outcome(answer, team, plain=plain)


def outcome(answer: Answer, team: str, *, plain: bool) -> SendOutcome:
    """What an answer to chat.postMessage or chat.update means. A refused `plain` one is never asked to be plainer."""
    error = answer.error
    if answer.ok:
        channel, ts = answer.data.get("channel"), answer.data.get("ts")
        if not isinstance(channel, str) or not isinstance(ts, str):
            return Unknown("an answer without channel and ts")
        return Sent({"channel": channel, "ts": ts, "team": team})
    if error in _LATER:
        return NotSent(error, answer.retry_after, "chat")
    if error in MAYBE_DONE or answer.status >= 500:
        return Unknown(error)
    return Refused(error, error, plainer=not plain and error in _FORMATTING, blocked=error in _PUT_OUT)


async def edit(
    client: SlackClient, address: Json, receipt: Json, unit: Unit, plain: bool, key: str = ""
) -> SendOutcome:
    """Makes `unit` of the message that `receipt` names; a stream is stopped first. May be repeated."""
    team, channel, ts = address["team"], receipt.get("channel"), receipt.get("ts")
    if not channel or not ts:
        return Refused("message_not_found", "the receipt names no message")
    try:
        if receipt.get("mode") == "stream":
            stopped = await client.call(team, "chat.stopStream", {"channel": channel, "ts": ts})
            if stopped.error in _LATER:  # any other refusal means that it has stopped, or is gone
                return NotSent(stopped.error, stopped.retry_after, "chat")
        changed = {"channel": channel, "ts": ts, **_changed(unit, plain), **marked(key)}
        answer = await client.call(team, "chat.update", changed)
    except NotConnected as error:
        return NotSent(str(error))
    except NoAnswer as error:
        return Unknown(str(error))
    done = outcome(answer, team, plain=plain)
    if isinstance(done, Sent):
        await furnish(client, address)
    return done


def _changed(unit: Unit, plain: bool) -> Json:
    """Without blocks of its own a message would keep those that it has."""
    shown = content(unit, plain)
    return {"text": shown["text"], "blocks": shown.get("blocks", [])}


def pace(address: Json) -> Pace:
    """About a message a second in a channel, with short bursts, and several hundred a minute in a workspace.

    Source: https://docs.slack.dev/apis/web-api/rate-limits
    """
    return Pace(bot=5.0, bot_burst=50, chat=1.0, chat_burst=3)
