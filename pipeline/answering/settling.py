"""Which rows and columns of a table a question asks for, by what its conversation names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.answering.inquiry import Inquiry, Said
from pipeline.answering.tables import Cut, Table, columns, cut, labels, named
from pipeline.answering.words import words

ROWS = 6  # rows that are shown of a table


def settle(table: Table, inquiry: Inquiry) -> Cut:
    """The latest turn that names rows says which are meant, and so for columns: after "a city bike for a day?", "and
    for a week?" asks for the city bike still. "The other one" turns to the other rows, or, where no row was named, to
    the other columns; of several to those that were named before in the conversation, if any were.
    """
    kind = frozenset(words(table.header.cells[0]))  # "room" above the rows: no row is called by it
    rows = _latest(labels(table), inquiry.turns, inquiry.before, kind)
    if rows is None and not inquiry.follows:
        rows = _by_cells(table, inquiry)
    turns = inquiry.turns if rows is None else inquiry.topic
    return cut(table, rows, _latest(columns(table), turns, inquiry.before, frozenset()))


def _latest(
    names: Sequence[str], turns: Sequence[Said], before: Sequence[Said], kind: frozenset[str]
) -> list[int] | None:
    for n, turn in enumerate(turns):
        if turn.other:
            meant = _latest(names, turns[n + 1 :], before, kind)
            return None if meant is None else _others(names, meant, [*turns, *before], kind)
        if found := named(names, turn.words - kind):
            return found
    return None


def _others(
    names: Sequence[str], meant: Sequence[int], conversation: Sequence[Said], kind: frozenset[str]
) -> list[int]:
    """None of many that were never mentioned: nobody knows which one is the other."""
    rest = [n for n, name in enumerate(names) if name and n not in meant]
    for turn in conversation:
        if mentioned := [n for n in named(names, turn.words - kind) if n in rest]:
            return mentioned
    return rest if len(rest) <= ROWS else []


def _by_cells(table: Table, inquiry: Inquiry) -> list[int] | None:
    """Rows meant by what stands in them: "what can I rent for 14 euros?"."""
    said = inquiry.question.words.difference(*(words(name) for name in table.header.cells))
    return named([" ".join(row.cells[1:]) for row in table.rows], said) or None
