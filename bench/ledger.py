"""What was sent, what people saw, and what the two say about a run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a run. `ambiguous` are repeats that the store had marked as possible; `doubled` all others."""

    sent: int
    answered: int
    lost: Sequence[str]
    doubled: Sequence[str]
    ambiguous: Sequence[str]
    disordered: Sequence[str]

    @property
    def kept(self) -> bool:
        return not (self.lost or self.doubled or self.disordered)


def judge(sent: Mapping[int, Sequence[str]], seen: Mapping[int, Sequence[str]], doubtful: Collection[str]) -> Verdict:
    """Compares by conversation. `sent` and `seen` are tokens in order; `doubtful` those whose send was ambiguous.

    A token seen twice is a repeat; order is judged by first sightings.
    """
    lost, doubled, ambiguous, disordered = list[str](), list[str](), list[str](), list[str]()
    for chat, tokens in sent.items():
        sightings = Counter(seen.get(chat, ()))
        lost += [token for token in tokens if not sightings[token]]
        for token in (token for token, count in sightings.items() if count > 1):
            (ambiguous if token in doubtful else doubled).append(token)
        first = list(dict.fromkeys(token for token in seen.get(chat, ()) if token in set(tokens)))
        expected = [token for token in tokens if sightings[token]]
        disordered += [token for token, other in zip(first, expected, strict=True) if token != other]
    total = sum(len(tokens) for tokens in sent.values())
    return Verdict(total, total - len(lost), lost, doubled, ambiguous, disordered)
