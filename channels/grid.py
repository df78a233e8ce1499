"""Tables as text: drawn with aligned columns where they fit, else as one record for each row."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from channels.markdown import Align, Span, Spans, Table, text_of


def drawn(table: Table, width: int) -> str | None:
    """The table in fixed-width text of at most `width` columns. None when it is wider, or holds links, which could
    not be followed there."""
    rows = (table.header, *table.rows)
    if any(span.link for row in rows for cell in row for span in cell):
        return None
    grid = [[text_of(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*grid, strict=True)]
    if sum(widths) + 3 * (len(widths) - 1) > width:
        return None
    lines = [_line(row, widths, table.align) for row in grid]
    lines.insert(1, "─┼─".join("─" * width for width in widths))
    return "\n".join(lines)


def record(header: Sequence[Spans], row: Sequence[Spans]) -> Spans:
    """One row as lines of "name: value"."""
    return tuple(_named(header, row))


def joined(cells: Sequence[Spans]) -> Spans:
    """Cells in one line, for a table that is nothing but its header."""
    return tuple(span for index, cell in enumerate(cells) for span in ((Span(" │ "),) if index else ()) + cell)


def columns(text: str) -> int:
    """Columns that a fixed-width font takes: two for wide East Asian characters."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _line(cells: Sequence[str], widths: Sequence[int], align: Sequence[Align]) -> str:
    return " │ ".join(map(_padded, cells, widths, align)).rstrip()


def _padded(cell: str, width: int, align: Align) -> str:
    missing = width - columns(cell)
    left = {"left": 0, "center": missing // 2, "right": missing}[align]
    return " " * left + cell + " " * (missing - left)


def _named(header: Sequence[Spans], row: Sequence[Spans]) -> Iterator[Span]:
    for index, (name, value) in enumerate(zip(header, row, strict=True)):
        if index:
            yield Span("\n")
        if text_of(name).strip():
            yield from (replace(span, bold=True) for span in (*name, Span(": ")))
        yield from value
