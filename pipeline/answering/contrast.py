"""The other one of two: what stands beside an answer, like it but about something else. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.answering.inquiry import Inquiry
from pipeline.answering.passages import Passage, Sentence

_NEAR = 0.8  # how close to the best score a table's row must come for the table to be what was spoken of
_ALIKE = 0.4  # share of words that two sentences have in common when they say the same of two things
_PARALLEL = 0.2  # what being alike is worth


def other_ones(
    passages: Sequence[Passage], scored: Sequence[Sentence], inquiry: Inquiry
) -> tuple[list[Sentence], list[Passage]]:
    """The sentences about the other one, best first, and the passages with what was said of the first one closed.

    `scored` is ordered by how well a sentence answers the topic. Rows of a table have been settled on before.
    """
    best = scored[0]
    if rows := [s for s in scored if _settled(passages, s) and s.score >= _NEAR * best.score]:
        return [s for s in rows if (s.at, s.part) == (rows[0].at, rows[0].part)], list(passages)
    topic = frozenset[str]().union(*(said.words for said in inquiry.topic))
    about = topic & (best.words | best.above)
    found = [
        replace(s, score=s.score + _PARALLEL * alike)
        for s in scored[1:]
        if s.part is None
        and _kind(passages, s) == _kind(passages, best)
        and (alike := _alike(s, best))
        and topic & (s.words | s.above)
        and about - s.words - s.above
    ]
    closed = [replace(p, closed=frozenset({best.index})) if at == best.at else p for at, p in enumerate(passages)]
    return sorted(found, key=lambda s: -s.score), closed


def _alike(s: Sentence, t: Sentence) -> float:
    """The share of words in common, function words too, or 0 when that says nothing."""
    a, b = (frozenset(re.findall(r"\w+", text.casefold())) for text in (s.text, t.text))
    share = len(a & b) / max(1, min(len(a), len(b)))
    return share if s.words & t.words and len(a & b) > 1 and share >= _ALIKE else 0.0


def _kind(passages: Sequence[Passage], s: Sentence) -> str:
    return passages[s.at].spans[s.index].kind


def _settled(passages: Sequence[Passage], s: Sentence) -> bool:
    return s.part is not None and passages[s.at].parts[s.part].cut.named
