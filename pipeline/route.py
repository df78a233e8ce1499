"""Which steps a turn takes, by what the user sent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kernel.types import Choice, Citation, InboundMessage, Json, Reply
from pipeline import commands
from pipeline.files import steps as files
from pipeline.machine import State, Step, Tools
from pipeline.turns import Turn

FAILED = "Sorry, something went wrong on my side and I could not answer that. Please try again in a moment."

NONE: Mapping[str, Any] = MappingProxyType({})


def steps_for(turn: Turn, *, echo: bool = False) -> Sequence[Step]:
    """The route of a turn. `echo` is an account's connectivity test: it repeats what it hears."""
    if turn.updates[0].kind in ("command", "unsupported", "stranger"):
        return (Step("compose", commands.say, recorded=False),)
    if echo:
        return (Step("compose", _echo, recorded=False),)
    if files.has_files(turn) and not question(turn.updates):
        return (Step("read", _read), Step("compose", _say_read, recorded=False))
    return (
        *((Step("read", _read),) if files.has_files(turn) else ()),
        Step("contextualise", _contextualise, recorded=False),
        Step("retrieve", _retrieve),
        Step("answer", _answer),
        Step("compose", _compose, recorded=False),
    )


def silent(turn: Turn) -> bool:
    """Whether this turn changes records only and says nothing (an edit, a rating, a block, a chat that moved)."""
    return turn.updates[0].kind in ("edit", "deletion", "feedback", "blocked", "unblocked", "migrated")


def ends_session(turn: Turn) -> bool:
    return turn.updates[0].kind == "command" and turn.updates[0].command in ("new", "start") and bool(turn.history)


def question(updates: Sequence[InboundMessage]) -> str:
    """Messages sent in a burst, read as one."""
    return "\n".join(update.text for update in updates if update.text)


def metrics(turn: Turn, results: Mapping[str, Json]) -> Json:
    """What a turn cost, in milliseconds and tries, and which model answered."""
    return {
        "attempt": turn.attempt,
        **{f"{name}_ms": result["took_ms"] for name, result in results.items() if "took_ms" in result},
        **({"model": results["answer"]["model"]} if "answer" in results else {}),
    }


def snapshot(turn: Turn, results: Mapping[str, Json]) -> Json:
    """Where the session stands after this turn."""
    answer = results.get("answer", {})
    return {
        "turn_id": turn.turn_id,
        "question": question(turn.updates),
        "grounded": answer.get("grounded"),
        "documents": list(dict.fromkeys(citation["document_id"] for citation in answer.get("citations", []))),
    }


def reply_of(composed: Json, settings: Mapping[str, Any] = NONE) -> Reply:
    """What `compose` came to, as channels render it. `settings` are the account's, which may do without feedback."""
    return Reply(
        composed["text"],
        [Citation(**citation) for citation in composed.get("citations", [])],
        "" if settings.get("feedback") is False else composed.get("feedback", ""),
        [Choice(**choice) for choice in composed.get("choices", [])],
    )


async def _echo(state: State, tools: Tools) -> Json:
    return {"text": question(state.turn.updates)}


async def _read(state: State, tools: Tools) -> Json:
    return {"files": await tools.files.take_in(state.turn) if tools.files is not None else []}


async def _say_read(state: State, tools: Tools) -> Json:
    return {"text": files.say_read(state.results["read"]["files"])}


async def _contextualise(state: State, tools: Tools) -> Json:
    """The question and the history that retrieval weighs in (`pipeline.knowledge.search_plan`)."""
    return {"question": question(state.turn.updates), "history": list(state.turn.history)}


async def _retrieve(state: State, tools: Tools) -> Json:
    asked = state.results["contextualise"]
    started = time.perf_counter()
    wanted = state.turn.updates[-1].detail  # a REST caller may say how many passages it wants
    k = int(wanted) if wanted.isdecimal() else tools.top_k
    turn = state.turn
    hits = await tools.search(turn.workspace_id, asked["question"], asked["history"], k, public=not turn.private)
    if tools.files is not None and (turn.files or "read" in state.results):
        of_files = await tools.files.passages(turn, asked["question"], k)
        hits = files.merged(of_files, hits, k, just_sent="read" in state.results)
    return {"hits": hits, "took_ms": round((time.perf_counter() - started) * 1000, 1)}


async def _answer(state: State, tools: Tools) -> Json:
    asked = state.results["contextualise"]
    started = time.perf_counter()
    answer = await tools.answer(asked["question"], asked["history"], state.results["retrieve"]["hits"], state.emit)
    return {**answer, "took_ms": round((time.perf_counter() - started) * 1000, 1)}


async def _compose(state: State, tools: Tools) -> Json:
    answer = state.results["answer"]
    unread = dict.fromkeys(
        commands.KINDS[update.detail] for update in state.turn.updates if update.detail in commands.KINDS
    )
    note = f"\n\n_(I can't look at {' or '.join(unread)} yet, so this answers your words alone.)_" if unread else ""
    note += "".join(f"\n\n_({line})_" for line in files.unread(state.results.get("read", {}).get("files", ())))
    return {
        "text": answer["text"] + note,
        "citations": answer["citations"],
        "feedback": state.turn.turn_id,
        "retrieval": {
            "hits": state.results["retrieve"]["hits"],
            "score": answer["score"],
            "grounded": answer["grounded"],
            "unknown": answer.get("unknown", False),
            "model": answer["model"],
            "fallback_used": answer.get("fallback_used", False),
        },
    }
