"""What is quoted: the best sentences with what they cannot be understood without, and the rows of a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.answering import tables
from pipeline.answering.passages import Passage, Sentence, may_be_quoted, text_of
from pipeline.answering.ranking import NEAR, Ranking
from pipeline.answering.settling import ROWS
from pipeline.answering.words import words

_MOST = 3  # sentences that an answer is built on
_SAME = 0.6  # share of words at which two sentences say the same
_SAME_ROW = 0.8  # and at which a sentence says what a row does: rows differ in few words
_ROOM = 600  # characters quoted in all
_LIST = 420  # characters of one list with its lead-in
_BRIEF = 260  # characters up to which a sentence is followed into its paragraph

_DEPENDENT = re.compile(
    r"(?:it|its|they|their|them|this|that|these|those|he|she|his|her|such|however|therefore|thus|otherwise|instead|"
    r"also|then|so|but|and|or|for example|for instance|in this case|if so|in addition|furthermore|moreover)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quote:
    """Spans `first` to `last` of passage `at`; with `part`, `rows` of this table of it, which lie between them."""

    at: int
    first: int
    last: int
    part: int | None = None
    rows: tuple[int, ...] = ()


def select(ranking: Ranking) -> list[Quote]:
    """What to quote: the best passage's part first, parts of one passage in its order."""
    parts: list[Quote] = []
    for sentence in _carrying(ranking):
        part = _part(ranking, sentence)
        if part is None or quoted(ranking.passages, part).endswith(("?", "？")):
            continue
        longer = _merged([*parts, part])
        if sum(len(shown(ranking.passages, part)) for part in longer) <= _ROOM:
            parts = longer
    order = list(dict.fromkeys(p.at for p in parts))
    return sorted(parts, key=lambda p: (order.index(p.at), p.first))


def quoted(passages: Sequence[Passage], quote: Quote) -> str:
    """The quote's text, a substring of its passage. A list keeps the marker of its first item."""
    passage = passages[quote.at]
    first, last = passage.spans[quote.first], passage.spans[quote.last]
    alone = quote.first == quote.last or first.kind != "item"
    return passage.text[first.start if alone else first.line : last.end].strip()


def shown(passages: Sequence[Passage], quote: Quote) -> str:
    """The quote as markdown: its text, or of a table the header with the rows and columns that were asked for."""
    passage = passages[quote.at]
    if quote.part is not None:
        part = passage.parts[quote.part]
        return tables.drawn(part.table, quote.rows, part.cut.columns)
    if all(span.kind != "row" for span in passage.spans[quote.first : quote.last + 1]):
        return quoted(passages, quote)
    return "\n".join(_lines(passage, quote))


def _lines(passage: Passage, quote: Quote) -> Iterator[str]:
    for n in range(quote.first, quote.last + 1):
        text = text_of(passage, n)
        yield tables.loose(text) + "\n" if passage.spans[n].kind == "row" else text


def _carrying(ranking: Ranking) -> list[Sentence]:
    taken: list[Sentence] = []
    for s in ranking.sentences:
        if taken and (s.score < NEAR * taken[0].score or len(taken) == _MOST):
            break
        if all(_adds(ranking, s, t) for t in taken):
            taken.append(s)
    rows = [t for t in taken if t.part is not None]
    return [s for s in taken if s.part is not None or all(_adds(ranking, s, row) for row in rows)]


def _adds(ranking: Ranking, s: Sentence, t: Sentence) -> bool:
    """Whether `s` says what `t` does not. Beside the very cell that was asked for, something else asked for."""
    if t.part is None:
        return not _is_said(s, t.words, _SAME if s.part is None else _SAME_ROW)
    if s.elsewhere or (s.at, s.part) == (t.at, t.part):
        return False
    part = ranking.passages[t.at].parts[t.part]
    said = frozenset(words(tables.drawn(part.table, part.cut.rows, part.cut.columns)))
    more = ranking.asked & s.words - said - t.above
    return not _is_said(s, said, _SAME) and (bool(more) or not (part.cut.named and part.cut.asked))


def _is_said(s: Sentence, said: frozenset[str], share: float) -> bool:
    return len(s.words & said) >= share * max(1, min(len(s.words), len(said)))


def _part(ranking: Ranking, s: Sentence) -> Quote | None:
    return _whole(ranking.passages[s.at], s) if s.part is None else _rows(ranking, s, s.part)


