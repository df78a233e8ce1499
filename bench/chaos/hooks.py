"""The receiver of a fault run's webhooks, and what it should have got."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from aiohttp import web

from bench.chaos.stand import Run
from webhooks.signing import SignatureRefused, verify


class Hook:
    """`secret` is set once the webhook is registered."""

    url = ""
    secret = ""


@asynccontextmanager
async def receiving(received: dict[str, int], bad: list[str]) -> AsyncIterator[Hook]:
    """Takes webhooks, checks their signatures and counts them by event."""
    hook = Hook()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        event = request.headers["webhook-id"]
        try:
            verify([hook.secret], request.headers, body, time.time())
        except SignatureRefused:
            bad.append(event)
            return web.Response(status=400)
        received[event] = received.get(event, 0) + 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield hook
    finally:
        await runner.cleanup()


async def undelivered(run: Run) -> set[str]:
    """Events that the receiver should have got and has not."""
    conn = await asyncpg.connect(run.admin_url)
    rows = await conn.fetch("SELECT event_id FROM events WHERE type = 'chat.response.generated'")
    await conn.close()
    return {row["event_id"] for row in rows} - run.received.keys()
