"""A passage cut into sentences, list items, headings, table rows and code, as places in the text.

Everything is an offset, so that what is quoted later is the passage's own text, letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["sentence", "item", "heading", "row", "code"]

LONGEST = 400  # characters; a run without punctuation, or code, is cut before this, at a line or space

_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s*#{1,6}\s+(?=\S)")
_ITEM = re.compile(r"\s*(?:[-*+•‣·–]|\(?\d{1,3}[.)]|[a-zA-Z][.)])\s+(?=\S)")
_ROW = re.compile(r"\s*\|.*\|\s*$|\s*[^|\n]+\|[^|\n]+\|[^\n]*$")
_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_RULE = re.compile(r"[\s|:=_*+-]*$")
_END = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s)|[。！？]+[」』”’）]*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]|mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|approx|dept|est|fig|figs|"
    r"incl|inc|ltd|co|corp|no|nos|nr|op|pp?|par|para|ca|cf|resp|max|min|tel|ext|vol|ed|eds|al|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|bzw|usw|ggf|z\.b)$",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"[.!?…:;。！？][\"'”’»)\]*_]*$")


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]`, without surrounding space or list marker. `line` is where its line or block begins.

    Spans with the same `block` follow each other in one paragraph, item or line.
    """

    start: int
    end: int
    kind: Kind
    block: int
    line: int


def split(text: str, limit: int = 12_000) -> list[Span]:
    """The spans of a text, in order, none overlapping. Text beyond `limit` characters is not looked at."""
    spans: list[Span] = []
    for block, (start, end, kind) in enumerate(_blocks(text[:limit])):
        if kind == "code":
            spans += [Span(a, b, kind, block, start) for a, b in _cut(text, start, end)]
            continue
        inner = start
        if kind in ("item", "heading"):
            marker = (_ITEM if kind == "item" else _HEADING).match(text, start, end)
            inner = marker.end() if marker else start
        for n, (a, b) in enumerate(_sentences(text, inner, end)):
            spans.append(Span(a, b, "sentence" if kind == "item" and n else kind, block, start))
    return spans


def _blocks(text: str) -> Iterator[tuple[int, int, Kind]]:
    """Runs of lines that belong together."""
    lines = _lines(text)
    n, in_table = 0, False
    while n < len(lines):
        start, end = lines[n]
        line = text[start:end]
        in_table = "|" in line and (in_table or _is_header(text, lines, n))
        if not line.strip() or _RULE.match(line):
            n += 1
        elif fence := _FENCE.match(line):
            close = next((m for m in range(n + 1, len(lines)) if _starts(text, lines[m], fence[1])), len(lines) - 1)
            yield start, lines[close][1], "code"
            n = close + 1
        elif in_table or _ROW.match(line):
            yield start, end, "row"
            n += 1
        elif _HEADING.match(line) or _is_title(text, lines, n):
            yield start, end, "heading"
            n += 1
        else:
            last = n
            while last + 1 < len(lines) and _continues(text, lines[last], lines[last + 1]):
                last += 1
            yield start, lines[last][1], "item" if _ITEM.match(line) else "sentence"
            n = last + 1


def _lines(text: str) -> list[tuple[int, int]]:
    found, start = [], 0
    for match in re.finditer(r"\r\n|[\n\r\v\f\u2028\u2029]", text):
        found.append((start, match.start()))
        start = match.end()
    return [*found, (start, len(text))]


def _starts(text: str, line: tuple[int, int], mark: str) -> bool:
    return text[line[0] : line[1]].lstrip().startswith(mark)


def _is_header(text: str, lines: list[tuple[int, int]], n: int) -> bool:
    """Whether a delimiter row follows: then rows need no bars at their ends."""
    return n + 1 < len(lines) and bool(_DELIMITER.match(text[slice(*lines[n + 1])]))


def _is_title(text: str, lines: list[tuple[int, int]], n: int) -> bool:
    """A short line that stands alone, ends without a full stop and is no item."""
    line = text[slice(*lines[n])]
    if len(line.strip()) > 80 or _ITEM.match(line) or _CLOSED.search(line.strip()):
        return False
    before = n == 0 or not text[slice(*lines[n - 1])].strip()
    after = n + 1 < len(lines) and not text[slice(*lines[n + 1])].strip()
    return before and after


def _continues(text: str, line: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a sentence may run on from one line into the next: text that was wrapped, not laid out."""
    here, there = text[slice(*line)].rstrip(), text[slice(*after)]
    following = there.lstrip()
    if not following or any(p.match(there) for p in (_ITEM, _FENCE, _HEADING, _ROW, _RULE)):
        return False
    return following[0].islower() or (len(here) >= 60 and not _CLOSED.search(here))


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for match in _END.finditer(text, start, end):
        if _ends_sentence(text, begin, match, end):
            yield from _cut(text, begin, match.end())
            begin = match.end()
    yield from _cut(text, begin, end)


def _ends_sentence(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    if not match[0].startswith("."):
        return True
    after = text[match.end() : end].lstrip()[:1]
    if after.islower():
        return False
    before = text[max(begin, match.start() - 24) : match.start()]
    return not _ABBREVIATION.search(before) and not re.fullmatch(r"\s*\d{1,3}", before)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for a, b in _trimmed(text, start, end):
        while b - a > LONGEST:
            line, space = (text.rfind(mark, a + LONGEST // 2, a + LONGEST) for mark in "\n ")
            middle = max(line, a) if line > 0 else max(space, a)
            middle = middle if middle > a else a + LONGEST
            yield from _trimmed(text, a, middle)
            a = middle + len(text[middle:b]) - len(text[middle:b].lstrip())
        if a < b:
            yield a, b


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    inner = text[start:end]
    if inner.strip():
        yield start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())
