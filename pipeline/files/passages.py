"""Passages of a conversation's files for a question: chosen by words first, then by meaning.

Embedding a whole file takes seconds that nobody wants to wait for, so words choose which passages are compared by
meaning; a question that shares no words with the file ("what is this about?") gets the file's beginning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from kernel.types import Json
from pipeline.embedding.batcher import Kind, Vectors
from pipeline.files.attachments import Text
from pipeline.knowledge.chunking import Chunk, chunk_document

_COMPARED = 24  # passages that are embedded for a question
_OPENING = 4  # … of which so many are the beginnings of the files
_K1, _B = 1.2, 0.75  # BM25's usual constants (Robertson and Zaragoza, 2009)
_WORD = re.compile(r"\w{2,}")


class Embed(Protocol):
    async def embed(self, texts: Sequence[str], *, kind: Kind) -> Vectors: ...


async def passages(embedder: Embed, question: str, files: Sequence[Text], k: int) -> list[Json]:
    """Up to `k` hits in the shape of `pipeline.machine.Search`, best first; `document_id` is the attachment's id."""
    chunks = [
        (file, chunk) for file in files for chunk in chunk_document(file.text, title=file.name, format="markdown")
    ]
    if not chunks:
        return []
    chosen = candidates(question, [chunk for _, chunk in chunks])
    asked = await embedder.embed([question or files[0].name], kind="query")
    vectors = await embedder.embed([chunks[n][1].views[0] for n in chosen], kind="passage")
    scored = sorted(zip((vectors @ asked[0]).tolist(), chosen, strict=True), reverse=True)
    return [_hit(*chunks[n], n, float(score)) for score, n in scored[:k]]


def candidates(question: str, chunks: Sequence[Chunk]) -> list[int]:
    """The chunks worth a comparison by meaning: the best by BM25, and the first ones. Pure."""
    if len(chunks) <= _COMPARED:
        return list(range(len(chunks)))
    words = [Counter(_words(f"{chunk.heading} {chunk.text}")) for chunk in chunks]
    lengths = [sum(counted.values()) for counted in words]
    mean = sum(lengths) / len(lengths) or 1.0
    scores = [0.0] * len(chunks)
    for word in set(_words(question)):
        having = [n for n, counted in enumerate(words) if word in counted]
        rarity = math.log(1 + (len(chunks) - len(having) + 0.5) / (len(having) + 0.5))
        for n in having:
            often = words[n][word]
            scores[n] += rarity * often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * lengths[n] / mean))
    best = sorted((n for n in range(len(chunks)) if scores[n] > 0), key=lambda n: -scores[n])
    opening = [n for n in range(_OPENING) if n not in best[: _COMPARED - _OPENING]]
    return (best[: _COMPARED - _OPENING] + opening)[:_COMPARED]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _hit(file: Text, chunk: Chunk, number: int, score: float) -> Json:
    return {
        "chunk_id": f"{file.attachment_id}:{number}",
        "document_id": file.attachment_id,
        "external_id": file.attachment_id,
        "title": file.name,
        "heading": chunk.heading,
        "text": chunk.text,
        "score": round(max(score, 0.0), 4),
        "dense_score": round(score, 4),
        "bm25_score": 0.0,
        "metadata": {"attachment": True},
    }
