"""Slash commands and buttons, and what Discord wants to hear within three seconds.

Shapes: https://docs.discord.com/developers/interactions/receiving-and-responding
"""

from __future__ import annotations

import time
from typing import Any

from channels.discord.commands import COMMANDS, SlashCommand
from channels.discord.places import is_thread
from channels.discord.shapes import an_object, objects, sender, snowflake, snowflake_or_none, storable, whole, word
from channels.discord.snowflakes import seconds_of
from channels.discord.words import command_in
from kernel.types import Account, Ignored, InboundKind, InboundMessage, Json, Parsed

PING, COMMAND, COMPONENT = 1, 2, 3
PONG, DEFERRED, DEFERRED_UPDATE = 1, 5, 6
CHAT_INPUT, BUTTON = 1, 2
EPHEMERAL = 1 << 6
TOKEN_SECONDS = 15 * 60
_MARGIN_SECONDS = 10.0


def interaction(account: Account, data: Json) -> Parsed:
    """What an interaction means to us. Raises ValueError when it is not Discord's shape."""
    kind = whole(data, "type")
    if kind == PING:
        return Ignored("ping")
    if kind == COMMAND:
        return _command(data)
    return _press(data) if kind == COMPONENT else Ignored("other_interaction")


def immediate(account: Account, update: Json) -> Json | None:
    """A pong; for a command or a choice "is thinking…", in whose place the answer comes; for praise and blame nothing
    that shows, because `acknowledge` thanks the one who pressed."""
    data = update if "t" not in update else update["d"] if update["t"] == "INTERACTION_CREATE" else None
    if not isinstance(data, dict):
        return None
    kind = data.get("type")
    if kind == PING:
        return {"type": PONG}
    if kind == COMMAND:
        return {"type": DEFERRED, "data": {"flags": EPHEMERAL}} if _discreet(data) else {"type": DEFERRED}
    if kind == COMPONENT:
        return {"type": DEFERRED if _button(data).startswith("say:") else DEFERRED_UPDATE}
    return None


def live(address: Json) -> Json | None:
    """The interaction that may still be answered, or None."""
    given = address.get("interaction")
    return given if isinstance(given, dict) and time.time() < given["expires_at"] - _MARGIN_SECONDS else None


def _command(data: Json) -> Parsed:
    given = an_object(data, "data")
    command = COMMANDS.get(word(given, "name"))
    if command is None or given.get("type", CHAT_INPUT) != CHAT_INPUT:
        return Ignored("unknown_command")
    text = _argument(command, given)
    if command.question and text:
        return _told(data, "text", text)
    return _told(
        data, "command", "" if command.question else text, command="help" if command.question else command.name
    )


def _argument(command: SlashCommand, given: Json) -> str:
    wanted = command.option.name if command.option else None
    for option in objects(given, "options"):
        if option.get("name") == wanted and isinstance(option.get("value"), str):
            return storable(option["value"]).strip()
    return ""


def _press(data: Json) -> Parsed:
    kind, _, rest = _button(data).partition(":")
    if kind == "say" and (said := storable(rest).strip()):
        if found := command_in(said):
            return _told(data, "command", found[1], command=found[0], press=_press_of(data))
        return _told(data, "text", said, press=_press_of(data))
    verdict, _, turn = rest.partition(":")
    if kind != "fb" or verdict not in ("up", "down") or not turn:
        return Ignored("unknown_button")
    about = snowflake(an_object(data, "message"), "id")
    return _told(data, "feedback", "", detail=verdict, about=storable(turn), message_ref=about, press=_press_of(data))


def _button(data: Json) -> str:
    given = data.get("data")
    if not isinstance(given, dict) or given.get("component_type") != BUTTON:
        return ""
    return given["custom_id"] if isinstance(given.get("custom_id"), str) else ""


def _press_of(data: Json) -> str:
    """What `acknowledge` needs: application and token, which make the address to answer at."""
    return f"{snowflake(data, 'application_id')}/{_token(data)}"


def _told(data: Json, kind: InboundKind, text: str, **more: Any) -> InboundMessage:
    number, channel_id = snowflake(data, "id"), snowflake(data, "channel_id")
    guild_id = snowflake_or_none(data, "guild_id")
    member = data.get("member")
    user = an_object(member, "user") if isinstance(member, dict) else an_object(data, "user")
    channel = data.get("channel") if isinstance(data.get("channel"), dict) else {}
    assert isinstance(channel, dict)
    thread = is_thread(channel.get("type"))
    private = guild_id is None
    asked = seconds_of(number)
    answer: Json = {
        "id": number,
        "application_id": snowflake(data, "application_id"),
        "token": _token(data),
        "expires_at": asked + TOKEN_SECONDS,
    }
    if _discreet(data):
        answer["discreet"] = True
    return InboundMessage(
        external_id=number,
        conversation_key=channel_id,
        kind=kind,
        sender=sender(user, member if isinstance(member, dict) else None, word(data, "locale")),
        text=text,
        address={
            "channel_id": channel_id,
            "guild_id": guild_id,
            "reply_to": None,
            "private": private,
            "interaction": answer,
        },
        private=private,
        sent_at=asked,
        chat=(word(channel, "parent_id") if thread else "") or channel_id,
        thread=thread,
        **more,
    )


def _token(data: Json) -> str:
    """It becomes part of an address, so it must be one piece of it."""
    token = data.get("token")
    if not isinstance(token, str) or not token or not all(c.isascii() and (c.isalnum() or c in "-_.=") for c in token):
        raise ValueError("token must be an interaction's token")
    return token


def _discreet(data: Json) -> bool:
    """Whether the answer is for the one who asked alone; in direct messages that goes without saying."""
    given = data.get("data")
    command = COMMANDS.get(str(given.get("name"))) if isinstance(given, dict) else None
    return data.get("type") == COMMAND and data.get("guild_id") is not None and command is not None and command.discreet
