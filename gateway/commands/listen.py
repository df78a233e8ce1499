"""parley webhooks listen: a local receiver that checks signatures and prints what arrives."""

from __future__ import annotations

import asyncio
import itertools
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from gateway.cli import UsageError
from gateway.client import connect, find_target
from gateway.commands import ports
from gateway.commands.terminal import as_json, note, out
from gateway.commands.webhooks import patterns
from kernel.errors import ConfigError
from webhooks import signing

_LARGEST = 16 << 20


class Receiver:
    """`secrets` empty: signatures are not checked. `statuses` are answered in turn, the last for ever."""

    def __init__(self, secrets: list[str], statuses: Sequence[int], *, as_lines: bool) -> None:
        self.secrets = secrets
        self._statuses: Iterator[int] = itertools.chain(statuses, itertools.repeat(statuses[-1]))
        self._as_lines = as_lines
        self._seen: set[str] = set()

    async def receive(self, request: web.Request) -> web.Response:
        """401 for what must not be believed, else the next status."""
        body = await request.read()
        fault = self._fault(request, body)
        status = 401 if fault else next(self._statuses)
        self._print(request, body, fault, status)
        return web.Response(status=status, text=fault or "")

    def _fault(self, request: web.Request, body: bytes) -> str:
        if not self.secrets:
            return ""
        try:
            signing.verify(self.secrets, request.headers, body, time.time())
        except signing.SignatureRefused as error:
            return str(error)
        return ""

    def _print(self, request: web.Request, body: bytes, fault: str, status: int) -> None:
        name = request.headers.get("webhook-id", "")
        repeated, signature = name in self._seen, fault or ("verified" if self.secrets else "not checked")
        self._seen.add(name)
        try:
            event = orjson.loads(body)
        except orjson.JSONDecodeError:
            event = body.decode(errors="replace")
        if self._as_lines:
            line = {"id": name, "signature": signature, "answered": status, "repeated": repeated, "event": event}
            out(orjson.dumps(line).decode())
            return
        kind = event.get("type", "?") if isinstance(event, dict) else "?"
        out(f"{time.strftime('%H:%M:%S')} {kind}  {name}{' (again)' if repeated else ''}  {signature} -> {status}")
        as_json(event.get("data") if isinstance(event, dict) else event)


async def run(options: Namespace) -> int:
    receiver = Receiver(_secrets(options.secret), _statuses(options.status), as_lines=options.json)
    if options.port and not ports.is_free(options.host, options.port):
        raise ConfigError(f"--port: {options.port} is taken by another program")
    async with _serving(receiver, options.host, options.port) as url:
        note(f"listening on {url} (Ctrl-C ends)")
        if not options.register:
            await asyncio.Event().wait()
        async with _registered(options, url, receiver):
            await asyncio.Event().wait()
    return 0


def _secrets(given: str | None) -> list[str]:
    try:
        for secret in filter(None, [given]):
            signing.secret_key(secret)
    except ValueError as error:
        raise UsageError(f"--secret: {error}") from error
    return [given] if given else []


def _statuses(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 200 <= int(part) <= 599 for part in parts):
        raise UsageError("--status: numbers from 200 to 599, separated by commas")
    return [int(part) for part in parts]


@asynccontextmanager
async def _serving(receiver: Receiver, host: str, port: int) -> AsyncIterator[str]:
    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post("/{path:.*}", receiver.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"{ports.local_url(host, runner.addresses[0][1])}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _registered(options: Namespace, url: str, receiver: Receiver) -> AsyncIterator[None]:
    """An endpoint of the gateway for as long as the block lasts; its secret is what we check with."""
    async with connect(find_target(options)) as client:
        made = await client.post(
            "/api/v1/webhooks",
            {"url": url, "events": patterns(options.events), "description": "parley webhooks listen"},
        )
        receiver.secrets = [made["secret"]]
        note(f"registered as {made['webhook_id']}")
        try:
            yield
        finally:
            await asyncio.shield(client.delete(f"/api/v1/webhooks/{made['webhook_id']}"))
