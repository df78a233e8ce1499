"""From the tree of blocks to the flat pieces that Telegram can show: it knows no headings, lists or tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Literal
from urllib.parse import urlsplit

from channels.markdown import Align, Block, Code, Heading, List, Paragraph, Quote, Rule, Span, Spans, Table, text_of

TABLE_WIDTH = 42  # columns that a phone shows in one line; a wider table becomes one record for each row
LINK_LENGTH = 2048  # characters; a longer target is no longer worth an anchor
RULE = "—" * 8
BULLETS = "•◦▪"
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs")

Wrap = Literal["", "quote", "pre"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text in one wrapping, the smallest thing that is kept together when it fits.

    gap      what separates it from the piece before, within one message
    quote    number of the block quote that it belongs to, when `wrap` says so
    heading  it must not be the last piece of a message
    """

    spans: Spans
    gap: str = "\n\n"
    wrap: Wrap = ""
    language: str = ""
    quote: int = 0
    heading: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block stands: its indentation, the depth of lists around it, the quote and the gap between blocks."""

    quotes: Iterator[int]
    indent: str = ""
    depth: int = 0
    quote: int = 0
    gap: str = "\n\n"


def flatten(blocks: Sequence[Block]) -> list[Piece]:
    """The pieces of a document in reading order; those without a visible character are left out."""
    return [piece for piece in _pieces(blocks, _Place(count(1))) if is_visible(text_of(piece.spans))]


def is_visible(text: str) -> bool:
    """Telegram refuses a message of nothing but spaces, controls and invisible format characters."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)


def _pieces(blocks: Sequence[Block], place: _Place) -> Iterator[Piece]:
    for block in blocks:
        match block:
            case Paragraph(spans):
                yield _text(spans, place)
            case Heading(_, spans):
                yield replace(_text(tuple(replace(span, bold=True) for span in spans), place), heading=True)
            case Code(text, language):
                yield Piece((Span(text),), place.gap, "pre", language)
            case Rule():
                yield _text((Span(RULE),), place)
            case Quote(inside):
                yield from _pieces(inside, replace(place, quote=place.quote or next(place.quotes)))
            case List():
                yield from _list(block, place)
            case Table():
                yield from _table(block, place)


def _text(spans: Spans, place: _Place) -> Piece:
    shown = (part for link, label in groupby(spans, key=lambda span: span.link) for part in _linked(link, [*label]))
    if place.indent:
        shown = (replace(span, text=span.text.replace("\n", "\n" + place.indent)) for span in shown)
    wrap: Wrap = "quote" if place.quote else ""
    return Piece((Span(place.indent), *shown), place.gap, wrap, quote=place.quote)


def _linked(target: str, label: list[Span]) -> list[Span]:
    """A link as an anchor when Telegram would make one of it; otherwise its target is told in the text."""
    if not target or (is_anchor(target) and text_of(label) not in _spelled(target)):
        return label
    bare = [replace(span, link="") for span in label]
    return bare if text_of(label) in _spelled(target) else [*bare, Span(f" ({target})")]


def _spelled(target: str) -> tuple[str, str]:
    return target, target.removeprefix("mailto:")


def is_anchor(target: str) -> bool:
    """Whether Telegram accepts `target` in an anchor: a whole address in one of the schemes that it opens."""
    if len(target) > LINK_LENGTH or any(character.isspace() for character in target):
        return False
    try:
        parts = urlsplit(target)
        where = parts.hostname if parts.scheme in ("http", "https", "tg") else parts.path
    except ValueError:
        return False
    return bool(where) and parts.scheme in ("http", "https", "mailto", "tg")


def _list(block: List, place: _Place) -> Iterator[Piece]:
    gap = "\n" if block.tight else "\n\n"
    for number, item in enumerate(block.items):
        bullet = BULLETS[min(place.depth, len(BULLETS) - 1)] if block.start is None else f"{block.start + number}."
        inner = place.indent + " " * (len(bullet) + 1)
        inside = _pieces(item, replace(place, indent=inner, depth=place.depth + 1, gap=gap))
        marker = Span(f"{place.indent}{bullet} ")
        first = next(inside, Piece((Span(""),)))
        gap_before = gap if number else place.gap
        if first.wrap == "pre":
            yield replace(_text((), place), spans=(marker,), gap=gap_before)
            yield replace(first, gap="\n")
        else:
            # The first span is the indentation, with the marker of a nested list that starts right here.
            nested = Span(first.spans[0].text[len(inner) :])
            yield replace(first, spans=(marker, nested, *first.spans[1:]), gap=gap_before)
        yield from inside


def _table(table: Table, place: _Place) -> Iterator[Piece]:
    grid = [[text_of(cell).replace("\n", " ") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(map(_columns, column)) for column in zip(*grid, strict=True)]
    linked = any(span.link for row in (table.header, *table.rows) for cell in row for span in cell)
    if not table.rows:
        yield _text(tuple(_joined(table.header)), place)
        return
    if not linked and sum(widths) + 3 * (len(widths) - 1) <= TABLE_WIDTH:
        lines = [_line(row, widths, table.align) for row in grid]
        lines.insert(1, "─┼─".join("─" * width for width in widths))
        yield Piece((Span("\n".join(lines)),), place.gap, "pre")
        return
    for row in table.rows:
        yield _text(tuple(_record(table.header, row)), replace(place, gap="\n\n"))


def _joined(cells: Sequence[Spans]) -> Iterator[Span]:
    for index, cell in enumerate(cells):
        if index:
            yield Span(" │ ")
        yield from cell


def _line(cells: Sequence[str], widths: Sequence[int], align: Sequence[Align]) -> str:
    return " │ ".join(map(_padded, cells, widths, align)).rstrip()


def _padded(cell: str, width: int, align: Align) -> str:
    missing = width - _columns(cell)
    left = {"left": 0, "center": missing // 2, "right": missing}[align]
    return " " * left + cell + " " * (missing - left)


def _columns(text: str) -> int:
    """Columns that a fixed-width font takes: two for wide East Asian characters."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _record(header: Sequence[Spans], row: Sequence[Spans]) -> Iterator[Span]:
    for index, (name, value) in enumerate(zip(header, row, strict=True)):
        if index:
            yield Span("\n")
        if is_visible(text_of(name)):
            yield from (replace(span, bold=True) for span in (*name, Span(": ")))
        yield from value
