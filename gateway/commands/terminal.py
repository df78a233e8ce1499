"""What commands print: text made safe for a terminal, tables, JSON, a progress bar."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_BAR = 24


def plain(text: str) -> str:
    """Without control and format characters, with which foreign text could steer a terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf"))


def out(text: str = "", end: str = "\n") -> None:
    sys.stdout.write(plain(text) + end)
    sys.stdout.flush()


def note(text: str) -> None:
    """For people who watch, on standard error: what is piped stays data."""
    sys.stderr.write(f"{plain(text)}\n")
    sys.stderr.flush()


def as_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], none: str) -> None:
    """Aligned columns with a head; `none` instead when there are no rows."""
    if not rows:
        note(none)
        return
    lines = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        out("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).replace("\n", " ")


class Progress:
    """A bar that redraws itself on a terminal's standard error, and says nothing elsewhere."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() and not quiet

    def show(self, done: int, total: int) -> None:
        if self._shown:
            filled = _BAR * done // max(total, 1)
            sys.stderr.write(f"\r\x1b[K{self._what} [{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
