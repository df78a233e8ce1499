"""The answer without a model: the sentences that carry it, quoted letter by letter, or an honest "I don't know"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kernel.types import Json
from pipeline.answering.citations import citation
from pipeline.answering.passages import Passage
from pipeline.answering.quoting import Quote, quoted, select, shown
from pipeline.answering.ranking import Embed as Embed
from pipeline.answering.ranking import rank

MODEL = "extractive"


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


def _composed(passages: Sequence[Passage], quotes: Sequence[Quote]) -> tuple[str, list[Json]]:
    lines, citations, named = list[str](), list[Json](), ""
    for number, quote in enumerate(quotes, 1):
        passage = passages[quote.at]
        title = _plain(passage.title)
        if title and title != named:
            lines.append(f"**{title}**")
        named = title
        text = re.sub(r"\s*\n(?:[ \t\r]*\n)+", "\n\n", shown(passages, quote).strip())
        body = re.sub(r"(?m)^", "> ", text).replace("> \n", ">\n")
        lines.append(body + _mark(passage, quote, number))
        citations.append(citation(number, passage.hit, quoted(passages, quote)))
    return "\n\n".join(lines), citations


def _mark(passage: Passage, quote: Quote, number: int) -> str:
    """What a table or code is followed by must not become a part of it."""
    if quote.part is not None:
        return f"\n\n[{number}]"
    return f"\n>\n> [{number}]" if passage.spans[quote.last].kind == "code" else f" [{number}]"


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
