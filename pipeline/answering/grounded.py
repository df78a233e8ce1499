"""A model's answer held to its passages, with the extractive one behind it.

Pieces are given out as they come, already clean. They are provisional: when the provider fails halfway, what was
streamed is void and the returned text, drawn from the passages, replaces it. A listener ends by showing that text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kernel.types import Json
from pipeline.answering.citations import addresses, citation, supporting_quote
from pipeline.answering.cleaning import Cleaner
from pipeline.llm import prompt
from pipeline.llm.protocol import ChatModel, ModelFailure

_UNKNOWN = re.compile(
    r"\b(?:I (?:do not|don['’]t) (?:know|have (?:enough|any|that) information)"
    r"|(?:passages?|documents?|sources?) (?:do not|don['’]t|does not|doesn['’]t) (?:say|mention|contain|cover|hold))",
    re.IGNORECASE,
)


async def answer_with_model(
    model: ChatModel,
    question: str,
    history: Sequence[Json],
    hits: Sequence[Json],
    emit: Callable[[str], None],
    memory: int,
) -> Json:
    """An answer in the shape of `pipeline.machine.Answer`. Raises ModelFailure.

    `grounded` when it cites a passage, or says openly that the passages do not hold the answer (`unknown`).
    """
    cleaner = Cleaner(prompt.passages(hits).keys(), addresses(hits))
    shown: list[str] = []

    def show(clean: str) -> None:
        if not shown:
            clean = clean.lstrip()
        if clean:
            shown.append(clean)
            emit(clean)

    await model.complete(prompt.build(question, history, hits, memory=memory), lambda piece: show(cleaner.feed(piece)))
    show(cleaner.finish())
    text = "".join(shown).strip()
    if not text:
        raise ModelFailure("empty")
    cited = sorted(cleaner.cited)
    unknown = not cited and (cleaner.marked_unknown or bool(_UNKNOWN.search(text)))
    return {
        "text": text,
        "citations": [citation(n, hits[n - 1], supporting_quote(text, n, str(hits[n - 1]["text"]))) for n in cited],
        "grounded": bool(cited) or unknown,
        "unknown": unknown,
        "model": model.model,
        "fallback_used": False,
    }
