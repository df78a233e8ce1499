"""Is a message meant for our bot? Mentions, commands and replies, read from Telegram's message entities.

Source: https://core.telegram.org/bots/api#messageentity. Offsets and lengths count UTF-16 code units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kernel.types import Json


class Addressed(NamedTuple):
    """to_us   whether a group message is meant for the bot; `reason` says why not
    text     the words without our mention
    command  lower-case name of a leading command, `argument` what follows it
    """

    to_us: bool
    text: str
    command: str = ""
    argument: str = ""
    reason: str = "not_addressed"


def address_of(message: Json, text: str, profile: Json) -> Addressed:
    """Reads the entities of `message` against the bot's own profile (`id` and `username`).

    Raises ValueError when the entities are not Telegram's shape.
    """
    replied = _is_reply_to(message.get("reply_to_message"), profile)
    found = _telling(message.get("entities" if "text" in message else "caption_entities"))
    if not found:
        return Addressed(replied, text.strip())

    username = str(profile.get("username") or "").lower()
    mentions: list[tuple[int, int]] = []
    wide = text if text.isascii() else text.encode("utf-16-le", "surrogatepass")
    for kind, start, end, entity in found:
        if kind == "bot_command" and start == 0:
            name, _, target = _slice(wide, 1, end).partition("@")
            if name and _slice(wide, 0, 1) == "/":
                for_us = not target or target.lower() == username
                argument = _slice(wide, end, None).strip()
                return Addressed(for_us, text.strip(), name.lower(), argument, "command_for_another_bot")
        elif (kind == "mention" and username and _slice(wide, start, end).lower() == "@" + username) or (
            kind == "text_mention" and _is_bot(entity.get("user"), profile)
        ):
            mentions.append((start, end))
    return Addressed(replied or bool(mentions), _without(wide, mentions))


def _telling(found: Any) -> list[tuple[str, int, int, Json]]:
    """Kind, start, end and entity of those that may speak to us; formatting and links do not."""
    telling: list[tuple[str, int, int, Json]] = []
    if found is None:
        return telling
    if type(found) is not list:
        raise ValueError("entities must be a list")
    for entity in found:
        if type(entity) is not dict:
            raise ValueError("an entity must be an object")
        kind = entity.get("type")
        if kind not in ("mention", "bot_command", "text_mention"):
            continue
        start, length = entity.get("offset"), entity.get("length")
        if type(start) is not int or type(length) is not int or start < 0 or length < 0:
            raise ValueError("an entity needs an offset and a length")
        telling.append((kind, start, start + length, entity))
    return telling


def _is_reply_to(replied: Any, profile: Json) -> bool:
    # In a topic every message "replies" to the notice that opened it, which may be the bot's own.
    return isinstance(replied, dict) and "forum_topic_created" not in replied and _is_bot(replied.get("from"), profile)


def _is_bot(user: Any, profile: Json) -> bool:
    return isinstance(user, dict) and type(user.get("id")) is int and user["id"] == profile.get("id")


def _slice(wide: str | bytes, start: int, end: int | None) -> str:
    if isinstance(wide, str):
        return wide[start:end]
    return wide[2 * start : None if end is None else 2 * end].decode("utf-16-le", "surrogatepass")


def _without(wide: str | bytes, mentions: list[tuple[int, int]]) -> str:
    """The text with the mentions cut out and the space that each leaves behind closed."""
    kept, position = "", 0
    for start, end in sorted(mentions):
        before = kept + _slice(wide, position, start)
        spaced = not before or before[-1].isspace()
        position = max(position, end)
        after = _slice(wide, position, position + 1)
        kept = before
        if spaced and after == " ":
            position += 1
    rest = _slice(wide, position, None)
    return (kept + rest if kept.strip() else rest.lstrip(" ,:")).strip()
