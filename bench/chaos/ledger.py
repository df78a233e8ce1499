"""What was sent, what people saw, and what the two say about a run. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Place = TypeVar("Place", bound=Hashable)
WORD = re.compile(r"c\d+m\d+(?:p\d+)?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of a run. `ambiguous` are repeats that the store had marked as possible; `doubled` all others.
    `astray` was seen where nobody had said it."""

    sent: int
    answered: int
    lost: Sequence[str]
    doubled: Sequence[str]
    ambiguous: Sequence[str]
    disordered: Sequence[str]
    astray: Sequence[str] = ()

    @property
    def kept(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.astray)

    @property
    def faults(self) -> dict[str, Sequence[str]]:
        return {
            "lost": self.lost, "doubled": self.doubled, "out of order": self.disordered, "astray": self.astray,
        }  # fmt: skip


def judge(
    sent: Mapping[Place, Sequence[str]],
    seen: Mapping[Place, Sequence[str]],
    doubtful: Collection[str],
    *,
    excused: Collection[str] = (),
) -> Verdict:
    """Compares by conversation. `sent` and `seen` are tokens in order; `doubtful` those whose send was ambiguous;
    `excused` those that a person was told had failed: they may be answered once or not at all, and at any time.

    A token seen twice is a repeat; order is judged by first sightings.
    """
    lost, doubled, ambiguous, disordered, astray = list[str](), list[str](), list[str](), list[str](), list[str]()
    for chat in {*sent, *seen}:
        tokens, sightings = sent.get(chat, ()), Counter(seen.get(chat, ()))
        known = set(tokens)
        lost += [token for token in tokens if not sightings[token] and token not in excused]
        astray += [token for token in sightings if token not in known]
        for token in (token for token, count in sightings.items() if count > 1):
            (ambiguous if token in doubtful else doubled).append(token)
        first = list(dict.fromkeys(token for token in seen.get(chat, ()) if token in known and token not in excused))
        expected = [token for token in tokens if sightings[token] and token not in excused]
        disordered += [token for token, other in zip(first, expected, strict=True) if token != other]
    counted = [token for tokens in sent.values() for token in tokens if token not in excused]
    return Verdict(len(counted), len(counted) - len(lost), lost, doubled, ambiguous, disordered, astray)


def words(texts: Iterable[str]) -> list[str]:
    """The tokens in some texts, in order."""
    return [token for text in texts for token in WORD.findall(text)]


def messages(tokens: Iterable[str]) -> int:
    """How many messages some tokens belong to."""
    return len({message_of(token) for token in tokens})


def message_of(token: str) -> str:
    return token.partition("p")[0]


def long_text(word: str, rows: int) -> str:
    """A table whose rows are marked one by one. It is short as it is written and long as it is shown, so that a
    message that a person may write becomes an answer in several."""
    head = f"|{'w' * 24}|n|\n|-:|-|\n"
    return head + "\n".join(f"|{word}p{n}|{n}|" for n in range(rows))
