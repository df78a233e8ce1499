"""Files out: a message with an attachment.

https://docs.discord.com/developers/reference#uploading-files. The nonce makes a repeat within minutes harmless; one
that comes later looks for the file in the channel's history first, by name and size.
"""

from __future__ import annotations

import re
import time

from channels.discord.client import DiscordClient, NoAnswer, NotConnected, Parts
from channels.discord.find import NONCE_SECONDS, since_then
from channels.discord.interactions import EPHEMERAL, live
from channels.discord.markup import escape
from channels.discord.send import nonce_of, outcome, webhook
from channels.discord.snowflakes import seconds_of
from kernel.types import Json, NotSent, OutgoingFile, Refused, SendOutcome, Sent, Unknown

SKEW_SECONDS = 2.0  # by which Discord's clock may be behind ours
_SHUT = ("no_access", "no_permission", "channel_not_found", "forbidden")
_ALIKE = re.compile(r"[^a-z0-9]+")


async def upload(client: DiscordClient, address: Json, file: OutgoingFile, key: str = "") -> SendOutcome:
    """The receipt of a Sent holds `channel_id` and `message_id`. To an interaction the file is a follow-up only where
    the bot may not write in the channel, or the answer is for one person's eyes: follow-ups know no nonce."""
    given = live(address)
    discreet = bool(address.get("interaction", {}).get("discreet"))
    if discreet and given is None:
        return Refused("interaction_expired", "the file was for one person's eyes, and their time is over")
    try:
        if file.tried and time.time() - file.tried >= NONCE_SECONDS and not discreet:
            earlier = await _earlier(client, address["channel_id"], file)
            if earlier is not None:
                return earlier
    except (NotConnected, NoAnswer) as error:
        return NotSent(str(error))
    try:
        if given is not None and discreet:
            return await _follow_up(client, given, file, EPHEMERAL)
        message = {**_message(file), "nonce": nonce_of(key), "enforce_nonce": True}
        answer = await client.call("POST", f"/channels/{address['channel_id']}/messages", Parts(message, file))
        sent = outcome(answer, plain=True)
        if given is not None and isinstance(sent, Refused) and sent.code in _SHUT:
            return await _follow_up(client, given, file, 0)
        return sent
    except NotConnected as error:
        return NotSent(str(error))
    except NoAnswer as error:
        return Unknown(str(error))


async def _follow_up(client: DiscordClient, given: Json, file: OutgoingFile, flags: int) -> SendOutcome:
    message = {**_message(file), "flags": flags}
    return outcome(await client.call("POST", webhook(given), Parts(message, file), as_bot=False), plain=True)


def _message(file: OutgoingFile) -> Json:
    words = {"content": escape(file.caption)} if file.caption else {}
    return {**words, "allowed_mentions": {"parse": []}, "attachments": [{"id": 0, "filename": file.name}]}


async def _earlier(client: DiscordClient, channel_id: str, file: OutgoingFile) -> Sent | NotSent | None:
    """The message of an earlier try; None when there is none, or nobody may look. Raises NotConnected and NoAnswer."""
    since = file.tried - SKEW_SECONDS
    async for message in since_then(client, channel_id, since):
        if isinstance(message, Unknown):
            return NotSent(f"an earlier send is not settled yet: {message.reason}")
        if seconds_of(message["id"]) >= since and _holds(message, client.bot_id, file):
            return Sent({"channel_id": channel_id, "message_id": str(message["id"])})
    return None


def _holds(message: Json, us: str, file: OutgoingFile) -> bool:
    author = message.get("author")
    if not isinstance(author, dict) or author.get("id") != us:
        return False
    return any(
        held.get("size") == len(file.data) and _alike(str(held.get("filename"))) == _alike(file.name)
        for held in message.get("attachments") or ()
    )


def _alike(name: str) -> str:
    """What Discord leaves of a name: it takes out, or puts underscores for, what does not fit into an address."""
    return _ALIKE.sub("", name.lower())
