"""Which sentences of the hits carry the answer: first by words, then the best of them by meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from kernel.types import Json
from pipeline.answering.sentences import Span, split
from pipeline.answering.words import rarity, words
from pipeline.embedding.batcher import Kind, Vectors

EMBEDDED = 12  # sentences that are compared by meaning: more cost time and find nothing better
_HITS = 10
_EARLIER = 0.3  # weight of the previous user turn against the last one, by words and by meaning
_HEADING = 0.4  # what a word is worth that stands in the heading or title above the sentence
_MEANING, _WORDS, _RANK = 0.65, 0.2, 0.15
_UNHEARD = 0.1
_FRAGMENT = 0.07  # what a line that is no whole sentence is worth less
_STOPS = (".", "!", "?", "…", ":", "。", "！", "？", "：")


class Embed(Protocol):
    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit with its text cut up. `rank` is its score against the best hit's, 0 to 1; `cosine` is None if unknown."""

    hit: Json
    text: str
    title: str
    spans: Sequence[Span]
    rank: float
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One span of one passage: `at` counts into `passages` and `index` into the passage's spans.

    `covered` is the share of the question's words, by weight, found in it or, at a discount, in its heading.
    """

    at: int
    index: int
    text: str
    words: frozenset[str]
    covered: float = 0.0
    cosine: float = 0.0
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """The passages, their best sentences (best first), and how much speaks for an answer being among them.

    `evidence` is on the scale of a cosine: the mean of the best passage's and the best sentence's cosine with the
    question in its conversation, less 0.1 where the passages hold fewer than a third of the question's own words.
    The sentence sees through a conversation that turned elsewhere, the passage through a chance resemblance.
    """

    passages: Sequence[Passage]
    sentences: Sequence[Sentence]
    evidence: float


async def rank(embedder: Embed, question: str, history: Sequence[Json], hits: Sequence[Json]) -> Ranking:
    """Ranks the sentences of the hits for a question in its conversation. One call of the embedder."""
    passages = [p for n, hit in enumerate(hits[:_HITS]) if (p := _passage(hit, n, hits))]
    earlier = earlier_question(history)
    wanted = _weights(question, earlier)
    likely = _likely(passages, wanted)
    if not likely:
        return Ranking(passages, [], -1.0)
    asked = [question, earlier] if earlier else [question]
    vectors = await embedder.embed([*asked, *(_in_context(passages, s) for s in likely)], kind="query")
    view = vectors[0] + _EARLIER * vectors[1] if earlier else vectors[0]
    view = view / max(float(np.linalg.norm(view)), 1e-9)
    cosines = vectors[len(asked) :] @ view
    scored = [_scored(s, float(c), passages[s.at]) for s, c in zip(likely, cosines, strict=True)]
    scored.sort(key=lambda s: -s.score)
    return Ranking(passages, scored, _evidence(question, passages, float(cosines.max())))


def earlier_question(history: Sequence[Json]) -> str:
    """What the user said before the question."""
    return next((str(m.get("text") or "") for m in reversed(history) if m.get("role") == "user"), "")


def _passage(hit: Json, n: int, hits: Sequence[Json]) -> Passage | None:
    text = hit.get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    best, score = _number(hits[0].get("score")), _number(hit.get("score"))
    rank = score / best if best and score is not None and 0 <= score <= best else 1 / (n + 1)
    title = hit.get("title")
    return Passage(
        hit, text, title if isinstance(title, str) else "", split(text), rank, _number(hit.get("dense_score"))
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else None


def _weights(question: str, earlier: str) -> Mapping[str, float]:
    return dict.fromkeys(words(earlier), _EARLIER) | dict.fromkeys(words(question), 1.0)


def _likely(passages: Sequence[Passage], wanted: Mapping[str, float]) -> list[Sentence]:
    """The sentences that share most with the question, at most EMBEDDED."""
    found = [
        Sentence(at, index, body, frozenset(words(body)))
        for at, passage in enumerate(passages)
        for index, span in enumerate(passage.spans)
        if may_be_quoted(span, body := passage.text[span.start : span.end])
    ]
    rare = rarity(s.words for s in found)
    weight = {word: share * rare.get(word, max(rare.values(), default=1.0)) for word, share in wanted.items()}
    total = sum(weight.values()) or 1.0
    headings = [_headings(passage) for passage in passages]

    def covered(s: Sentence) -> float:
        own = sum(w for word, w in weight.items() if word in s.words)
        above = headings[s.at][s.index]
        return (own + _HEADING * sum(w for word, w in weight.items() if word in above and word not in s.words)) / total

    found = [replace(s, covered=covered(s)) for s in found]
    found.sort(key=lambda s: -(s.covered + 0.3 * passages[s.at].rank))
    return found[:EMBEDDED]


def text_of(passage: Passage, index: int) -> str:
    return passage.text[passage.spans[index].start : passage.spans[index].end]


def may_be_quoted(span: Span, body: str, *, shortest: int = 12) -> bool:
    """Not a heading, nor a crumb, nor anything that would load a picture where it is shown."""
    return span.kind != "heading" and len(body) >= shortest and "![" not in body and "<img" not in body.lower()


def _headings(passage: Passage) -> list[frozenset[str]]:
    """For each span, the words of the title and of the nearest heading above it."""
    title = frozenset(words(passage.title))
    above, found = title, []
    for span in passage.spans:
        if span.kind == "heading":
            above = title | frozenset(words(passage.text[span.start : span.end]))
        found.append(above)
    return found


def _in_context(passages: Sequence[Passage], s: Sentence) -> str:
    """A short sentence says little without the heading above it."""
    if len(s.text) >= 60:
        return s.text
    passage = passages[s.at]
    above = [p for p in passage.spans[: s.index] if p.kind == "heading"]
    heading = passage.text[above[-1].start : above[-1].end] if above else passage.title
    return f"{heading}: {s.text}" if heading else s.text


def _scored(s: Sentence, cosine: float, passage: Passage) -> Sentence:
    score = _MEANING * cosine + _WORDS * s.covered + _RANK * passage.rank
    ends = s.text.rstrip("*_)\"'”’»]").endswith(_STOPS) and not s.text[0].islower()
    fragment = passage.spans[s.index].kind == "sentence" and not ends
    return replace(s, cosine=cosine, score=score - _FRAGMENT if fragment else score)


def _evidence(question: str, passages: Sequence[Passage], best: float) -> float:
    known = [p.cosine for p in passages if p.cosine is not None]
    cosine = (max(known) + best) / 2 if known else best
    asked = set(words(question))
    held = {word for p in passages[:3] for word in words(f"{p.title}\n{p.text}")}
    return cosine - _UNHEARD if 3 * len(asked & held) < len(asked) else cosine
