"""Hits cut into what may be quoted: sentences, items, code, and rows of tables, each with the headings above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernel.types import Json
from pipeline.answering import tables
from pipeline.answering.inquiry import Inquiry
from pipeline.answering.sentences import Span, split
from pipeline.answering.settling import settle
from pipeline.answering.tables import Cut, Table
from pipeline.answering.words import words

_HITS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """A table of a passage, and what of it is asked for."""

    table: Table
    cut: Cut


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit with its text cut up. `rank` is its score against the best hit's, 0 to 1; `cosine` is None if unknown.

    `rows` tells for each span of a table which of `parts` it belongs to, and its row there, None for the header.
    `closed` are spans that are not to be quoted.
    """

    hit: Json
    text: str
    title: str
    spans: Sequence[Span]
    rank: float
    cosine: float | None
    parts: Sequence[Part]
    rows: Mapping[int, tuple[int, int | None]]
    closed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Sentence:
    """What can be quoted: the span `index` of passage `at`, or row `row` of its table `part`, which begins there.

    `above` are the words of the title and the nearest heading. `covered` is the share of the question's words, by
    weight, found in it or, at a discount, above it. `elsewhere`: about other rows or columns of a table beside it than
    were asked for.
    """

    at: int
    index: int
    text: str
    words: frozenset[str]
    above: frozenset[str]
    part: int | None = None
    row: int = 0
    elsewhere: bool = False
    covered: float = 0.0
    cosine: float = 0.0
    score: float = 0.0


def read_passages(hits: Sequence[Json], inquiry: Inquiry) -> list[Passage]:
    return [p for n, hit in enumerate(hits[:_HITS]) if (p := _passage(hit, n, hits, inquiry))]


def read_sentences(passages: Sequence[Passage]) -> list[Sentence]:
    """Everything that may be quoted. Of a table whose rows were named, these rows only."""
    return [s for at, passage in enumerate(passages) for s in _sentences(at, passage)]


def text_of(passage: Passage, index: int) -> str:
    return passage.text[passage.spans[index].start : passage.spans[index].end]


def may_be_quoted(passage: Passage, index: int, *, shortest: int = 12) -> bool:
    """Not a heading, nor a crumb, nor a part of a table, nor anything that would load a picture where it is shown."""
    body = text_of(passage, index)
    plain = passage.spans[index].kind != "heading" and index not in passage.rows and index not in passage.closed
    return plain and len(body) >= shortest and not _loads(body)


def in_context(passage: Passage, s: Sentence) -> str:
    """A short sentence, or a row, says little without the heading above it."""
    heading = _heading(passage, s.index)
    if s.part is not None:
        return f"{', '.join(filter(None, (passage.title, heading)))}: {s.text}"
    if len(s.text) >= 60:
        return s.text
    heading = heading or passage.title
    return f"{heading}: {s.text}" if heading else s.text


def _passage(hit: Json, n: int, hits: Sequence[Json], inquiry: Inquiry) -> Passage | None:
    text = hit.get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    best, score = _number(hits[0].get("score")), _number(hit.get("score"))
    rank = score / best if best and score is not None and 0 <= score <= best else 1 / (n + 1)
    title, spans = hit.get("title"), split(text)
    read = tables.read_tables(text, spans)
    return Passage(
        hit,
        text,
        title if isinstance(title, str) else "",
        spans,
        rank,
        _number(hit.get("dense_score")),
        [Part(table, settle(table, inquiry)) for table in read],
        tables.by_span(read),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else None


def _sentences(at: int, passage: Passage) -> Iterator[Sentence]:
    above = title = frozenset(words(passage.title))
    for index, span in enumerate(passage.spans):
        if span.kind == "heading":
            above = title | frozenset(words(text_of(passage, index)))
        elif index in passage.rows:
            yield from _rows(at, passage, index, above)
        elif may_be_quoted(passage, index):
            body = text_of(passage, index)
            said = frozenset(words(body))
            elsewhere = any(_is_elsewhere(said, part) for part in passage.parts)
            yield Sentence(at, index, body, said, above, elsewhere=elsewhere)


def _rows(at: int, passage: Passage, index: int, above: frozenset[str]) -> Iterator[Sentence]:
    part, number = passage.rows[index]
    if number is None:
        return
    table, cut = passage.parts[part].table, passage.parts[part].cut
    row = table.rows[number]
    if row.first == index and number in cut.rows and not any(map(_loads, (*table.header.cells, *row.cells))):
        text = tables.pairs(table, number, cut.columns)
        if text:
            yield Sentence(at, index, text, frozenset(words(text)), above, part, number)


def _is_elsewhere(said: frozenset[str], part: Part) -> bool:
    rows, columns = set(tables.named(tables.labels(part.table), said)), part.cut.asked
    other_row = part.cut.named and bool(rows) and not rows & set(part.cut.rows)
    named = set(tables.named(tables.columns(part.table), said)) if columns else set()
    return other_row or (bool(named) and not named & columns)


def _loads(body: str) -> bool:
    return "![" in body or "<img" in body.lower()


def _heading(passage: Passage, index: int) -> str:
    above = [n for n in range(index) if passage.spans[n].kind == "heading"]
    return text_of(passage, above[-1]) if above else ""
