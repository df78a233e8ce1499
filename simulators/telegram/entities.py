"""From what a bot or a person wrote to what is shown: plain text and entities in Bot API form."""

import re
from collections.abc import Iterable
from typing import Any

from simulators.telegram.errors import bad_request
from simulators.telegram.markup_html import parse_html
from simulators.telegram.markup_markdown import parse_markdown_v2
from simulators.telegram.text import MarkupError, u16len, u16slice

Entity = dict[str, Any]

# Order among entities of the same span: what encloses comes first.
RANK = {"blockquote": 0, "expandable_blockquote": 0, "pre": 10, "code": 20, "text_link": 49, "text_mention": 49,
        "bold": 90, "italic": 91, "underline": 92, "strikethrough": 93, "spoiler": 94, "custom_emoji": 99}  # fmt: skip
STYLES = ("bold", "italic", "underline", "strikethrough", "spoiler")
OPAQUE = frozenset({"pre", "code", "text_link", "text_mention", "custom_emoji"})
ALLOWED = frozenset(RANK) | {"mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number"}
DROPPED_CONTROLS = {c: " " for c in range(32) if chr(c) not in "\n\r"} | {13: None}

FOUND = re.compile(
    r"(?P<url>(?<![\w@.])(?:https?://[^\s<>\"']+|(?:[a-zA-Z0-9](?:[\w\-]*\w)?\.)+"
    r"(?:com|org|net|io|dev|app|ai|me|co|info|edu|gov|ru|de|uk|fr|es|it|nl|eu|us|in|br|cn|jp)\b"
    r"(?!@)(?::\d+)?(?:[/?#][^\s<>\"']*)?))"
    r"|(?P<email>(?<![\w.])[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)+)"
    r"|(?P<mention>(?<![\w@/])@[A-Za-z0-9_]{3,32}(?!\w))"
    r"|(?P<hashtag>(?<![\w#/])\#(?=\w*[^\W\d])\w{1,256})"
    r"|(?P<bot_command>(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/]))"
)
HINTS = re.compile(r"[@#/.]")


def format_text(text: str, parse_mode: str, given: Any) -> tuple[str, list[Entity]]:
    """Text and entities as shown. Raises ApiError in the server's words; lengths are for the caller to judge."""
    mode = parse_mode.lower()
    text = text.translate(DROPPED_CONTROLS)
    try:
        if mode == "html":
            plain, entities = parse_html(text)
        elif mode == "markdownv2":
            plain, entities = parse_markdown_v2(text)
        elif mode in ("", "none"):
            plain, entities = text, _given(given, text)
        else:
            raise bad_request("unsupported parse_mode")
    except MarkupError as error:
        raise bad_request(f"can't parse entities: {error}") from None
    return tidy(plain, entities)


def detect(text: str, explicit: Iterable[Entity] = ()) -> list[Entity]:
    """Mentions, hashtags, commands, links and addresses in plain text, outside of what is already marked."""
    if not HINTS.search(text):
        return []
    taken = [(e["offset"], e["offset"] + e["length"]) for e in explicit if e["type"] in OPAQUE]
    found: list[Entity] = []
    for match in FOUND.finditer(text):
        kind = match.lastgroup or ""
        piece = match[0].rstrip(".,;:!?)]}") if kind == "url" else match[0]
        start = u16len(text[: match.start()])
        end = start + u16len(piece)
        if not any(start < stop and begin < end for begin, stop in taken):
            found.append({"type": kind, "offset": start, "length": end - start})
    return found


def tidy(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Trim blank edges (in front only up to the first entity), merge and nest entities, add the detected ones."""
    plain = text.rstrip()
    first = min((e["offset"] for e in entities), default=u16len(plain))
    cut = min(len(plain) - len(plain.lstrip(" \n")), first)
    plain = plain[cut:]
    total = u16len(plain)
    shifted = []
    for entity in entities:
        start = max(0, entity["offset"] - cut)
        end = min(total, entity["offset"] + entity["length"] - cut)
        if end > start:
            shifted.append(entity | {"offset": start, "length": end - start})
    nested = _nest(shifted)
    result = nested + detect(plain, nested)
    result.sort(key=lambda e: (e["offset"], -e["length"], RANK.get(e["type"], 50)))
    return plain, result


def _nest(entities: list[Entity]) -> list[Entity]:
    """Code holds nothing else; touching pieces of one style are one piece."""
    if not entities:
        return []
    pres = [e for e in entities if e["type"] == "pre"]
    codes = [e for e in entities if e["type"] == "code"]
    blocks = [_with_language(e, codes) for e in pres]
    blocks += [_without_language(e, pres) for e in codes if not any(_inside(e, pre) for pre in pres)]
    solid = [(e["offset"], e["offset"] + e["length"]) for e in blocks]
    others = [e for e in entities if e["type"] not in ("pre", "code", *STYLES)]
    links = [e for e in others if "blockquote" in e["type"] or not any(_inside(e, b) for b in blocks)]
    return blocks + links + [piece for style in STYLES for piece in _style(style, entities, solid)]


def _with_language(pre: Entity, codes: list[Entity]) -> Entity:
    for code in codes:
        if "language" in code and _same(pre, code):
            return pre | {"language": code["language"]}
    return pre


def _without_language(code: Entity, pres: list[Entity]) -> Entity:
    """`code` with a language is a `pre` only together with one; alone it is plain code."""
    return {k: v for k, v in code.items() if k != "language"}


def _style(style: str, entities: list[Entity], solid: list[tuple[int, int]]) -> list[Entity]:
    pieces: list[list[int]] = []
    spans = sorted((e["offset"], e["offset"] + e["length"]) for e in entities if e["type"] == style)
    for start, end in spans:
        if pieces and start <= pieces[-1][1]:
            pieces[-1][1] = max(pieces[-1][1], end)
        else:
            pieces.append([start, end])
    for begin, stop in solid:
        cut = [part for start, end in pieces for part in ([start, min(end, begin)], [max(start, stop), end])]
        pieces = [part for part in cut if part[0] < part[1]]
    return [{"type": style, "offset": start, "length": end - start} for start, end in pieces]


def _inside(inner: Entity, outer: Entity) -> bool:
    starts = outer["offset"] <= inner["offset"]
    return bool(starts and inner["offset"] + inner["length"] <= outer["offset"] + outer["length"])


def _same(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] == other["offset"] and one["length"] == other["length"])


def _given(value: Any, text: str) -> list[Entity]:
    """The caller's own entities, checked; kinds that Telegram finds by itself are left to it."""
    if not value:
        return []
    if not isinstance(value, list):
        raise bad_request("can't parse MessageEntity: expected an Array")
    result: list[Entity] = []
    for entity in value:
        if not isinstance(entity, dict):
            raise bad_request("can't parse MessageEntity: expected an Object")
        offset, length = entity.get("offset"), entity.get("length")
        if not isinstance(offset, int) or not isinstance(length, int):
            raise bad_request('can\'t parse MessageEntity: Field "offset" must be of type Number')
        if entity.get("type") in RANK and length > 0 and 0 <= offset < u16len(text):
            result.append({k: v for k, v in entity.items() if v is not None})
    return result


def span_text(text: str, entity: Entity) -> str:
    """The part of a text an entity covers."""
    return u16slice(text, entity["offset"], entity["offset"] + entity["length"])
