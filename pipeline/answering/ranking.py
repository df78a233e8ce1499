"""Which sentences of the hits carry the answer: first by words, then the best of them by meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kernel.types import Json
from pipeline.answering.contrast import other_ones
from pipeline.answering.inquiry import Inquiry, read_inquiry
from pipeline.answering.passages import Passage, Sentence, in_context, read_passages, read_sentences
from pipeline.answering.settling import ROWS
from pipeline.answering.words import rarity, words
from pipeline.embedding.batcher import Kind, Vectors

EMBEDDED = 12  # sentences that are compared by meaning: more cost time and find nothing better
_EARLIER = 0.3  # weight of the previous user turn against the last one, by words and by meaning
_TOPIC = 0.6  # the same for one that the question follows up, and again for the one before it
_HEADING = 0.4  # what a word is worth that stands in the heading or title above the sentence
_MEANING, _WORDS, _RANK = 0.65, 0.2, 0.15
NEAR = 0.8  # how close to the best sentence's score another must come to be quoted as well
_NAMED = 0.6  # share of what the best of these name of a follow-up's words that others must name
_UNHEARD = 0.1
_UNMET = 0.3  # what speaks against an answer that does not name what a follow-up adds
_FRAGMENT = 0.07  # what a line that is no whole sentence is worth less
_ELSEWHERE = 0.12  # and one about another row or column of the passage's table than was asked for
_STOPS = (".", "!", "?", "…", ":", "。", "！", "？", "：")


class Embed(Protocol):
    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Ranking:
    """The passages, their best sentences (best first), and how much speaks for an answer being among them.

    `evidence` is on the scale of a cosine: the mean of the best passage's and the best sentence's cosine with the
    question in its conversation, less 0.1 where the passages hold fewer than a third of the question's own words. A
    follow-up brings its topic along, so what it adds has to be named: else it is 0.3 less.
    The sentence sees through a conversation that turned elsewhere, the passage through a chance resemblance.
    `asked` are the question's own words.
    """

    passages: Sequence[Passage]
    sentences: Sequence[Sentence]
    evidence: float
    asked: frozenset[str]


async def rank(embedder: Embed, question: str, history: Sequence[Json], hits: Sequence[Json]) -> Ranking:
    """Ranks the sentences of the hits for a question in its conversation. One call of the embedder."""
    inquiry = read_inquiry(question, history)
    passages = read_passages(hits, inquiry)
    likely = _likely(passages, read_sentences(passages), _weights(inquiry))
    if not likely:
        return Ranking(passages, [], -1.0, frozenset())
    asked = _views(inquiry)
    texts = [*(text for text, _ in asked), *(in_context(passages[s.at], s) for s in likely)]
    vectors = await embedder.embed(texts, kind="query")
    cosines = vectors[len(asked) :] @ _joined(vectors, [weight for _, weight in asked])
    scored = [_scored(s, float(c), passages[s.at]) for s, c in zip(likely, cosines, strict=True)]
    scored.sort(key=lambda s: -s.score)
    evidence = _evidence(inquiry, passages, float(cosines.max()))
    if inquiry.other:
        scored, passages = other_ones(passages, scored, inquiry)
        evidence = evidence if scored else -1.0
    elif inquiry.follows:
        scored, met = _to_the_point(scored, inquiry)
        evidence -= 0.0 if met else _UNMET
    return Ranking(passages, scored, evidence, inquiry.question.words)


def _views(inquiry: Inquiry) -> list[tuple[str, float]]:
    """The texts whose weighted sum the sentences are compared with."""
    if inquiry.follows:
        return [(inquiry.text, 1.0), (inquiry.question.text, 0.0 if inquiry.question.other else _EARLIER)]
    return [(inquiry.question.text, 1.0), *((said.text, _EARLIER) for said in inquiry.before[:1])]


def _joined(vectors: Vectors, weights: Sequence[float]) -> npt.NDArray[np.float32]:
    view = np.array(weights, dtype=np.float32) @ vectors[: len(weights)]
    unit: npt.NDArray[np.float32] = view / max(float(np.linalg.norm(view)), 1e-9)
    return unit


def _weights(inquiry: Inquiry) -> Mapping[str, float]:
    """What a word counts: the newest turn that says it decides."""
    if not inquiry.follows:
        earlier = dict.fromkeys((word for said in inquiry.before[:1] for word in said.words), _EARLIER)
        return earlier | dict.fromkeys(inquiry.question.words, 1.0)
    weights: dict[str, float] = {}
    for depth, said in enumerate(inquiry.topic):
        weights = dict.fromkeys(said.words, _TOPIC**depth) | weights
    return weights


def _likely(passages: Sequence[Passage], found: Sequence[Sentence], wanted: Mapping[str, float]) -> list[Sentence]:
    """The sentences that share most with the question, at most EMBEDDED."""
    rare = rarity(s.words for s in found)
    weight = {word: share * rare.get(word, max(rare.values(), default=1.0)) for word, share in wanted.items()}
    total = sum(weight.values()) or 1.0

    def covered(s: Sentence) -> float:
        own = sum(w for word, w in weight.items() if word in s.words)
        return (own + _HEADING * sum(w for word, w in weight.items() if word in s.above - s.words)) / total

    ordered = [replace(s, covered=covered(s)) for s in found]
    ordered.sort(key=lambda s: -(s.covered + 0.3 * passages[s.at].rank))
    return _without_crowds(ordered)[:EMBEDDED]


def _without_crowds(sentences: Iterable[Sentence]) -> list[Sentence]:
    """No table's rows take the place of everything else."""
    kept, rows = list[Sentence](), dict[tuple[int, int], int]()
    for s in sentences:
        if s.part is not None:
            rows[s.at, s.part] = rows.get((s.at, s.part), 0) + 1
        if s.part is None or rows[s.at, s.part] <= ROWS:
            kept.append(s)
    return kept


def _scored(s: Sentence, cosine: float, passage: Passage) -> Sentence:
    score = _MEANING * cosine + _WORDS * s.covered + _RANK * passage.rank
    if s.part is None:
        ends = s.text.rstrip("*_)\"'”’»]").endswith(_STOPS) and not s.text[0].islower()
        score -= _FRAGMENT if passage.spans[s.index].kind == "sentence" and not ends else 0.0
        score -= _ELSEWHERE if s.elsewhere else 0.0
    return replace(s, cosine=cosine, score=score)


def _evidence(inquiry: Inquiry, passages: Sequence[Passage], best: float) -> float:
    known = [p.cosine for p in passages if p.cosine is not None]
    cosine = (max(known) + best) / 2 if known else best
    if inquiry.follows:
        return cosine
    asked = inquiry.question.words
    held = {word for p in passages[:3] for word in words(f"{p.title}\n{p.text}")}
    return cosine - _UNHEARD if 3 * len(asked & held) < len(asked) else cosine


def _to_the_point(scored: Sequence[Sentence], inquiry: Inquiry) -> tuple[list[Sentence], bool]:
    """What names the thing that a follow-up turns to as well as any of the best does, and whether these do at all.

    Words count by rarity: a sentence with the bike of "and a mountain bike?" does not name it.
    """
    rare = rarity(s.words | s.above for s in scored)
    rarest = max(rare.values())

    def named(s: Sentence) -> float:
        return sum(rare[word] for word in inquiry.question.named & (s.words | s.above))

    most = max(named(s) for s in scored if s.score >= NEAR * scored[0].score)
    asked = sum(rare.get(word, rarest) for word in inquiry.question.named)
    return [s for s in scored if named(s) >= _NAMED * most], 2 * most >= asked
