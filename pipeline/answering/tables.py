"""Markdown tables in a passage: read into cells, cut down to what a question asks for, and drawn again. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.answering.sentences import Span
from pipeline.answering.words import words

_WIDE = 3  # columns up to which a table is shown whole
_BAR = re.compile(r"(?<!\\)\|")
_DELIMITER = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")


@dataclass(frozen=True, slots=True)
class Row:
    """The spans `first` to `last` of a passage (a long line is cut into several), read as cells."""

    first: int
    last: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Every row has as many cells as the header."""

    header: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a table is asked for, as indexes in order. `named` tells that words of the question name the rows.

    `columns` holds all of them, or of a wide table the first one and those that the question names; `asked` holds
    the named ones alone.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    asked: frozenset[int]
    named: bool


def read_tables(text: str, spans: Sequence[Span]) -> list[Table]:
    """The tables among the spans of a text: rows below each other, the first with a delimiter row under it.

    Rows without one (a page's table, cut from HTML) count when the first row has no digits and later ones have: it is
    then taken for their header. A table's rest without its header is no table.
    """
    found = []
    for run in _runs(text, spans):
        header, rows = run[0], run[1:]
        after = spans[header.last + 1].start if header.last + 1 < len(spans) else len(text)
        below = text[spans[header.last].end : after].strip()
        unmarked = not below and not _has_digits(header) and any(map(_has_digits, rows))
        if unmarked or _DELIMITER.fullmatch(below):
            width = len(header.cells)
            found.append(Table(header, tuple(Row(r.first, r.last, _fitted(r.cells, width)) for r in rows)))
    return found


def cut(table: Table, rows: Sequence[int] | None, columns: Sequence[int] | None) -> Cut:
    """The part of a table with these rows and columns; None is all."""
    asked = frozenset(columns or ())
    width = len(table.header.cells)
    narrow = bool(asked) and width > _WIDE
    return Cut(
        tuple(range(len(table.rows)) if rows is None else rows),
        tuple(n for n in range(width) if not narrow or n == 0 or n in asked),
        asked,
        rows is not None,
    )


def named(labels: Sequence[str], said: frozenset[str]) -> list[int]:
    """Which of the labels is meant by words that were said: none of the others shares more of its words with them.

    Words that all labels share tell nothing. Of labels that share the same words the fullest match is meant: by "a
    day" the column "day", not "half day".
    """
    bags = [frozenset(words(label)) for label in labels]
    common = frozenset[str]().union(*bags[:1]).intersection(*bags) if len(bags) > 1 else frozenset()
    shared = [(bag - common) & said for bag in bags]
    best: dict[frozenset[str], float] = {}
    for bag, own in zip(bags, shared, strict=True):
        if own:
            best[own] = max(best.get(own, 0.0), len(own) / len(bag))
    return [
        n
        for n, (bag, own) in enumerate(zip(bags, shared, strict=True))
        if own and not any(own < other for other in best) and len(own) / len(bag) == best[own]
    ]


def labels(table: Table) -> list[str]:
    """What rows are called: their first cells."""
    return [row.cells[0] for row in table.rows]


def columns(table: Table) -> list[str]:
    """What columns are called; the first one, which names the rows, goes by no name."""
    return ["", *table.header.cells[1:]]


def pairs(table: Table, row: int, columns: Sequence[int]) -> str:
    """A row as words: "bike: city bike, day: 14 euros"."""
    cells = ((table.header.cells[n], table.rows[row].cells[n]) for n in columns)
    return ", ".join(f"{name}: {value}" if name else value for name, value in cells if value)


def drawn(table: Table, rows: Sequence[int], columns: Sequence[int]) -> str:
    """The part as a markdown table; cells are the text's own."""
    lines = [table.header.cells, *(table.rows[n].cells for n in rows)]
    shown = ["| " + " | ".join(cells[n] for n in columns) + " |" for cells in lines]
    return "\n".join([shown[0], "|" + "---|" * len(columns), *shown[1:]])


def loose(line: str) -> str:
    """A row that belongs to no table, without its bars."""
    return " · ".join(filter(None, _cells(line)))


def by_span(tables: Sequence[Table]) -> dict[int, tuple[int, int | None]]:
    """For each span of a table, the table's number and that of the row, None for the header."""
    found: dict[int, tuple[int, int | None]] = {}
    for at, table in enumerate(tables):
        for number, row in ((None, table.header), *enumerate(table.rows)):
            found |= dict.fromkeys(range(row.first, row.last + 1), (at, number))
    return found


def _runs(text: str, spans: Sequence[Span]) -> Iterator[list[Row]]:
    """Rows that follow each other with nothing between them, but for a delimiter row after the first."""
    run: list[Row] = []
    for _, line in groupby(range(len(spans)), key=lambda n: spans[n].block):
        places = list(line)
        first, last = places[0], places[-1]
        is_row = spans[first].kind == "row"
        if run and not (is_row and _adjoins(text[spans[run[-1].last].end : spans[first].start], len(run) == 1)):
            yield run
            run = []
        if is_row:
            run.append(Row(first, last, _cells(text[spans[first].start : spans[last].end])))
    if run:
        yield run


def _adjoins(gap: str, after_header: bool) -> bool:
    between = [line.strip() for line in re.split(r"\r\n|[\n\r]", gap)[1:-1]]
    return not between or (after_header and len(between) == 1 and bool(_DELIMITER.fullmatch(between[0])))


def _cells(line: str) -> tuple[str, ...]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return tuple(" ".join(cell.split()) for cell in _BAR.split(inner))


def _fitted(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    return (*cells[:width], *("",) * (width - len(cells)))


def _has_digits(row: Row) -> bool:
    return any(character.isdigit() for cell in row.cells for character in cell)