def _rows(ranking: Ranking, best: Sentence, at: int) -> Quote | None:
    """The best row of table `at` with those that come near it or were named like it, as many as there is room for."""
    part, rows = ranking.passages[best.at].parts[at], list[int]()
    for s in ranking.sentences:
        near = part.cut.named or s.score >= NEAR * best.score
        if (s.at, s.part) == (best.at, at) and near and len(rows) < ROWS:
            longer = sorted([*rows, s.row])
            rows = longer if len(tables.drawn(part.table, longer, part.cut.columns)) <= _ROOM else rows
    if not rows:
        return None
    first, last = part.table.rows[rows[0]], part.table.rows[rows[-1]]
    return Quote(best.at, first.first, last.last, at, tuple(rows))


def _whole(passage: Passage, s: Sentence) -> Quote:
    """The sentence with what it cannot be understood without: its list, its lead-in, the sentence it refers to."""
    first = last = s.index
    lead = _lead_in(passage, s.index)
    if lead is not None:
        end = _list_end(passage, lead)
        if _length(passage, lead, end) <= _LIST:
            return Quote(s.at, lead, end)
        if lead == s.index:
            last = _reach(passage, first, end, _LIST)
        elif _length(passage, lead, s.index) <= _LIST:
            first = lead
    elif s.text.endswith((":", "：", "?", "？")):  # what answers it comes next
        last = _reach(passage, first, len(passage.spans) - 1, _LIST)
    elif _DEPENDENT.match(s.text) and _follows(passage, first) and _length(passage, first - 1, last) <= _ROOM:
        first -= 1
    if last == s.index:
        last = _reach(passage, first, _paragraph_end(passage, last), _BRIEF)
    return Quote(s.at, first, last)


def _length(passage: Passage, first: int, last: int) -> int:
    return passage.spans[last].end - passage.spans[first].start


def _reach(passage: Passage, first: int, last: int, room: int) -> int:
    """The last span up to `last` that can be quoted together with `first` in `room` characters."""
    end = first
    while end < last and _length(passage, first, end + 1) <= room:
        if not may_be_quoted(passage, end + 1, shortest=1):
            break
        end += 1
    return end


def _paragraph_end(passage: Passage, index: int) -> int:
    end = index
    while end + 1 < len(passage.spans) and passage.spans[end + 1].block == passage.spans[index].block:
        end += 1
    return end


def _lead_in(passage: Passage, index: int) -> int | None:
    """The span ending in a colon that the list around `index` hangs on; `index` itself if it is that span."""
    at = index
    while at >= 0 and _listed(passage, at):
        at -= 1
    if at < 0 or (at == index and not _listed(passage, index + 1)):
        return None
    leads = text_of(passage, at).endswith((":", "：")) and may_be_quoted(passage, at)
    return at if leads else None


def _list_end(passage: Passage, lead: int) -> int:
    end = lead
    while _listed(passage, end + 1):
        end += 1
    return end


def _listed(passage: Passage, index: int) -> bool:
    """Whether the span is an item, row or code block, or a further sentence of an item."""
    if not 0 <= index < len(passage.spans):
        return False
    span = passage.spans[index]
    opener = next((p for p in passage.spans[max(0, index - 8) : index + 1] if p.block == span.block), span)
    return opener.kind in ("item", "row", "code") and may_be_quoted(passage, index, shortest=1)


def _follows(passage: Passage, index: int) -> bool:
    """Whether the span continues a sentence right before it."""
    if index == 0:
        return False
    before = passage.spans[index - 1]
    gap = passage.text[before.end : passage.spans[index].start]
    return before.kind == "sentence" and gap.count("\n") < 3 and may_be_quoted(passage, index - 1)


def _merged(parts: Sequence[Quote]) -> list[Quote]:
    """Parts of one passage that touch become one; the order of passages stays."""
    found: list[Quote] = []
    for part in parts:
        touching = [f for f in found if _touch(f, part)]
        if not touching:
            found.append(part)
            continue
        together = [*touching, part]
        joined = Quote(part.at, min(p.first for p in together), max(p.last for p in together))
        at = found.index(touching[0])
        found = [joined if n == at else f for n, f in enumerate(found) if n == at or f not in touching]
    return found


def _touch(a: Quote, b: Quote) -> bool:
    plain = a.part is None and b.part is None
    return plain and a.at == b.at and a.first <= b.last + 1 and b.first <= a.last + 1
