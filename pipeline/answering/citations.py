"""From hits to citations: where a sentence stands, and what of the passage is quoted for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from kernel.types import Citation, Json
from pipeline.answering.cleaning import TRAILING, URL
from pipeline.answering.sentences import split
from pipeline.answering.tables import read_tables
from pipeline.answering.words import words

_NAME = 80  # characters of a source's name
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
    return asdict(Citation(number, *ids, name(hit), source(hit), quote))


def name(hit: Json) -> str:
    """What a reader is told the passage is: its document's title, or else the heading or the words it begins with."""
    candidates = (hit.get("title"), str(hit.get("heading") or "").split(" > ")[0], hit.get("text"))
    first = next((str(text).strip() for text in candidates if text and str(text).strip()), "")
    line = " ".join(first.split("\n")[0].lstrip("# ").split())
    return line if len(line) <= _NAME else line[: _NAME - 1].rstrip() + "…"


def supporting_quote(text: str, number: int, passage: str) -> str:
    """The passage's own sentence that shares most words with what the answer says on its account."""
    said = {w for line in re.split(r"(?<=[\].!?])\s|\n", text) if f"[{number}]" in line for w in words(line)}
    spans = split(passage)
    headers = {n for table in read_tables(passage, spans) for n in range(table.header.first, table.header.last + 1)}
    telling = [span for n, span in enumerate(spans) if span.kind != "heading" and n not in headers] or spans
    quotes = [passage[span.start : span.end] for span in telling]
    best = max(quotes, key=lambda quote: len(said & set(words(quote))), default="")
    return best[:_QUOTE].rstrip()
