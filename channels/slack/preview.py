"""Showing an answer while it is made: as a stream in threads, elsewhere as a message that is changed again and again.

A stream can only grow. So what may still change, the word under way and the marks that close it, is held back; and when
what was shown turns out otherwise after all, the stream is stopped and the message is changed from then on.
https://docs.slack.dev/reference/methods/chat.startStream
"""

from __future__ import annotations

import asyncio
import re
import time
from zlib import crc32

from channels.slack.client import Answer, NoAnswer, NotConnected, SlackClient
from channels.slack.find import AGAIN_SECONDS, key_of, receipt_of, scan
from channels.slack.mrkdwn import escape
from channels.slack.render import LIMIT, render
from channels.slack.send import MAYBE_DONE, marked
from kernel.types import Json, Preview, Reply

MARKER = "parley_preview"
STREAM_FLOOR = 1.0  # seconds; chat.appendStream allows 100 calls a minute and workspace
UPDATE_FLOOR = 1.5  # chat.update allows 50
_NO_STREAM = ("unknown_method", "channel_type_not_supported", "missing_scope", "method_not_supported_for_channel_type")
_HUSHED = 600.0
_CLOSING = re.compile(r"(?:\n(?:```|~~~)[`~]*|[\s*_~`])*\Z")


async def show(client: SlackClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    """Shows `markdown` as far as it can be sure of it. `state` holds channel, ts, team, mode ("stream" or "update"),
    streamed (characters) and check (their checksum)."""
    began = time.time()
    try:
        if not state:
            return await _begin(client, address, markdown, key)
        if state["mode"] == "stream":
            return await _grow(client, address, state, markdown, key)
        return await _change(client, address, state, markdown, key)
    except NotConnected:
        return state
    except NoAnswer:
        return state or await _lost(client, address, key, began)


async def _begin(client: SlackClient, address: Json, markdown: str, key: str) -> Json | None:
    """The first sight of an answer; {} when it is too early for one."""
    team, text = address["team"], sure_of(markdown)
    if address.get("thread_ts") and not client.hushed(f"stream:{team}"):
        if not text:
            return {}
        started = _certain(await client.call(team, "chat.startStream", _start(address, text)))
        if started.ok:
            return _state(address, started, "stream", text)
        if started.retry_after is not None:
            return {}
        if started.error in _NO_STREAM:
            client.hush(f"stream:{team}", _HUSHED)
    message = {"channel": address["channel"], **_look(markdown), **marked(key, MARKER)}
    if address.get("thread_ts"):
        message["thread_ts"] = address["thread_ts"]
    posted = _certain(await client.call(team, "chat.postMessage", message))
    if posted.ok:
        return _state(address, posted, "update", markdown)
    return {} if posted.retry_after is not None else None


def _certain(answer: Answer) -> Answer:
    """Raises NoAnswer where Slack itself does not know what it has done."""
    if answer.error in MAYBE_DONE or answer.status >= 500:
        raise NoAnswer(answer.error)
    return answer


def _start(address: Json, text: str) -> Json:
    asked = {"channel": address["channel"], "thread_ts": address["thread_ts"]}
    if not address.get("direct"):
        asked |= {"recipient_team_id": address["team"], "recipient_user_id": address["user"]}
    return {**asked, "markdown_text": escape_markdown(text)}


def _state(address: Json, answer: Answer, mode: str, shown: str) -> Json | None:
    if not isinstance(answer.data.get("ts"), str):
        return None
    place = {"channel": answer.data.get("channel") or address["channel"], "ts": answer.data["ts"]}
    return {**place, "team": address["team"], "mode": mode, **_shown(shown)}


def _shown(text: str) -> Json:
    return {"streamed": len(text), "check": crc32(text.encode())}


async def _grow(client: SlackClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    text, told = sure_of(markdown), int(state["streamed"])
    if crc32(text[:told].encode()) != state["check"] or len(text) < told:
        if len(text) < told and crc32(markdown[:told].encode()) == state["check"]:
            return state  # nothing new to be sure of
        return await _stop(client, address, state, markdown, key)
    if len(text) == told or client.hushed(f"append:{state['team']}"):
        return state
    more = {"channel": state["channel"], "ts": state["ts"], "markdown_text": escape_markdown(text[told:])}
    grown = await client.call(state["team"], "chat.appendStream", more)
    if grown.ok:
        return {**state, **_shown(text)}
    if grown.retry_after is not None:
        client.hush(f"append:{state['team']}", grown.retry_after)
        return state
    if grown.error in ("message_not_in_streaming_state", "stream_expired"):
        return await _change(client, address, {**state, "mode": "update"}, markdown, key)
    return state


async def _stop(client: SlackClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    """The words that were shown are not what the answer says: from here on the message is changed."""
    stopped = await client.call(state["team"], "chat.stopStream", {"channel": state["channel"], "ts": state["ts"]})
    if stopped.retry_after is not None:
        return state
    return await _change(client, address, {**state, "mode": "update"}, markdown, key)


async def _change(client: SlackClient, address: Json, state: Json, markdown: str, key: str) -> Json | None:
    if client.hushed(f"update:{state['team']}"):
        return state
    shown = _look(markdown)
    changed = {"channel": state["channel"], "ts": state["ts"], "text": shown["text"], "blocks": shown["blocks"]}
    answer = await client.call(state["team"], "chat.update", {**changed, **marked(key, MARKER)})
    if answer.retry_after is not None:
        client.hush(f"update:{state['team']}", answer.retry_after)
    return {**state, **_shown(markdown)} if answer.ok else state


def _look(markdown: str) -> Json:
    """As the answer will look, as far as it fills one message."""
    return dict(render(Reply(markdown), {})[0].payload)


def sure_of(markdown: str) -> str:
    """As much of the text as later words will not change: whole words, without the marks that close what is open, and
    no more than one message will show."""
    text = markdown[: LIMIT - 1]
    closing = _CLOSING.search(text) if len(text) == len(markdown) else None
    if closing:
        text = text[: closing.start()]
    end = max(text.rfind(" "), text.rfind("\n")) + 1
    text = text[:end]
    opened = text.rfind("[")
    return text[:opened] if opened >= 0 and "](" not in text[opened:] and "]" not in text[opened:] else text


def escape_markdown(text: str) -> str:
    """Nothing in it calls people, and `<` shows as it is; quotes keep their mark."""
    return escape(text).replace("&gt;", ">")


async def _lost(client: SlackClient, address: Json, key: str, began: float) -> Json | None:
    """The first message may have come to be without our knowing: better none than a second one."""
    found = await recover(client, address, key, began)
    if found is None:
        await asyncio.sleep(AGAIN_SECONDS)
        found = await recover(client, address, key, began)
    return found


async def recover(client: SlackClient, address: Json, key: str, since: float) -> Json | None:
    """The preview of a turn that somebody else began. A stream cannot be marked, so in a thread it is our message
    without a mark: whatever else we say there has one."""
    bot = client.bot_user(address["team"])

    def ours(message: Json) -> bool:
        if key_of(message, MARKER) == key:
            return True
        mine = bool(bot) and message.get("user") == bot and float(message.get("ts") or 0) >= since - 5.0
        return mine and bool(address.get("thread_ts")) and not message.get("metadata") and not message.get("subtype")

    try:
        found = await scan(client, address, since, ours)
    except (NotConnected, NoAnswer):
        return None
    if found is None or isinstance(found, Answer):
        return None
    mode = "update" if found.get("metadata") else "stream"
    return {**receipt_of(address, found), "mode": mode, "streamed": 0, "check": -1}


def floor(address: Json) -> float:
    return STREAM_FLOOR if address.get("thread_ts") else UPDATE_FLOOR


PREVIEW = Preview(show, recover, floor, lasting=True)
