"""A turn's steps about files: taking in what was sent, looking into it for an answer, and saying what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kernel.types import Json
from pipeline.turns import Turn

READ = "I have read {names}. What would you like to know about {it}?"
UNREAD = "I can't use *{name}*, because {cause}."
KEPT = "I have kept *{name}*, but I can't look into it: {cause}."
ASK = "Please write your question as text, and I will gladly help."


class Files(Protocol):
    """What steps need of files.

    take_in  fetches, checks and keeps the files of a turn's messages, each once: [{"name", "status", "cause"}]
    passages hits from the files of the turn's session, best first
    """

    async def take_in(self, turn: Turn) -> list[Json]: ...

    async def passages(self, turn: Turn, question: str, k: int) -> list[Json]: ...


def has_files(turn: Turn) -> bool:
    return any(update.attachments for update in turn.updates)


def merged(of_files: Sequence[Json], found: Sequence[Json], k: int, *, just_sent: bool) -> list[Json]:
    """Hits of both kinds, at most `k`. What a person has sent this moment is what they ask about."""
    if just_sent:
        return [*of_files, *found][:k]
    return sorted([*of_files, *found], key=lambda hit: -float(hit.get("dense_score") or 0.0))[:k]


def say_read(files: Sequence[Json]) -> str:
    """The whole answer to files that came without a question."""
    names = [f"*{file['name']}*" for file in files if file["status"] == "read"]
    lines = [READ.format(names=" and ".join(names), it="it" if len(names) == 1 else "them")] if names else []
    lines += unread(files)
    return "\n\n".join(lines if names else [*lines, ASK])


def unread(files: Sequence[Json]) -> list[str]:
    """A sentence for each file that is no part of the answer."""
    texts = {"refused": UNREAD, "kept": KEPT}
    return [texts[file["status"]].format(**file) for file in files if file["status"] in texts]
