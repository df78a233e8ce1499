"""Settling a send that broke off: is the message there?

For some minutes Discord remembers a nonce and answers a repeat with the message it made, so then nothing has to be
looked for. Later the channel's history tells; an application may always read what it wrote itself. Where it may not
read the history at all, nobody can tell, and the unit is sent again: one message twice at worst, and none lost.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from channels.discord.client import DiscordClient, NoAnswer, NotConnected
from channels.discord.interactions import live
from channels.discord.send import is_loading, original
from channels.discord.snowflakes import first_at
from kernel.types import Absent, Finding, Json, Sent, Unit, Unknown

NONCE_SECONDS = 120.0
PAGE = 100
_PAGES = 30
_SKEW_SECONDS = 10.0
_PATIENCE = 5.0
_UNREADABLE = (403, 404)


async def find(client: DiscordClient, address: Json, unit: Unit, key: str, since: float) -> Finding:
    """Sent with its receipt, Absent when a repeat can do no harm, Unknown when it could not be asked just now."""
    try:
        given = live(address)
        if given is not None:
            shown = await original(client, given)
            if shown.ok and not is_loading(shown.data) and _is(shown.data, unit):
                return Sent({**_receipt(shown.data), "webhook": "@original"})
            if shown.ok and is_loading(shown.data):
                return Absent()  # nothing was said yet, and saying it twice is saying it once
        elif time.time() - since < NONCE_SECONDS:
            return Absent()
        return await _in_history(client, address["channel_id"], unit, since)
    except (NotConnected, NoAnswer) as error:
        return Unknown(str(error))


async def _in_history(client: DiscordClient, channel_id: str, unit: Unit, since: float) -> Finding:
    async for message in since_then(client, channel_id, since - _SKEW_SECONDS):
        if isinstance(message, Unknown):
            return message
        if _by(message) == client.bot_id and _is(message, unit):
            return Sent(_receipt(message))
    return Absent()


async def since_then(client: DiscordClient, channel_id: str, since: float) -> AsyncIterator[Json | Unknown]:
    """A channel's messages, oldest first; nothing where its history may not be read, Unknown when that broke off.

    Raises NotConnected and NoAnswer. Source: https://docs.discord.com/developers/resources/message#get-channel-messages
    """
    after = first_at(since)
    for _ in range(_PAGES):
        path = f"/channels/{channel_id}/messages?after={after}&limit={PAGE}"
        answer = await client.call("GET", path, patience=_PATIENCE)
        if answer.status in _UNREADABLE:
            return
        if not answer.ok or not isinstance(answer.data, list):
            yield Unknown(answer.reason)
            return
        messages = sorted(answer.data, key=lambda message: int(message["id"]))
        for message in messages:
            yield message
        if len(messages) < PAGE:
            return
        after = messages[-1]["id"]


def _by(message: Json) -> Any:
    author = message.get("author")
    return author.get("id") if isinstance(author, dict) else None


def _is(message: Json, unit: Unit) -> bool:
    """Whether a message shows this unit: the same words, answering the same message, over the same buttons."""
    said = str(message.get("content") or "").strip()
    if said == str(unit.payload.get("content") or "").strip():
        return _buttons(message) == _buttons(unit.payload) and _answers_same(message, unit.payload)
    return bool(said) and said == unit.plain.strip()


def _answers_same(message: Json, payload: Json) -> bool:
    """An interaction's answer, and one whose question is gone, refer to nothing."""
    wanted, found = payload.get("message_reference"), message.get("message_reference")
    return not wanted or not found or wanted["message_id"] == found.get("message_id")


def _buttons(message: Json) -> list[Any]:
    return [
        button.get("custom_id") for row in message.get("components") or () for button in row.get("components") or ()
    ]


def _receipt(message: Json) -> Json:
    return {"channel_id": str(message.get("channel_id") or ""), "message_id": str(message["id"])}
