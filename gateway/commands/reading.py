"""Documents out of files, folders, standard input and .jsonl corpora, in batches that one request can carry."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from kernel.errors import InvalidRequest
from pipeline.knowledge.ingest import FORMATS, decode

_CORPUS = ".jsonl"
_LONGEST_NAME = 500
MOST_DOCUMENTS = 1000
MOST_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Document:
    external_id: str
    title: str
    text: str
    format: str = "text"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be read."""

    path: str
    why: str


def read(paths: Sequence[str]) -> Iterator[Document | Fault]:
    """Everything readable under the paths, in a stable order; what was named and cannot be read is a fault."""
    for path in paths:
        if path == "-":
            yield from _standard_input()
        elif not (named := Path(path).expanduser()).exists():
            yield Fault(path, "no such file or folder")
        else:
            for file in _files(named):
                yield from _corpus(file) if file.suffix == _CORPUS else [_file(file)]


def stamps(paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Time of change and size of every file under the paths, to see changes by."""
    found = {}
    for path in paths:
        named = Path(path).expanduser()
        for file in _files(named) if path != "-" and named.exists() else []:
            try:
                status = file.stat()
            except OSError:  # gone since it was listed
                continue
            found[str(file)] = (status.st_mtime_ns, status.st_size)
    return found


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """At most 1,000 documents and some megabytes each."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        if batch and (len(batch) == MOST_DOCUMENTS or size + len(document.text) > MOST_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text)
    if batch:
        yield batch


def _files(named: Path) -> list[Path]:
    """The file itself, or what a folder holds that can be read; hidden files and folders are left alone."""
    if not named.is_dir():
        return [named]
    return sorted(
        file
        for file in named.rglob("*")
        if (file.suffix.lower() in FORMATS or file.suffix == _CORPUS)
        and not any(part.startswith(".") for part in file.relative_to(named).parts)
        and file.is_file()
    )


def _file(file: Path) -> Document | Fault:
    format_ = FORMATS.get(file.suffix.lower())
    if format_ is None:
        return Fault(str(file), f"only {', '.join(sorted(FORMATS))} and {_CORPUS} can be read")
    try:
        text = decode(file.read_bytes(), str(file))
    except OSError as error:
        return Fault(str(file), error.strerror or str(error))
    except InvalidRequest:
        return Fault(str(file), "is not a text file")
    if not text.strip():
        return Fault(str(file), "is empty")
    title = "" if format_ == "html" else _title(text, file.stem)
    return Document(name_of(file), title, text, format_)


def name_of(file: Path) -> str:
    """The external id of a file: its path as a file: URI, or a hash of that where it would be too long."""
    uri = file.resolve().as_uri()
    return uri if len(uri) <= _LONGEST_NAME else f"file:{sha256(uri.encode()).hexdigest()}"


def _title(text: str, fallback: str) -> str:
    """The first line when it is a heading, else the file's name."""
    first = text.lstrip().partition("\n")[0].strip()
    return first.lstrip("# ").strip()[:200] if first.startswith("# ") else fallback


def _standard_input() -> Iterator[Document | Fault]:
    try:
        text = decode(sys.stdin.buffer.read(), "standard input")
    except InvalidRequest:
        yield Fault("-", "standard input is not text")
        return
    if not text.strip():
        yield Fault("-", "standard input is empty")
        return
    yield Document(f"stdin:{sha256(text.encode()).hexdigest()[:32]}", _title(text, "Standard input"), text)


def _corpus(file: Path) -> Iterator[Document | Fault]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _line(f"{file}:{number}", line)
    except (OSError, UnicodeDecodeError) as error:
        yield Fault(str(file), str(error))


def _line(where: str, line: str) -> Document | Fault:
    try:
        entry = json.loads(line)
    except ValueError:
        return Fault(where, "is not JSON")
    text = entry.get("text") if isinstance(entry, dict) else None
    if not isinstance(text, str) or not text.strip() or "id" not in entry:
        return Fault(where, 'needs "id" and a "text" that is not empty')
    metadata = entry.get("metadata")
    return Document(
        str(entry["id"]),
        str(entry.get("title") or "")[:500],
        text,
        "text",
        metadata if isinstance(metadata, dict) else {},
    )
