"""The Bot API's MarkdownV2 mode. Accepts and refuses what the official server does, with its byte offsets.

Source: https://core.telegram.org/bots/api#markdownv2-style, and the vectors of TDLib's own test suite.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from simulators.telegram.links import checked_url, custom_emoji_from, mentioned_user
from simulators.telegram.text import MarkupError, u16len

RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
PLAIN_RUN = re.compile(r"[^_*\[\]()~`>#+\-=|{}.!\\\n\r]+")
CODE_RUN = re.compile(r"[^`\\]+")
LANGUAGE = re.compile(r"[^\s`]*")
STYLES = {
    "Italic": ("italic", "_"),
    "Bold": ("bold", "*"),
    "Underline": ("underline", "__"),
    "Strikethrough": ("strikethrough", "~"),
    "Spoiler": ("spoiler", "||"),
}
OPENERS = (("__", "Underline"), ("_", "Italic"), ("*", "Bold"), ("~", "Strikethrough"), ("||", "Spoiler"))


@dataclass(frozen=True, slots=True)
class _Open:
    name: str
    source: int  # where it was opened in the source
    at: int  # UTF-16 units into the result
    piece: int  # index into the pieces of the result
    language: str = ""


@dataclass(slots=True)
class _Parser:
    text: str
    pos: int = 0
    length: int = 0
    pieces: list[str] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    entities: list[dict[str, Any]] = field(default_factory=list)
    line_start: bool = True
    quoted: bool = False

    def emit(self, piece: str) -> None:
        self.pieces.append(piece)
        self.length += u16len(piece)
        if piece != "\r":
            self.line_start = piece == "\n"

    def byte(self, at: int) -> int:
        return len(self.text[:at].encode())

    def open(self, name: str, width: int, language: str = "") -> None:
        self.stack.append(_Open(name, self.pos, self.length, len(self.pieces), language))
        self.pos += width

    def close(self, kind: str, width: int, **extra: Any) -> None:
        opened = self.stack.pop()
        self.pos += width
        if self.length > opened.at:
            span = {"type": kind, "offset": opened.at, "length": self.length - opened.at}
            self.entities.append(span | extra)

    def top(self) -> str:
        return self.stack[-1].name if self.stack else ""

    def starts(self, token: str) -> bool:
        return self.text.startswith(token, self.pos)

    def unfinished(self) -> MarkupError:
        opened = self.stack[-1]
        return MarkupError(f"Can't find end of {opened.name} entity at byte offset {self.byte(opened.source)}")


def parse_markdown_v2(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and its entities (UTF-16 offsets). Raises MarkupError."""
    parser = _Parser(text)
    while parser.pos < len(text):
        if _escaped(parser):
            continue
        if parser.top() in ("Code", "Pre", "PreCode"):
            _inside_code(parser)
        else:
            _step(parser)
    if parser.quoted:
        _end_quote(parser)
    if parser.stack:
        raise parser.unfinished()
    return "".join(parser.pieces), parser.entities


def _escaped(parser: _Parser) -> bool:
    if parser.text[parser.pos] != "\\":
        return False
    following = parser.text[parser.pos + 1 : parser.pos + 2]
    if following and 0 < ord(following) <= 126:
        parser.emit(following)
        parser.pos += 2
    else:
        parser.emit("\\")
        parser.pos += 1
    return True


def _inside_code(parser: _Parser) -> None:
    run = CODE_RUN.match(parser.text, parser.pos)
    if run:
        parser.emit(run[0])
        parser.pos = run.end()
    elif parser.top() == "Code":
        parser.close("code", 1)
    elif parser.starts("```"):
        language = parser.stack[-1].language
        parser.close("pre", 3, **({"language": language} if language else {}))
    else:
        parser.open("Code", 1)


def _step(parser: _Parser) -> None:
    run = PLAIN_RUN.match(parser.text, parser.pos)
    if run:
        parser.emit(run[0])
        parser.pos = run.end()
        return
    char = parser.text[parser.pos]
    if char in "\n\r":
        _newline(parser, char)
    elif char == ">" and parser.line_start and not parser.quoted:
        parser.open("BlockQuote", 1)
        parser.quoted = True
    elif char == "`":
        _open_code(parser)
    elif char == "[":
        parser.open("TextUrl", 1)
    elif parser.starts("!["):
        parser.open("CustomEmoji", 2)
    elif char == "]" and parser.top() in ("TextUrl", "CustomEmoji"):
        _close_bracket(parser)
    else:
        _style(parser, char)


def _style(parser: _Parser, char: str) -> None:
    for token, name in OPENERS:
        if parser.starts(token):
            if parser.top() == name:
                parser.close(STYLES[name][0], len(token))
            else:
                parser.open(name, len(token))
            return
    raise MarkupError(f"Character '{char}' is reserved and must be escaped with the preceding '\\'")


def _newline(parser: _Parser, char: str) -> None:
    parser.emit(char)
    parser.pos += 1
    if char == "\r" or not parser.quoted:
        return
    if parser.starts(">"):
        parser.pos += 1
    else:
        _end_quote(parser)


def _end_quote(parser: _Parser) -> None:
    """A spoiler opened as the very last thing of a quote makes the quote expandable."""
    kind = "blockquote"
    if parser.top() == "Spoiler":
        since = "".join(parser.pieces[parser.stack[-1].piece :])
        if since in ("", "\n", "\r\n"):
            parser.stack.pop()
            kind = "expandable_blockquote"
    if parser.top() != "BlockQuote":
        raise parser.unfinished()
    parser.close(kind, 0)
    parser.quoted = False


def _open_code(parser: _Parser) -> None:
    if not parser.starts("```"):
        parser.open("Code", 1)
        return
    language = LANGUAGE.match(parser.text, parser.pos + 3)
    end = language.end() if language else parser.pos + 3
    if language and language[0] and end < len(parser.text) and parser.text[end] != "`":
        parser.open("PreCode", end - parser.pos, language[0])
    else:
        parser.open("Pre", 3)
    first = parser.text[parser.pos : parser.pos + 1]
    if first and first in "\n\r":
        second = parser.text[parser.pos + 1 : parser.pos + 2]
        parser.pos += 2 if second and second in "\n\r" and second != first else 1


def _close_bracket(parser: _Parser) -> None:
    opened = parser.stack[-1]
    link = _link_after(parser, opened)
    if opened.name == "CustomEmoji":
        if link is None:
            raise MarkupError("Custom emoji entity must contain a tg://emoji URL")
        parser.close("custom_emoji", 0, custom_emoji_id=custom_emoji_from(link))
        return
    target = link if link is not None else "".join(parser.pieces[opened.piece :])
    user = mentioned_user(target)
    url = checked_url(target)
    if user:
        parser.close("text_mention", 0, user={"id": user})
    elif url:
        parser.close("text_link", 0, url=url)
    else:
        parser.stack.pop()


def _link_after(parser: _Parser, opened: _Open) -> str | None:
    """What stands in (…) after ], or None; the parser moves past it."""
    parser.pos += 1
    if not parser.starts("("):
        return None
    begin = parser.pos + 1
    position = begin
    link: list[str] = []
    while position < len(parser.text) and parser.text[position] != ")":
        if parser.text[position] == "\\" and 0 < ord(parser.text[position + 1 : position + 2] or "\0") <= 126:
            position += 1
        link.append(parser.text[position])
        position += 1
    if position >= len(parser.text):
        what = "a custom emoji URL" if opened.name == "CustomEmoji" else "a URL"
        raise MarkupError(f"Can't find end of {what} at byte offset {parser.byte(begin)}")
    parser.pos = position + 1
    return "".join(link)
