"""The answer without a model: the sentences that carry it, quoted letter by letter, or an honest "I don't know"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernel.types import Json
from pipeline.answering.citations import citation
from pipeline.answering.ranking import Embed as Embed
from pipeline.answering.ranking import Passage, Ranking, Sentence, may_be_quoted, rank, text_of

MODEL = "extractive"

_MOST = 3  # sentences that an answer is built on
_NEAR = 0.8  # how close to the best sentence's score another must come
_SAME = 0.6  # share of words at which two sentences say the same
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
    """Spans `first` to `last` of passage `at`."""

    at: int
    first: int
    last: int


async def answer_from_passages(
    embedder: Embed, question: str, history: Sequence[Json], hits: Sequence[Json], threshold: float
) -> Json:
    """An answer in the shape of `pipeline.machine.Answer`. Raises only what the embedder raises."""
    ranking = await rank(embedder, question, history, hits)
    quotes = select(ranking) if ranking.evidence >= threshold else []
    text, citations = _composed(ranking.passages, quotes) if quotes else (_unknown(ranking.passages), [])
    return {
        "text": text,
        "citations": citations,
        "grounded": bool(quotes),
        "unknown": not quotes,
        "score": round(max(ranking.evidence, 0.0), 4),
        "model": MODEL,
        "fallback_used": False,
    }


def select(ranking: Ranking) -> list[Quote]:
    """What to quote: the best passage's part first, parts of one passage in its order."""
    parts: list[Quote] = []
    for sentence in _carrying(ranking.sentences):
        part = _whole(ranking.passages[sentence.at], sentence)
        if quoted(ranking.passages, part).endswith(("?", "？")):
            continue
        longer = _merged([*parts, part])
        if sum(len(quoted(ranking.passages, part)) for part in longer) <= _ROOM:
            parts = longer
    order = list(dict.fromkeys(p.at for p in parts))
    return sorted(parts, key=lambda p: (order.index(p.at), p.first))


def quoted(passages: Sequence[Passage], quote: Quote) -> str:
    """The quote's text, a substring of its passage. A list keeps the marker of its first item."""
    passage = passages[quote.at]
    first, last = passage.spans[quote.first], passage.spans[quote.last]
    alone = quote.first == quote.last or first.kind != "item"
    return passage.text[first.start if alone else first.line : last.end].strip()


def _carrying(sentences: Sequence[Sentence]) -> Iterator[Sentence]:
    taken: list[Sentence] = []
    for s in sentences:
        if taken and (s.score < _NEAR * taken[0].score or len(taken) == _MOST):
            return
        if all(len(s.words & t.words) < _SAME * max(1, min(len(s.words), len(t.words))) for t in taken):
            taken.append(s)
            yield s


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
        if not may_be_quoted(passage.spans[end + 1], text_of(passage, end + 1), shortest=1):
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
    leads = text_of(passage, at).endswith((":", "：")) and may_be_quoted(passage.spans[at], text_of(passage, at))
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
    return opener.kind in ("item", "row", "code") and may_be_quoted(span, text_of(passage, index), shortest=1)


def _follows(passage: Passage, index: int) -> bool:
    """Whether the span continues a sentence right before it."""
    if index == 0:
        return False
    before = passage.spans[index - 1]
    gap = passage.text[before.end : passage.spans[index].start]
    return before.kind == "sentence" and gap.count("\n") < 3 and may_be_quoted(before, text_of(passage, index - 1))


def _merged(parts: Sequence[Quote]) -> list[Quote]:
    """Parts of one passage that touch become one; the order of passages stays."""
    found: list[Quote] = []
    for part in parts:
        touching = [f for f in found if f.at == part.at and f.first <= part.last + 1 and part.first <= f.last + 1]
        if not touching:
            found.append(part)
            continue
        together = [*touching, part]
        joined = Quote(part.at, min(p.first for p in together), max(p.last for p in together))
        at = found.index(touching[0])
        found = [joined if n == at else f for n, f in enumerate(found) if n == at or f not in touching]
    return found


def _composed(passages: Sequence[Passage], quotes: Sequence[Quote]) -> tuple[str, list[Json]]:
    lines, citations, shown = list[str](), list[Json](), ""
    for number, quote in enumerate(quotes, 1):
        passage, text = passages[quote.at], quoted(passages, quote)
        title = _plain(passage.title)
        if title and title != shown:
            lines.append(f"**{title}**")
        shown = title
        body = re.sub(r"(?m)^", "> ", re.sub(r"\s*\n(?:[ \t\r]*\n)+", "\n\n", text)).replace("> \n", ">\n")
        mark = f"\n>\n> [{number}]" if passage.spans[quote.last].kind in ("code", "row") else f" [{number}]"
        lines.append(body + mark)
        citations.append(citation(number, passage.hit, text))
    return "\n\n".join(lines), citations


def _unknown(passages: Sequence[Passage]) -> str:
    titles = list(dict.fromkeys(title for p in passages if (title := _plain(p.title))))[:3]
    if not passages:
        return "I don't know: I searched this workspace's documents and found nothing about that."
    where = f", in {_listing(titles)}," if titles else ""
    return (
        f"I don't know. I searched this workspace's documents; the closest passages{where} don't answer that. "
        "Other words, or a little more detail, may help me find it."
    )


def _listing(titles: Sequence[str]) -> str:
    marked = [f"*{title}*" for title in titles]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"


def _plain(title: str) -> str:
    """A title on one line, without characters that markdown would read."""
    return " ".join(re.sub(r"[*_`\[\]<>#\\!]", " ", title.replace("|", "·")).split())[:120].strip()
