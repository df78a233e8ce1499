"""parley webhooks listen: a local receiver that checks signatures, prints what arrives and answers as it is told."""

from __future__ import annotations

import asyncio
import re
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from gateway.cli import UsageError
from gateway.client import CallFailed, connect, find_target, hand_on
from gateway.commands import ports
from gateway.commands.feed import Feed
from gateway.commands.receiver import Receiver, Script, Seen, show
from gateway.commands.terminal import note
from gateway.commands.webhooks import patterns
from kernel.errors import ConfigError
from kernel.types import Json
from webhooks import signing

_LARGEST = 16 << 20
_LONGEST_DELAY = 3_600.0
_EVERY = 1.0  # seconds between two questions for events


async def run(options: Namespace) -> int:
    script = _script(options)
    if options.poll:
        return await _poll(options)
    if options.forward:
        raise UsageError("--forward goes with --poll: otherwise register your program's own address")
    receiver = Receiver(_checked(options.secret or []), script, as_lines=options.json)
    if options.port and not ports.is_free(options.host, options.port):
        raise ConfigError(f"--port: {options.port} is taken by another program")
    async with _serving(receiver, options.host, options.port) as url:
        note(f"listening on {url} (Ctrl-C ends)")
        if not options.register:
            await asyncio.Event().wait()
        async with _registered(options, url, receiver):
            await asyncio.Event().wait()
    return 0


def _checked(secrets: list[str]) -> list[str]:
    """The keys to check with. Raises UsageError."""
    for secret in secrets:
        try:
            if not re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=", secret):
                signing.secret_key(secret)
        except ValueError as error:
            raise UsageError(f"--secret: {error}; whsec_… checks v1, whpk_… checks v1a") from error
    return secrets


def _script(options: Namespace) -> Script:
    return Script(_statuses(options.status), _delays(options.delay), _headers(options.header or []))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _statuses(text: str) -> list[int]:
    parts = _parts(text)
    if not parts or not all(part.isdecimal() and 200 <= int(part) <= 599 for part in parts):
        raise UsageError("--status: numbers from 200 to 599, separated by commas")
    return [int(part) for part in parts]


def _delays(text: str) -> list[float]:
    parts = _parts(text)
    if not parts or not all(re.fullmatch(r"\d{1,4}(\.\d{1,3})?", part, re.ASCII) for part in parts):
        raise UsageError("--delay: seconds, separated by commas")
    if max(map(float, parts)) > _LONGEST_DELAY:
        raise UsageError("--delay: an hour at most")
    return [float(part) for part in parts]


def _headers(given: list[str]) -> dict[str, str]:
    found = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not value.strip().isprintable():
            raise UsageError(f"--header: {line!r} is not `Name: value`")
        found[name] = value.strip()
    return found


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


async def _poll(options: Namespace) -> int:
    """Prints events as REST tells of them, and hands each on where --forward says, signed like a delivery."""
    if options.register:
        raise UsageError("--poll needs no endpoint: leave --register out")
    keys = _signers(options)
    async with connect(find_target(options)) as client:
        feed = Feed(client, patterns(options.events))
        await feed.begin()
        note(f"asking {client.target.url} for events (Ctrl-C ends)")
        while True:
            for event in await _unseen(feed):
                show(await _handed_on(options.forward, keys, event), as_lines=options.json)
            await asyncio.sleep(_EVERY)


def _signers(options: Namespace) -> list[signing.SigningKey]:
    """What events are signed with when they are handed on. Raises UsageError."""
    if not options.forward:
        return []
    secrets = options.secret or [signing.new_secret()]
    if not options.secret:
        note(f"signing with {secrets[0]}")
    try:
        return [signing.signing_key(secret) for secret in secrets]
    except ValueError as error:
        raise UsageError(f"--secret: {error}") from error


async def _unseen(feed: Feed) -> list[Json]:
    """Nothing while the gateway is away: it is asked again."""
    try:
        return await feed.unseen()
    except CallFailed as error:
        if 0 < error.answered < 500:
            raise
        note(f"{error.message}; asking again")
        return []


async def _handed_on(url: str | None, keys: list[signing.SigningKey], event: Json) -> Seen:
    if not url:
        return Seen(event["id"], "polled", None, 1, False, event)
    body = orjson.dumps(event)
    headers = signing.signed_headers(keys, event["id"], int(time.time()), body)
    try:
        status = await hand_on(url, body, {**headers, "Content-Type": "application/json"})
    except CallFailed as error:
        return Seen(event["id"], f"polled; {url} does not answer ({error.message})", None, 1, False, event)
    return Seen(event["id"], f"polled, signed for {url}", status, 1, False, event)
