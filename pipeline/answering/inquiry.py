"""What a question asks in its conversation: on its own, or as a short follow-up that leaves its subject out. Pure.

"And for a whole week?" is no question without the one before it, and that one may have been a follow-up as well. Such
a chain is read together; what was answered meanwhile is left out. English forms only, like the function words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.types import Json
from pipeline.answering.words import words

_CHAIN = 5  # turns that a follow-up is traced back over
_REMEMBERED = 8  # turns in which the other one of two may have been named
_SHORT = 4  # words, other than function words, that a follow-up has at most
_BRIEF = 6  # words of any kind in one that begins like a part of a sentence
_KEPT = 400  # characters of an earlier turn

_VERB = (
    r"(?:is|are|am|was|were|does|do|did|can|could|may|might|will|would|shall|should|has|have|had|must|i|you|we|they|"
    r"please|tell|show|give|let|need|want)\b"
)
_LEAD = re.compile(
    r"\W*(?:(?:and|or|but|so|also|then|okay|ok|plus|what about|how about|the same)\b[\s,:…-]*)+", re.IGNORECASE
)
_PART = re.compile(
    r"\W*(?:how (?:much|long|many|far|often) )?(?:for|on|in|at|with|without|from|to|by|per|after|before|during|the|a|an"
    r"|any)\b(?!\s+(?:what|which|whom|how)\b)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(rf"\W*(?:(?:who|what|when|where|which|why|how|whose)\b.*?\b)?{_VERB}", re.IGNORECASE)
_ANY_VERB = re.compile(rf"\b{_VERB}", re.IGNORECASE)
_POINTING = re.compile(r"\b(?:it|its|that|this|they|them|those|these|ones?|there)\b", re.IGNORECASE)
_ONE = re.compile(r"\b(?:the|an?) [\w'-]+ ones?\b", re.IGNORECASE)
_OTHER = re.compile(r"\b(?:the|any|all|both|some|your|an|on|for|in)\s?others?\b|\bthe rest\b|\bothers\b", re.IGNORECASE)
_COURTESY = re.compile(
    r"\W*(?:hi|hello|hey|good (?:morning|day|evening)|ok(?:ay)?|thanks?(?: you)?(?: very much)?|great|cool|yes|no)\W*",
    re.IGNORECASE,
)
_ASKING = frozenset(words("much many long often far old big whole entire instead else another other rest"))


@dataclass(frozen=True, slots=True)
class Said:
    """One thing the user asked. `other`: for what was not meant before, as in "and the other one?"."""

    text: str
    words: frozenset[str]
    other: bool = False

    @property
    def named(self) -> frozenset[str]:
        """Its words without those that only ask."""
        return self.words - _ASKING


@dataclass(frozen=True, slots=True)
class Inquiry:
    """`turns`: the question and, when it is a follow-up, those it follows up, newest first. `before`: older ones.

    The oldest of `turns` is never `other`.
    """

    turns: tuple[Said, ...]
    before: tuple[Said, ...]

    @property
    def question(self) -> Said:
        return self.turns[0]

    @property
    def follows(self) -> bool:
        return len(self.turns) > 1

    @property
    def other(self) -> bool:
        return any(turn.other for turn in self.turns)

    @property
    def topic(self) -> tuple[Said, ...]:
        """The chain without those that ask for the other one, newest first."""
        return tuple(turn for turn in self.turns if not turn.other)

    @property
    def text(self) -> str:
        """The topic in one text, oldest turn first."""
        return "\n".join(turn.text for turn in reversed(self.topic))


def read_inquiry(question: str, history: Sequence[Json]) -> Inquiry:
    """The question with those of `history` (messages with role and text, oldest first) that it rests on."""
    asked = (str(m.get("text") or "").strip() for m in reversed(history) if m.get("role") == "user")
    earlier = [text[-_KEPT:] for text in asked if text and not _COURTESY.fullmatch(text)]
    texts = [question, *earlier[: _REMEMBERED - 1]]
    length = 1
    while length < min(len(texts), _CHAIN) and _is_follow_up(texts[length - 1]):
        length += 1
    turns = [Said(text, frozenset(words(text)), _asks_for_other(text)) for text in texts]
    oldest = Said(turns[length - 1].text, turns[length - 1].words)
    return Inquiry((*turns[: length - 1], oldest), tuple(turns[length:]))


def _is_follow_up(text: str) -> bool:
    """Whether it asks about something that it does not name."""
    lead = _LEAD.match(text)
    rest = text[lead.end() :] if lead else text
    if not text.strip() or len(set(words(text)) - _ASKING) > _SHORT:
        return False
    if _asks_for_other(text) or _ONE.search(rest):
        return True
    if _CLAUSE.match(rest):
        return lead is not None and bool(_POINTING.search(rest))
    if lead is not None:
        return True
    return bool(_PART.match(rest)) and len(rest.split()) <= _BRIEF and not _ANY_VERB.search(rest)


def _asks_for_other(text: str) -> bool:
    return bool(_OTHER.search(text)) and len(set(words(text)) - _ASKING) <= 2
