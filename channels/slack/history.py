"""What was said while nobody listened, as the envelopes that `parse` takes. slack_sdk reads it, and waits out limits.

https://docs.slack.dev/reference/methods/conversations.history. A thread's replies are not part of its channel's
history, so threads that were alive in the last days are looked into as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from channels.slack.client import SlackClient
from channels.slack.install import TOKEN_IS_OUT
from kernel import log
from kernel.types import Account, Disconnected, Json

_log = log.get("slack.history")

THREAD_SECONDS = 3 * 86_400.0  # how far back a thread may have begun
_KINDS = ("public_channel", "private_channel", "mpim", "im")
_PAGE = 200
_MOST_PAGES = 25  # of one channel
_CLOSED = ("not_in_channel", "channel_not_found", "missing_scope", "thread_not_found", "is_archived")


async def history(
    client: SlackClient, account: Account, since: float, places: Sequence[Json] = ()
) -> AsyncIterator[Json]:
    """Messages and edits since then, oldest first, of every channel, group and direct conversation that the bot is in.

    Raises Disconnected: refused when no token is good any more, away when Slack does not answer.
    """
    from slack_sdk.errors import SlackClientError

    found: list[tuple[float, Json]] = []
    refused: dict[str, str] = {}
    for team in client.tokens:
        try:
            found += [one async for one in _of_team(client, team, since)]
        except SlackClientError as error:
            refused[team] = code = _code(error)
            if code not in TOKEN_IS_OUT:
                raise Disconnected("away", code) from None
            _log.warning("slack.history.refused", account=account.account_id, team=team, reason=code)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Disconnected("away", type(error).__name__) from None
    if refused and len(refused) == len(client.tokens):
        raise Disconnected("refused", ", ".join(sorted(set(refused.values()))))
    for _, envelope in sorted(found, key=lambda one: one[0]):
        yield envelope


def _code(error: Exception) -> str:
    data = getattr(getattr(error, "response", None), "data", None)
    return str(data.get("error") or "unknown") if isinstance(data, dict) else type(error).__name__


async def _of_team(client: SlackClient, team: str, since: float) -> AsyncIterator[tuple[float, Json]]:
    """A kind of channel, or a channel, that is closed to the bot does not hide the others."""
    from slack_sdk.errors import SlackClientError

    for kind in _KINDS:
        try:
            listed = _pages(client.web(team).users_conversations, "channels", types=kind, exclude_archived=True)
            channels = [channel async for channel in listed]
        except SlackClientError as error:
            _pass_over(error, team, kind)
            continue
        for channel in channels:
            place = {"channel": channel["id"], "channel_type": _kind(channel)}
            try:
                async for at, event in _of_channel(client, team, channel["id"], since):
                    yield at, _envelope(client, team, {**event, **place})
            except SlackClientError as error:
                _pass_over(error, team, channel["id"])


def _pass_over(error: Exception, team: str, what: str) -> None:
    code = _code(error)
    if code not in _CLOSED:
        raise error
    _log.warning("slack.history.passed_over", team=team, what=what, reason=code)


async def _of_channel(client: SlackClient, team: str, channel: str, since: float) -> AsyncIterator[tuple[float, Json]]:
    web = client.web(team)
    oldest = f"{max(0.0, since - THREAD_SECONDS):.6f}"
    async for message in _pages(web.conversations_history, "messages", channel=channel, oldest=oldest):
        for told in _told(message, since):
            yield told
        if float(message.get("latest_reply") or 0) > since:
            thread = {"channel": channel, "ts": message["ts"], "oldest": f"{since:.6f}"}
            async for reply in _pages(web.conversations_replies, "messages", **thread):
                if reply["ts"] != message["ts"] and reply.get("subtype") != "thread_broadcast":
                    for told in _told({"parent_user_id": message.get("user"), **reply}, since):
                        yield told


def _told(message: Json, since: float) -> list[tuple[float, Json]]:
    """A message's event when it is new; its edit's when only that is."""
    if float(message["ts"]) > since:
        return [(float(message["ts"]), {**message, "type": "message", "event_ts": message["ts"]})]
    edited = message.get("edited")
    if isinstance(edited, dict) and float(edited.get("ts") or 0) > since:
        event = {"type": "message", "subtype": "message_changed", "message": message, "ts": edited["ts"]}
        return [(float(edited["ts"]), {**event, "event_ts": edited["ts"]})]
    return []


def _kind(channel: Json) -> str:
    for flag, kind in (("is_im", "im"), ("is_mpim", "mpim"), ("is_private", "group")):
        if channel.get(flag) is True:
            return kind
    return "channel"


def _envelope(client: SlackClient, team: str, event: Json) -> Json:
    bot = {"team_id": team, "user_id": client.bot_user(team), "is_bot": True}
    return {"type": "event_callback", "team_id": team, "event": event, "authorizations": [bot]}


async def _pages(method: Any, items: str, **asked: Any) -> AsyncIterator[Json]:
    """The items of a listing, page by page. slack_sdk's own iteration goes on without an end."""
    cursor = ""
    for _ in range(_MOST_PAGES):
        page = await method(limit=_PAGE, cursor=cursor or None, **asked)
        for item in page.get(items) or ():
            yield item
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return
    _log.warning("slack.history.cut", channel=asked.get("channel"), pages=_MOST_PAGES)
