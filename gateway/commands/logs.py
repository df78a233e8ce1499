"""Children write to log files; their errors are also told in the terminal, in short."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import orjson

_EVERY = 1.0
_MOST = 3  # told a second and file; the rest is in the file
_WIDTH = 200


@contextlib.asynccontextmanager
async def surfaced(files: Sequence[Path], say: Callable[[str], None]) -> AsyncIterator[None]:
    """Follows the files for as long as the block lasts."""
    task = asyncio.create_task(_follow(files, say))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(files: Sequence[Path], say: Callable[[str], None]) -> None:
    seen = {file: _size(file) for file in files}
    while True:
        await asyncio.sleep(_EVERY)
        for file in files:
            size = _size(file)
            start = seen[file] if size >= seen[file] else 0  # smaller: it was turned over
            told, seen[file] = list(errors(_read(file, start, size))), size
            for line in told[:_MOST]:
                say(f"{file.stem}: {line}")
            if len(told) > _MOST:
                say(f"{file.stem}: {len(told) - _MOST} more errors in {file}")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _read(file: Path, start: int, end: int) -> bytes:
    if end <= start:
        return b""
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(end - start)


def errors(log: bytes) -> Iterator[str]:
    """The error lines of a JSON log, each in a few words."""
    for line in log.splitlines():
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # half a line, or a program's own words
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            why = str(entry.get("exception") or entry.get("error") or "").strip().rpartition("\n")[2]
            yield f"{entry.get('event', 'error')} {why}".strip()[:_WIDTH]
