"""From the tree of blocks to flat pieces of text, which is what messages are packed from.

A platform says in a `Dialect` what it can show; what it cannot show natively becomes text here: tables are drawn or
become records, and the target of a link that the platform would not open is told in the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from operator import attrgetter

from channels.grid import drawn, joined, record
from channels.links import honest, opens, spelled
from channels.markdown import Block, Code, Heading, List, Paragraph, Quote, Rule, Span, Spans, Table, text_of

RULE = "—" * 8
INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs")
DEEPEST = 24  # columns of indentation; lists nested deeper than that stay at it

WEB = frozenset({"http", "https", "mailto"})


def opens_on_the_web(label: Spans, target: str) -> bool:
    return opens(target, schemes=WEB)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a platform can show.

    anchor       whether it makes a link of this label and this target
    table_width  columns of fixed-width text that fit in one line; a wider table becomes one record for each row
    bullets      the marker of a list item, by the depth of its list; the last one for all that lie deeper
    """

    anchor: Callable[[Spans, str], bool] = opens_on_the_web
    table_width: int = 42
    bullets: str = "•◦▪"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text in one wrapping, the smallest thing that is kept together when it fits.

    gap       what separates it from the piece before, within one message
    pre       fixed-width text, in `language` when that is known
    quote     number of the block quote that it belongs to, 0 for none
    heading   level of the heading that it is, 0 for none; a heading must not be the last piece of a message
    lead      what stands before its first line: indentation and, where a list item begins, the marker
    hang      what stands before every other line
    depth     depth of the list that it stands in, 0 for none; `number` is that of an ordered item
    """

    spans: Spans
    gap: str = "\n\n"
    pre: bool = False
    language: str = ""
    quote: int = 0
    heading: int = 0
    lead: str = ""
    hang: str = ""
    depth: int = 0
    number: int | None = None

    @property
    def begins_item(self) -> bool:
        return self.depth > 0 and self.lead != self.hang


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block stands: the piece it would be with nothing in it."""

    dialect: Dialect
    quotes: Iterator[int]
    empty: Piece = Piece(())


def flatten(blocks: Sequence[Block], dialect: Dialect) -> list[Piece]:
    """The pieces of a document in reading order; those without a visible character are left out."""
    pieces = _pieces(blocks, _Place(dialect, count(1)))
    return [piece for piece in pieces if is_visible(piece.lead) or is_visible(text_of(piece.spans))]


def plain(piece: Piece) -> str:
    """The piece as a reader sees it, without any formatting."""
    return piece.lead + hung(text_of(piece.spans), piece.hang)


def hung(text: str, hang: str) -> str:
    return text.replace("\n", "\n" + hang) if hang else text


def plain_text(pieces: Sequence[Piece]) -> str:
    return "".join((piece.gap if index else "") + plain(piece) for index, piece in enumerate(pieces))


def is_visible(text: str) -> bool:
    """Platforms refuse a message of nothing but spaces, controls and invisible format characters."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)


def language_of(name: str) -> str:
    """The language of a code block as it may stand in a platform's markup."""
    return "".join(c for c in name if c.isascii() and (c.isalnum() or c in "+#-_."))[:32]


def _pieces(blocks: Sequence[Block], place: _Place) -> Iterator[Piece]:
    for block in blocks:
        match block:
            case Paragraph(spans):
                yield _text(spans, place)
            case Heading(level, spans):
                yield replace(_text(spans, place), heading=level)
            case Code(text, language):
                yield _pre(text, place, language)
            case Rule():
                yield _text((Span(RULE),), place)
            case Quote(inside):
                quoted = replace(place.empty, quote=place.empty.quote or next(place.quotes))
                yield from _pieces(inside, replace(place, empty=quoted))
            case List():
                yield from _list(block, place)
            case Table():
                yield from _table(block, place)


def _text(spans: Spans, place: _Place) -> Piece:
    if any(span.link for span in spans):
        groups = groupby(spans, key=attrgetter("link"))
        spans = tuple(part for link, label in groups for part in linked(link, tuple(label), place.dialect))
    return replace(place.empty, spans=spans)


def _pre(text: str, place: _Place, language: str = "") -> Piece:
    return Piece((Span(text),), place.empty.gap, True, language, place.empty.quote, depth=place.empty.depth)


def linked(target: str, label: Spans, dialect: Dialect) -> Spans:
    """A link as it is when the platform opens it and the label does not mislead; else its target is told in the
    text."""
    text = text_of(label)
    if not target or (dialect.anchor(label, target) and (spelled(text, target) or honest(text, target))):
        return label
    bare = tuple(replace(span, link="") for span in label)
    if spelled(text, target):
        return bare
    told = Span(target)
    return (*bare, Span(" ("), replace(told, link=target) if dialect.anchor((told,), target) else told, Span(")"))


def _list(block: List, place: _Place) -> Iterator[Piece]:
    gap = "\n" if block.tight else "\n\n"
    outer = place.empty
    bullets = place.dialect.bullets
    for index, item in enumerate(block.items):
        number = None if block.start is None else block.start + index
        bullet = bullets[min(outer.depth, len(bullets) - 1)] if number is None else f"{number}."
        hang = outer.hang + " " * (len(bullet) + 1)
        hang = hang if len(hang) <= DEEPEST else outer.hang
        empty = replace(outer, gap=gap, lead=hang, hang=hang, depth=outer.depth + 1, number=number)
        inside = _pieces(item, replace(place, empty=empty))
        first = next(inside, empty)
        marker = replace(first, gap=gap if index else outer.gap, lead=f"{outer.hang}{bullet} ")
        if first.pre:
            yield replace(marker, spans=(), pre=False, language="", hang=hang, number=number)
            yield replace(first, gap="\n")
        else:
            # The first piece may be the first item of a list inside, with its own marker.
            yield replace(marker, lead=marker.lead + first.lead[len(hang) :])
        yield from inside


def _table(table: Table, place: _Place) -> Iterator[Piece]:
    if not table.rows:
        yield _text(joined(table.header), place)
    elif (text := drawn(table, place.dialect.table_width)) is not None:
        yield _pre(text, place)
    else:
        for row in table.rows:
            yield replace(_text(record(table.header, row), place), gap="\n\n")
