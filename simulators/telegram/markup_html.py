"""The Bot API's HTML mode. Accepts and refuses what the official server does, in its words, with its byte offsets.

Source: https://core.telegram.org/bots/api#html-style, and the vectors of TDLib's own test suite for `parse_html`.
"""

import re
from dataclasses import dataclass
from typing import Any

from simulators.telegram.links import checked_url, custom_emoji_id, mentioned_user
from simulators.telegram.text import MarkupError, u16len

SIMPLE = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "pre": "pre",
    "code": "code",
    "blockquote": "blockquote",
}
TAGS = frozenset(SIMPLE) | {"a", "tg-emoji"}
NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
SPACES = " \t\r\n\0\v"
REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+))|([a-zA-Z]+));?")
SPECIAL = re.compile(r"[&<]")
NAME_TOKEN = re.compile(r"[A-Za-z0-9.\-]*")


@dataclass(frozen=True, slots=True)
class _Open:
    tag: str
    attributes: dict[str, str]
    at: int  # UTF-16 units into the result
    piece: int  # index into the pieces of the result


@dataclass(slots=True)
class _Source:
    text: str
    pos: int = 0

    def fail(self, message: str, at: int) -> MarkupError:
        return MarkupError(f"{message} at byte offset {len(self.text[:at].encode())}")

    def more(self) -> bool:
        return self.pos < len(self.text)

    def until(self, stops: str) -> str:
        start = self.pos
        while self.pos < len(self.text) and self.text[self.pos] not in stops:
            self.pos += 1
        return self.text[start : self.pos]

    def skip_spaces(self) -> None:
        while self.pos < len(self.text) and self.text[self.pos] in SPACES:
            self.pos += 1


def parse_html(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and its entities (UTF-16 offsets). Raises MarkupError."""
    source = _Source(text)
    pieces: list[str] = []
    length = 0
    stack: list[_Open] = []
    entities: list[dict[str, Any]] = []
    while source.more():
        special = SPECIAL.search(text, source.pos)
        end = special.start() if special else len(text)
        if end > source.pos:
            pieces.append(text[source.pos : end])
            length += u16len(pieces[-1])
            source.pos = end
        elif text[end] == "&":
            pieces.append(_reference(source))
            length += u16len(pieces[-1])
        elif text.startswith("</", end):
            opened = _close(source, stack)
            entities += _entity(opened, "".join(pieces[opened.piece :]), length)
        else:
            tag, attributes = _start_tag(source)
            stack.append(_Open(tag, attributes, length, len(pieces)))
    if stack:
        raise MarkupError(f'Can\'t find end tag corresponding to start tag "{stack[-1].tag}"')
    return _joined(pieces), entities


def _joined(pieces: list[str]) -> str:
    text = "".join(pieces)
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise MarkupError(
            "Text contains invalid Unicode characters after decoding HTML entities, "
            "check for unmatched surrogate code units"
        ) from None


def _reference(source: _Source) -> str:
    """The character a reference stands for; what is no reference stands for itself."""
    match = REFERENCE.match(source.text, source.pos)
    found = _decode(match) if match else None
    if match is None or found is None:
        source.pos += 1
        return "&"
    source.pos = match.end()
    return found


def _decode(match: re.Match[str]) -> str | None:
    hexadecimal, decimal, name = match.groups()
    if name:
        return NAMED.get(name)
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(code) if 0 < code < 0x10FFFF else None


def _start_tag(source: _Source) -> tuple[str, dict[str, str]]:
    begin = source.pos
    source.pos += 1
    tag = source.until(SPACES + ">").lower()
    if not source.more():
        raise source.fail("Unclosed start tag", begin)
    if tag not in TAGS:
        raise source.fail(f'Unsupported start tag "{tag}"', begin)
    attributes: dict[str, str] = {}
    while True:
        source.skip_spaces()
        if source.more() and source.text[source.pos] == ">":
            source.pos += 1
            break
        if not source.more():
            raise source.fail(f'Unclosed start tag "{tag}"', begin)
        name, value = _attribute(source, tag, begin)
        attributes.setdefault(name, value)
    if tag == "span" and attributes.get("class") != "tg-spoiler":
        raise source.fail('Tag "span" must have class "tg-spoiler"', begin)
    return tag, attributes


def _attribute(source: _Source, tag: str, begin: int) -> tuple[str, str]:
    name = source.until(SPACES + "=>").lower()
    if not name:
        raise source.fail(f'Empty attribute name in the tag "{tag}"', begin)
    source.skip_spaces()
    if source.more() and source.text[source.pos] != "=":
        return name, ""
    source.pos += 1
    source.skip_spaces()
    if not source.more():
        raise source.fail(f'Unclosed start tag "{tag}"', begin)
    quote = source.text[source.pos]
    if quote in "\"'":
        source.pos += 1
        return name, _quoted(source, quote, begin)
    return name, _token(source)


def _quoted(source: _Source, quote: str, begin: int) -> str:
    pieces: list[str] = []
    while source.more() and source.text[source.pos] != quote:
        if source.text[source.pos] == "&":
            pieces.append(_reference(source))
        else:
            pieces.append(source.until("&" + quote))
    if not source.more():
        raise source.fail("Unclosed start tag", begin)
    source.pos += 1
    return _joined(pieces)


def _token(source: _Source) -> str:
    start = source.pos
    match = NAME_TOKEN.match(source.text, start)
    source.pos = match.end() if match else start
    if not source.more() or source.text[source.pos] not in SPACES + ">":
        raise source.fail("Unexpected end of name token", start)
    return source.text[start : source.pos].lower()


def _close(source: _Source, stack: list[_Open]) -> _Open:
    begin = source.pos
    if not stack:
        raise source.fail("Unexpected end tag", begin)
    source.pos += 2
    name = source.until(SPACES + ">").lower()
    source.skip_spaces()
    if not source.more() or source.text[source.pos] != ">":
        raise source.fail("Unclosed end tag", begin)
    source.pos += 1
    opened = stack.pop()
    if name and name != opened.tag:
        where = len(source.text[:begin].encode())
        raise MarkupError(f'Unmatched end tag at byte offset {where}, expected "</{opened.tag}>", found "</{name}>"')
    return opened


def _entity(opened: _Open, inside: str, end: int) -> list[dict[str, Any]]:
    """The entity a closed tag makes: none when it holds nothing or leads nowhere."""
    if end == opened.at:
        return []
    span = {"offset": opened.at, "length": end - opened.at}
    attributes = opened.attributes
    if opened.tag == "a":
        link = attributes.get("href") or inside
        if user := mentioned_user(link):
            return [{"type": "text_mention", **span, "user": {"id": user}}]
        url = checked_url(link)
        return [{"type": "text_link", **span, "url": url}] if url else []
    if opened.tag == "tg-emoji":
        emoji = custom_emoji_id(attributes.get("emoji-id", ""))
        return [{"type": "custom_emoji", **span, "custom_emoji_id": emoji}]
    kind = SIMPLE[opened.tag]
    if kind == "blockquote" and "expandable" in attributes:
        kind = "expandable_blockquote"
    language = attributes.get("class", "")
    if opened.tag == "code" and len(language) > len("language-") and language.startswith("language-"):
        return [{"type": "code", **span, "language": language.removeprefix("language-")}]
    return [{"type": kind, **span}]
