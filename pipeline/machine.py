"""The turn's state machine: a route of named steps, run one after the other, each recorded before the next.

A step is a function of the turn and of the results so far; it returns a JSON object. Steps that cost something
(a search, a model) are recorded; cheap pure ones are simply run again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kernel.types import Json
from pipeline.files.steps import Files
from pipeline.people import People
from pipeline.steps import Recorder
from pipeline.turns import Turn

Emit = Callable[[str], None]


class Search(Protocol):
    """Retrieval as the machine needs it: hits, best first, each with chunk_id, document_id, title, text, score…

    `public`: only from collections that any place may see.
    """

    async def __call__(
        self, workspace_id: str, query: str, history: Sequence[Json], k: int, *, public: bool
    ) -> list[Json]: ...


class Answer(Protocol):
    """Draws an answer from hits: {"text", "citations", "grounded", "score", "model", …}. `emit` streams pieces."""

    async def __call__(self, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Emit) -> Json: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps may use. `top_k` is the number of passages an answer is drawn from.

    Without `people` nobody links, without `files` none are looked at."""

    search: Search
    answer: Answer
    recorder: Recorder
    top_k: int
    people: People | None = None
    files: Files | None = None


@dataclass(slots=True)
class State:
    """A turn in progress: the results of its steps by name, and where pieces of the answer go while it is made."""

    turn: Turn
    emit: Emit
    results: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    run: Callable[[State, Tools], Awaitable[Json]]
    recorded: bool = True


async def run(state: State, steps: Sequence[Step], tools: Tools) -> Mapping[str, Json]:
    """Runs the steps in order and returns all results. A step found recorded is not run again.

    Raises whatever a step raises; what was recorded until then is kept for the next attempt.
    """
    key = state.turn.record_key
    recorded = await tools.recorder.load(key) if state.turn.attempt > 1 else {}
    for step in steps:
        result = recorded.get(step.name)
        if result is None:
            result = await step.run(state, tools)
            if step.recorded:
                await tools.recorder.record(key, step.name, result)
        state.results[step.name] = result
    return state.results
