"""From hits to citations: where a sentence stands, and what of the passage is quoted for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from kernel.types import Citation, Json
from pipeline.answering.cleaning import TRAILING, URL
from pipeline.answering.sentences import split
from pipeline.answering.words import words

_QUOTE = 300  # characters of a quote picked for a model's sentence


def addresses(hits: Sequence[Json]) -> set[str]:
    """Every address that stands in the passages or is a passage's own."""
    found = {url.rstrip(TRAILING) for hit in hits for url in URL.findall(str(hit.get("text") or ""))}
    return found | {url for hit in hits if (url := source(hit))}


def source(hit: Json) -> str:
    """The web address of a hit's document, or an empty string."""
    metadata = hit.get("metadata")
    url = metadata.get("url") if isinstance(metadata, dict) else None
    return url if isinstance(url, str) and re.match(r"https?://[^\s]+\Z", url) else ""


def citation(number: int, hit: Json, quote: str) -> Json:
    """In the shape of `kernel.types.Citation`."""
    ids = (str(hit.get("chunk_id") or ""), str(hit.get("document_id") or ""))
    return asdict(Citation(number, *ids, " ".join(str(hit.get("title") or "").split()), source(hit), quote))


def supporting_quote(text: str, number: int, passage: str) -> str:
    """The passage's own sentence that shares most words with what the answer says on its account."""
    said = {w for line in re.split(r"(?<=[\].!?])\s|\n", text) if f"[{number}]" in line for w in words(line)}
    spans = [span for span in split(passage) if span.kind != "heading"] or split(passage)
    quotes = [passage[span.start : span.end] for span in spans]
    best = max(quotes, key=lambda quote: len(said & set(words(quote))), default="")
    return best[:_QUOTE].rstrip()
