"""Markdown as a small tree of blocks and styled spans, which every platform's renderer walks.

Raw HTML stays text, link reference definitions are left as they stand (so a citation `[1]` survives), and line
breaks inside a paragraph are kept, because that is how people and models write in chats.
Grammar: CommonMark with GitHub's tables and strikethrough, by markdown-it-py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from channels.links import addresses

_style = attrgetter("bold", "italic", "strike", "code", "link")
NESTING = 32  # blocks nested deeper than this would be dropped by the parser; such a text is shown as it is
_PLAIN = re.compile(r"[^\W\d_][^\W_]*(?:[ ,.;:?'\"()%/-]{1,2}[^\W_]+)*[.!?:]{0,3}")
# A line of words that means the same in markdown, in every platform's markup and as it stands.
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9,.?!;()-]*(?: [A-Za-z0-9,.?!;()-]+)*")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in one style. `link` is the target, which may be any text that the author wrote."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    link: str = ""


Spans = tuple[Span, ...]
Align = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    spans: Spans


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Code:
    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class List:
    """`start` is the first number, or None for bullets; `tight` means no blank lines between the items."""

    items: tuple[tuple[Block, ...], ...]
    start: int | None
    tight: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` are as wide as `header`; `align` says left, center or right for each column."""

    header: tuple[Spans, ...]
    rows: tuple[tuple[Spans, ...], ...]
    align: tuple[Align, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    pass


Block = Paragraph | Heading | Code | Quote | List | Table | Rule

_parser = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING}).enable(["table", "strikethrough"])
_parser.disable(["reference", "html_block", "html_inline"])


def parse(text: str) -> tuple[Block, ...]:
    """The blocks of a markdown text. Any string is valid; lone surrogates become U+FFFD."""
    text = whole(text)
    if _PLAIN.fullmatch(text):
        return (Paragraph((Span(text),)),)
    tokens = _parser.parse(_with_last_line(text))
    if any(token.level >= NESTING - 1 for token in tokens):
        return (Paragraph((Span(text.strip("\n")),)),)
    return tuple(_blocks(iter(tokens)))


def block_tokens(text: str) -> list[Token]:
    """The parser's own tokens for the blocks of `text`, inline content not looked into; lines end with "\\n" only.
    None at all for a text that `parse` shows as it is."""
    tokens: list[Token] = []
    _parser.block.parse(_with_last_line(text), _parser, {}, tokens)
    return [] if any(token.level >= NESTING - 1 for token in tokens) else tokens


def _with_last_line(text: str) -> str:
    """markdown-it-py reads past the end of a text that ends in a table and an empty line without a line break."""
    return text if text.endswith("\n") else text + "\n"


def is_words(text: str) -> bool:
    """Whether the text is one line of plain words, for which nobody needs a tree."""
    return _WORDS.fullmatch(text) is not None


def whole(text: str) -> str:
    """The text without lone surrogates, which no platform's JSON can carry."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def text_of(spans: Sequence[Span]) -> str:
    return "".join(span.text for span in spans)


def _blocks(tokens: Iterator[Token]) -> Iterator[Block]:
    """Blocks up to the end of the enclosing container. Nested emphasis has no depth limit, so spans are not a tree."""
    for token in tokens:
        match token.type:
            case "paragraph_open":
                yield Paragraph(_inline(tokens))
            case "heading_open":
                yield Heading(int(token.tag[1:]), _inline(tokens))
            case "fence" | "code_block":
                yield Code(token.content.removesuffix("\n"), (token.info.split() or [""])[0])
            case "blockquote_open":
                yield Quote(tuple(_blocks(tokens)))
            case "bullet_list_open":
                yield _list(tokens, None)
            case "ordered_list_open":
                yield _list(tokens, int(token.attrs.get("start", 1)))
            case "table_open":
                yield _table(tokens)
            case "hr":
                yield Rule()
            case _:  # the end of the container, the only other token that can stand here
                return


def _list(tokens: Iterator[Token], start: int | None) -> List:
    items: list[tuple[Block, ...]] = []
    tight = True
    for token in tokens:
        if token.type != "list_item_open":
            break
        inside = list(_until(tokens, "list_item_close", token.level))
        tight = tight and all(
            each.hidden for each in inside if each.type == "paragraph_open" and each.level == token.level + 1
        )
        items.append(tuple(_blocks(iter(inside))))
    return List(tuple(items), start, tight)


def _table(tokens: Iterator[Token]) -> Table:
    rows: list[list[Spans]] = []
    align: list[Align] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(_inline(tokens))
            if token.type == "th_open":
                align.append(_alignment(token))
    return Table(tuple(rows[0]), tuple(tuple(row) for row in rows[1:]), tuple(align))


def _alignment(cell: Token) -> Align:
    style = str(cell.attrs.get("style", ""))
    return "right" if style.endswith("right") else "center" if style.endswith("center") else "left"


def _until(tokens: Iterator[Token], kind: str, level: int) -> Iterator[Token]:
    for token in tokens:
        if token.type == kind and token.level == level:
            return
        yield token


def _inline(tokens: Iterator[Token]) -> Spans:
    """The spans of the inline token that comes next, and its block's end with it; equal neighbours are joined."""
    content = next(tokens)
    next(tokens)
    return _joined(_spans(content.children or [], Span("")))


def _joined(spans: Iterable[Span]) -> Spans:
    runs = (list(group) for _, group in groupby(spans, key=_style))
    joined = (run[0] if len(run) == 1 else replace(run[0], text=text_of(run)) for run in runs)
    return tuple(part for span in joined if span.text for part in _addresses(span))


def _addresses(span: Span) -> Iterator[Span]:
    """The span with the bare addresses in it as links to themselves, which not every platform finds."""
    if "://" not in span.text or span.link or span.code:
        yield span
        return
    position = 0
    for start, end in addresses(span.text):
        if start > position:
            yield replace(span, text=span.text[position:start])
        yield replace(span, text=span.text[start:end], link=span.text[start:end])
        position = end
    if position < len(span.text):
        yield replace(span, text=span.text[position:])


def _spans(tokens: Sequence[Token], outer: Span) -> Iterator[Span]:
    """Flat runs of text; `outer` carries the style and the link that surround them."""
    bold = italic = strike = 0
    link, link_empty = outer.link, False
    for token in tokens:
        match token.type:
            case "strong_open" | "strong_close":
                bold += token.nesting
            case "em_open" | "em_close":
                italic += token.nesting
            case "s_open" | "s_close":
                strike += token.nesting
            case "link_open":
                link, link_empty = str(token.attrs.get("href", "")), True
            case "link_close":
                if link_empty:
                    yield replace(outer, text=link, link=link)
                link, link_empty = outer.link, False
            case kind:
                text = token.content if kind == "text" else ""
                plain = Span(
                    text, outer.bold or bold > 0, outer.italic or italic > 0, outer.strike or strike > 0, False, link
                )
                for span in (plain,) if kind == "text" else _leaf(token, plain):
                    link_empty = link_empty and not span.text.strip()
                    yield span


def _leaf(token: Token, style: Span) -> Iterator[Span]:
    match token.type:
        case "softbreak" | "hardbreak":
            yield replace(style, text="\n")
        case "code_inline":
            yield replace(style, text=token.content, code=True)
        case "image":
            # Never embedded: a link to the file, unless it is itself the label of a link.
            target = style.link or str(token.attrs.get("src", ""))
            label = list(_spans(token.children or [], replace(style, link=target)))
            yield from label if text_of(label).strip() else [replace(style, text=target, link=target)]
        case _:
            yield replace(style, text=token.content)
