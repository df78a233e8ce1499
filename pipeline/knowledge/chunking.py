"""Documents cut into chunks, and chunks into the views that are embedded. Pure.

A chunk is what is searched by words, returned and cited: up to 2,500 characters of one section, or of small
neighbours together. Its views are what is compared by meaning: the chunk as a whole, of which the model reads
about the first 1,000 characters, and windows of 500 characters over all of it, each with the headings in front.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal

from langchain_text_splitters import RecursiveCharacterTextSplitter

from pipeline.knowledge.sections import Section, markdown_sections, text_sections

CHUNK_CHARACTERS = 2_500
WINDOW_CHARACTERS = 500
WINDOW_OVERLAP = 120
_SMALL_SECTION = 500
_SLACK = 200
_SEPARATORS = ["\n\n", "\n", ". ", " ", ""]

TextFormat = Literal["text", "markdown"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is `document[start:end]`; `heading` is the path above it, as far as the text does not begin with it.

    `views` are the texts to embed: first the whole chunk, then its windows, where it is longer than one.
    """

    heading: str
    text: str
    start: int
    end: int
    views: tuple[str, ...]


def chunk_document(document: str, *, title: str = "", format: TextFormat = "text") -> list[Chunk]:
    """Chunks in the order of the document; none if it holds nothing but white space."""
    sections = markdown_sections(document) if format == "markdown" else text_sections(document)
    chunks = []
    for section in _joined(sections):
        path = _path(title, section.headings)
        for start, end in _pieces(document, section.start, section.end):
            chunks.append(_chunk(document, path, start, end))
    return chunks


def _chunk(document: str, path: tuple[str, ...], start: int, end: int) -> Chunk:
    text = document[start:end]
    opening = text[:_SLACK].lstrip("# ")
    heading = " > ".join(name for name in path if not opening.startswith(name))
    views = [_under(heading, text)]
    if len(text) > WINDOW_CHARACTERS:
        below = " > ".join(path)
        windows = _splitter(WINDOW_CHARACTERS, WINDOW_OVERLAP).split_text(text)
        views.append(_under(heading, windows[0]))
        views.extend(_under(below, window) for window in windows[1:])
    return Chunk(heading, text, start, end, tuple(views))


def _under(heading: str, text: str) -> str:
    return f"{heading}\n{text}" if heading else text


def _path(title: str, headings: tuple[str, ...]) -> tuple[str, ...]:
    title = " ".join(title.split())
    return headings if not title or title in headings[:1] else (title, *headings)


def _joined(sections: list[Section]) -> Iterator[Section]:
    """Sections, with those too small to stand alone joined to the next, under the headings they share."""
    held: Section | None = None
    for section in sections:
        if held is None:
            held = section
        elif held.end - held.start < _SMALL_SECTION and section.end - held.start <= CHUNK_CHARACTERS:
            held = Section(_shared(held.headings, section.headings), held.start, section.end)
        else:
            yield held
            held = section
    if held is not None:
        yield held


def _shared(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    return first[:same]


def _pieces(document: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Bounds of pieces of even length, at most CHUNK_CHARACTERS, without white space at their ends."""
    held: tuple[int, int] | None = None
    for first, last in _cuts(document, start, end):
        if held is None:
            held = first, last
        elif held[1] - held[0] < _SLACK and last - held[0] <= CHUNK_CHARACTERS:
            held = held[0], last  # a lone heading goes with what follows it
        else:
            yield held
            held = first, last
    if held is not None:
        yield held


def _cuts(document: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    text = document[start:end]
    size, length = CHUNK_CHARACTERS, len(text.strip())
    if length > CHUNK_CHARACTERS:
        count = ceil(length / (CHUNK_CHARACTERS - _SLACK))
        size = min(CHUNK_CHARACTERS - _SLACK, ceil(length / count) + _SLACK)
    at = 0
    for piece in _splitter(size, 0).split_text(text):
        at = text.index(piece, at) + len(piece)
        yield start + at - len(piece), start + at


def _splitter(size: int, overlap: int) -> RecursiveCharacterTextSplitter:
    return RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=overlap, separators=_SEPARATORS, keep_separator="end"
    )
