"""Looking for a message of ours in what Slack keeps: by the key in its metadata.

That it is not there is weak evidence, because Slack may show a message only a moment after it took it.
https://docs.slack.dev/reference/methods/conversations.history and conversations.replies
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from channels.slack.client import Answer, NoAnswer, NotConnected, SlackClient
from channels.slack.send import MARKER
from kernel.types import Absent, Finding, Json, Sent, Unit, Unknown

SETTLED_SECONDS = 5.0  # a send younger than that may still show up
AGAIN_SECONDS = 2.0  # between the two looks that have to agree
SKEW_SECONDS = 120.0  # by which Slack's clock may differ from ours
_PAGES, _PAGE = 10, 200


async def find(client: SlackClient, address: Json, unit: Unit, key: str, since: float) -> Finding:
    """Settles a send that broke off after `since`: Sent with its receipt; Absent when two looks agree; else Unknown."""
    try:
        seen = await _look(client, address, key, since)
        if seen is None and time.time() - since >= SETTLED_SECONDS:
            await asyncio.sleep(AGAIN_SECONDS)
            seen = await _look(client, address, key, since)
            if seen is None:
                return Absent()
    except (NotConnected, NoAnswer) as error:
        return Unknown(str(error))
    if isinstance(seen, Answer):
        return Unknown(seen.error)
    return Unknown("not there yet") if seen is None else Sent(seen)


async def _look(client: SlackClient, address: Json, key: str, since: float) -> Json | Answer | None:
    """The receipt of the message, None when it is not there, or the answer that refused to tell."""
    found = await scan(client, address, since, lambda message: key_of(message, MARKER) == key)
    if (
        isinstance(found, Answer)
        and found.error in ("channel_not_found", "not_in_channel")
        and address.get("otherwise")
    ):
        direct = await client.call(address["team"], "conversations.open", {"users": address["otherwise"]})
        if not direct.ok:
            return direct
        opened = {**address, "channel": direct.data["channel"]["id"]}
        found = await scan(client, opened, since, lambda message: key_of(message, MARKER) == key)
        return found if found is None or isinstance(found, Answer) else receipt_of(opened, found)
    return found if found is None or isinstance(found, Answer) else receipt_of(address, found)


def receipt_of(address: Json, message: Json) -> Json:
    return {"channel": address["channel"], "ts": message["ts"], "team": address["team"]}


def key_of(message: Json, kind: str) -> str:
    """The key that a message of ours carries; empty for others."""
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != kind:
        return ""
    payload = metadata.get("event_payload")
    return str(payload.get("key") or "") if isinstance(payload, dict) else ""


async def scan(
    client: SlackClient, address: Json, since: float, wanted: Callable[[Json], bool]
) -> Json | Answer | None:
    """The first message in the address's thread or channel, written after `since`, that is `wanted`; None when there is
    none, or the answer by which Slack refused. Raises NotConnected and NoAnswer."""
    async for page in _pages(client, address, since):
        if not page.ok:
            return page
        for message in page.data.get("messages") or ():
            if wanted(message):
                found: Json = message
                return found
    return None


async def _pages(client: SlackClient, address: Json, since: float) -> AsyncIterator[Answer]:
    method = "conversations.replies" if address.get("thread_ts") else "conversations.history"
    asked = {
        "channel": str(address["channel"]),
        "oldest": f"{max(0.0, since - SKEW_SECONDS):.6f}",
        "limit": str(_PAGE),
        "include_all_metadata": "true",
        **({"ts": str(address["thread_ts"])} if address.get("thread_ts") else {}),
    }
    for _ in range(_PAGES):
        page = await client.call(address["team"], method, asked, form=True)
        yield page
        cursor = (page.data.get("response_metadata") or {}).get("next_cursor")
        if not page.ok or not cursor:
            return
        asked["cursor"] = str(cursor)
    yield Answer(200, "too_many_messages")
