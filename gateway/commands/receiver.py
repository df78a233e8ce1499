"""What `parley webhooks listen` does with each message: is it to be believed, was it taken before, what is answered."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from gateway.commands.terminal import as_json, out
from webhooks import signing

_REMEMBERED = 100_000  # ids


@dataclass(frozen=True, slots=True)
class Script:
    """What each event's tries are answered, in turn, the last one from then on. `delays` are seconds."""

    statuses: Sequence[int] = (200,)
    delays: Sequence[float] = (0.0,)
    headers: Mapping[str, str] = field(default_factory=dict)

    def turn(self, tries: int) -> tuple[int, float]:
        """Status and delay for the try after `tries` others."""
        return self.statuses[min(tries, len(self.statuses) - 1)], self.delays[min(tries, len(self.delays) - 1)]


@dataclass(slots=True)
class Known:
    """`tries` that came with an id, and whether one of them was answered with a 2xx."""

    tries: int = 0
    taken: bool = False


class Memory:
    """The ids that came, the oldest forgotten first."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._most = most

    def of(self, message_id: str) -> Known:
        found = self._known.pop(message_id, None) or Known()
        self._known[message_id] = found
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """One message, as it is printed. `signature`: verified, not checked, polled, or why it is refused."""

    message_id: str
    signature: str
    answered: int | None
    tries: int
    duplicate: bool
    event: Any


class Receiver:
    """`secrets` (whsec_… or whpk_…) empty: signatures are not checked."""

    def __init__(self, secrets: list[str], script: Script, *, as_lines: bool) -> None:
        self.secrets = secrets
        self._script = script
        self._as_lines = as_lines
        self._memory = Memory()

    async def receive(self, request: web.Request) -> web.Response:
        """401 for what must not be believed, else what the script says.

        A forgery is none of an event's tries: it could otherwise use up the script, or mark an id as taken.
        """
        body = await request.read()
        fault = self._fault(request, body)
        message_id = request.headers.get("webhook-id", "")
        if fault:
            show(Seen(message_id, fault, 401, 0, False, decoded(body)), as_lines=self._as_lines)
            return web.Response(status=401, text=fault)
        known = self._memory.of(message_id)
        status, delay = self._script.turn(known.tries)
        duplicate = known.taken
        known.tries += 1
        known.taken |= 200 <= status < 300
        signature = "verified" if self.secrets else "not checked"
        show(Seen(message_id, signature, status, known.tries, duplicate, decoded(body)), as_lines=self._as_lines)
        await asyncio.sleep(delay)
        return web.Response(status=status, headers=self._script.headers)

    def _fault(self, request: web.Request, body: bytes) -> str:
        if not self.secrets:
            return ""
        try:
            signing.verify(self.secrets, request.headers, body, time.time())
        except signing.SignatureRefused as error:
            return str(error)
        return ""


def decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


def show(seen: Seen, *, as_lines: bool) -> None:
    """A line of JSON; or for people a line, and the data unless they have seen it."""
    event = seen.event
    if as_lines:
        line = {
            "id": seen.message_id,
            "signature": seen.signature,
            "answered": seen.answered,
            "try": seen.tries,
            "repeated": seen.tries > 1,
            "duplicate": seen.duplicate,
            "event": event,
        }
        out(orjson.dumps(line).decode())
        return
    kind = event.get("type", "?") if isinstance(event, dict) else "?"
    again = "  taken before: a duplicate" if seen.duplicate else f"  try {seen.tries}" if seen.tries > 1 else ""
    answered = "" if seen.answered is None else f" -> {seen.answered}"
    out(f"{time.strftime('%H:%M:%S')} {kind}  {seen.message_id}  {seen.signature}{again}{answered}")
    if seen.tries <= 1:
        as_json(event.get("data") if isinstance(event, dict) else event)
