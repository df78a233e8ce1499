"""What a question in a conversation is searched by: weighted texts, never one concatenation. Pure.

A follow-up names little ("and for attachments?"); what it leaves out stands in the turns before. Their words are
added to BM25 with a small weight, and the vector of the last answer is added to the question's own. No model is
asked to rewrite anything. The weights were measured on two public multi-turn collections (MTRAG, Katsis et al.,
2025): they lie on a plateau, and older turns or the answer's words added nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PREVIOUS_QUESTION = 0.3
_LAST_ANSWER = 0.5
_ANSWER_CHARACTERS = 600
_DENSE_SHARE = 0.5
_DENSE_SHARE_WITH_HISTORY = 0.6


@dataclass(frozen=True, slots=True)
class WeightedText:
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """`lexical` texts go to BM25, `dense` texts to the embedding model; `alpha` is the share of the dense score.

    The question comes first in both, with weight 1.
    """

    lexical: tuple[WeightedText, ...]
    dense: tuple[WeightedText, ...]
    alpha: float


def plan_search(query: str, history: Sequence[Mapping[str, str]] = ()) -> SearchPlan:
    """The plan for `query` after `history`: turns `{"role": "user" | "assistant", "text": …}`, oldest first.

    Turns of other roles, and empty ones, are ignored.
    """
    question = WeightedText(query, 1.0)
    asked = _last(history, "user")
    answered = _last(history, "assistant")[:_ANSWER_CHARACTERS]
    before = (WeightedText(asked, _PREVIOUS_QUESTION),) if asked else ()
    context = (WeightedText(answered, _LAST_ANSWER),) if answered else before
    alpha = _DENSE_SHARE_WITH_HISTORY if context else _DENSE_SHARE
    return SearchPlan((question, *before), (question, *context), alpha)


def combine(vectors: npt.NDArray[np.float32], texts: Sequence[WeightedText]) -> npt.NDArray[np.float32]:
    """The unit vector of the weighted sum; `vectors` is float32 (len(texts), dimension), in the plan's order."""
    total = np.array([text.weight for text in texts], dtype=np.float32) @ vectors
    length = float(np.linalg.norm(total))
    unit: npt.NDArray[np.float32] = total / length if length > 0 else vectors[0]
    return unit


def _last(history: Sequence[Mapping[str, str]], role: str) -> str:
    texts = (turn["text"].strip() for turn in reversed(history) if turn["role"] == role)
    return next((text for text in texts if text), "")
