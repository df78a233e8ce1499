"""Files out, in three steps: an address to upload to, the bytes, and the share, which alone anybody sees.

https://docs.slack.dev/messaging/working-with-files#upload. The first two steps may be repeated as they are. A share
carries no key of ours, so one that broke off is looked for by the file's name and size among the bot's own: that it is
not there is weak evidence, and a file that is not found is sent again.
"""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import orjson
from yarl import URL

from channels.slack.client import Answer, NoAnswer, NotConnected, SlackClient, exchange
from channels.slack.find import AGAIN_SECONDS, SETTLED_SECONDS, scan
from channels.slack.mrkdwn import escape
from channels.slack.send import outcome
from kernel.types import Json, NotSent, OutgoingFile, Refused, SendOutcome, Sent, Unknown

UPLOAD_SECONDS = 60.0
# Slack's clock may be that far behind ours. With more, the same report of a minute ago would be taken for this one.
SKEW_SECONDS = 2.0
_NOT_THERE = ("not_in_channel", "channel_not_found")


async def upload(client: SlackClient, address: Json, file: OutgoingFile, key: str = "") -> SendOutcome:
    """The receipt of a Sent holds team, channel and file. As with messages, the file goes to the person directly where
    the bot is not in the place."""
    try:
        sent = await _to(client, address, file)
        otherwise = address.get("otherwise")
        if isinstance(sent, Refused) and sent.code in _NOT_THERE and otherwise not in (None, address["channel"]):
            direct = await client.call(address["team"], "conversations.open", {"users": otherwise})
            if not direct.ok:
                return _before(direct, address["team"])
            opened = direct.data.get("channel")
            channel = opened.get("id") if isinstance(opened, dict) else None
            sent = await _to(client, {"team": address["team"], "channel": channel}, file) if channel else sent
        return sent
    except (NotConnected, NoAnswer) as error:  # before anything was shared
        return NotSent(str(error))


async def _to(client: SlackClient, address: Json, file: OutgoingFile) -> SendOutcome:
    """Raises NotConnected and NoAnswer as long as nothing was shared."""
    earlier = await _earlier(client, address, file) if file.tried else None
    handed = earlier or await _handed_over(client, address["team"], file)
    if not isinstance(handed, str):
        return handed
    try:
        return await _shared(client, address, handed, file)
    except NoAnswer as error:
        return Unknown(str(error))


async def _handed_over(client: SlackClient, team: str, file: OutgoingFile) -> str | NotSent | Refused:
    """The id of the file, which nobody sees yet. Raises NotConnected and NoAnswer."""
    asked = {"filename": file.name, "length": str(len(file.data))}
    answer = await client.call(team, "files.getUploadURLExternal", asked, form=True)
    if not answer.ok:
        return _before(answer, team)
    url, file_id = answer.data.get("upload_url"), answer.data.get("file_id")
    if not isinstance(url, str) or not isinstance(file_id, str):
        return NotSent("an answer without upload_url and file_id")
    headers = {"Content-Type": file.mime}
    status, _, _ = await exchange(
        client.session, "POST", URL(url, encoded=True), io.BytesIO(file.data), headers, UPLOAD_SECONDS
    )
    if status == 413:
        return Refused("too_large", f"{len(file.data)} bytes are more than Slack takes")
    return file_id if status == 200 else NotSent(f"HTTP {status} for the file's bytes")


async def _shared(client: SlackClient, address: Json, file_id: str, file: OutgoingFile) -> SendOutcome:
    """Raises NotConnected and NoAnswer."""
    shared = {
        "files": orjson.dumps([{"id": file_id, "title": file.name}]).decode(),
        "channel_id": str(address["channel"]),
        **({"thread_ts": str(address["thread_ts"])} if address.get("thread_ts") else {}),
        **({"initial_comment": escape(file.caption)} if file.caption else {}),
    }
    answer = await client.call(address["team"], "files.completeUploadExternal", shared, form=True)
    if answer.ok:
        return _receipt(address, file_id)
    return outcome(answer, address["team"], plain=True)


def _receipt(address: Json, file_id: str) -> Sent:
    return Sent({"team": address["team"], "channel": address["channel"], "file": file_id})


def _before(answer: Answer, team: str) -> NotSent | Refused:
    """What a refusal means of a call that shows nothing to anybody."""
    found = outcome(answer, team, plain=True)
    return found if isinstance(found, NotSent | Refused) else NotSent(answer.error)


async def _earlier(client: SlackClient, address: Json, file: OutgoingFile) -> Sent | NotSent | None:
    """The share that an earlier try made; None when two looks agree that there is none. Raises as `_look`."""
    seen = await _look(client, address, file)
    if seen is None and time.time() - file.tried < SETTLED_SECONDS:
        return NotSent("an earlier send is not settled yet")
    if seen is None:
        await asyncio.sleep(AGAIN_SECONDS)
        seen = await _look(client, address, file)
    return seen


async def _look(client: SlackClient, address: Json, file: OutgoingFile) -> Sent | NotSent | None:
    """Raises NotConnected and NoAnswer."""
    us = client.bot_user(address["team"])
    found = await scan(client, address, file.tried, lambda message: _ours(message, us, file) is not None)
    if isinstance(found, Answer):
        if found.error in _NOT_THERE:
            return None  # nor could it have been shared there
        return NotSent(f"an earlier send is not settled yet: {found.error}", found.retry_after)
    return None if found is None else _receipt(address, str(_ours(found, us, file)))


def _ours(message: Json, us: str, file: OutgoingFile) -> Any:
    """The id of the file, when it is this one that the message shares."""
    if float(message["ts"]) < file.tried - SKEW_SECONDS:
        return None
    for held in message.get("files") or ():
        if (held.get("user"), held.get("name"), held.get("size")) == (us, file.name, len(file.data)):
            return held.get("id")
    return None
