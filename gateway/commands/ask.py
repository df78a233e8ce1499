"""parley ask, parley chat"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
from argparse import Namespace
from typing import Any

from gateway.client import CallFailed, Client, Target, connect, find_target
from gateway.commands.terminal import as_json, note, out

_ASK = "/api/v1/ask"


async def run(options: Namespace) -> int:
    body: dict[str, Any] = {"query": " ".join(options.question)}
    if options.k:
        body["k"] = options.k
    async with connect(find_target(options)) as client:
        if options.json:
            as_json(await client.post(_ASK, body))
        else:
            await _told(client, body)
    return 0


def chat(options: Namespace) -> int:
    """Each line is a question; what was said before counts. Works in a pipe as well."""
    target = find_target(options)
    watched = sys.stdin.isatty()
    if watched:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - makes input() edit lines and remember them
        note("Ask something. Ctrl-D ends.")
    talk: dict[str, str] = {"user_id": _me()}
    with asyncio.Runner() as runner:
        # lines are read while no loop runs: a loop would keep Ctrl-C from a waiting input()
        while (line := _line("> " if watched else "")) is not None:
            if line.strip():
                done = runner.run(_one(target, {"query": line.strip(), **talk}, as_whole=options.json))
                talk["conversation_id"] = done["conversation_id"]
    return 0


async def _one(target: Target, body: dict[str, Any], *, as_whole: bool) -> dict[str, Any]:
    async with connect(target) as client:
        if not as_whole:
            done = await _told(client, body)
            out()
            return done
        whole: dict[str, Any] = await client.post(_ASK, body)
        as_json(whole)
        return whole


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "terminal"


def _line(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None


async def _told(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Prints the answer as it arrives, then its sources; the whole of it is returned. Raises CallFailed."""
    pieces = ""
    async for event, data in client.stream(_ASK, {**body, "stream": True}):
        if event == "piece":
            pieces += data["text"]
            out(data["text"], end="")
        elif event == "restart":
            pieces = ""
            out("\n(once more)")
        elif event == "error":
            raise CallFailed(data["message"], code=data["code"], details=data["details"])
        elif event == "done":
            _end(pieces, data)
            return dict(data)
    raise CallFailed("the answer broke off: the gateway closed the connection")


def _end(pieces: str, answered: dict[str, Any]) -> None:
    if pieces != answered["answer"]:  # it did not come in pieces, or not in these
        out(("\n" if pieces else "") + answered["answer"], end="")
    out()
    for citation in answered["citations"]:
        url = citation.get("url")
        out(f"  [{citation['number']}] {citation['title']}{f' - {url}' if url else ''}")
