"""What the gateway is measured against: bare aiohttp programs, as lean as hand-written ones are.

    hello    a constant JSON answer (H)
    echo     a Telegram bot that repeats what it hears, nothing stored (E)
    insert   verify, parse and one INSERT for each request on asyncpg's pool as it comes

Each runs as `python -m bench.baselines NAME` and prints its root URL. The bare client (D) is in `bench.webhooks.drain`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import orjson
import uvloop
from aiohttp import web

from bench.stores import SECRET, TOKEN
from channels import telegram
from kernel.types import Account, InboundMessage

Handler = Callable[[web.Request], Awaitable[web.Response]]
_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_ACCOUNT = Account(
    "ws_bench",
    "acc_bench",
    "telegram",
    "webhook",
    {"token": TOKEN, "webhook_secret": SECRET},
    {},
    {"id": int(TOKEN.split(":")[0]), "username": "bench_bot"},
)
INBOX = """
CREATE TABLE IF NOT EXISTS bench_inbox (
    account_id text NOT NULL, external_id text NOT NULL, conversation_key text NOT NULL, message text NOT NULL,
    payload bytea NOT NULL, received_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (account_id, external_id))
"""
_INSERT = """
INSERT INTO bench_inbox (account_id, external_id, conversation_key, message, payload) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"message": "hello"})


def echo(session: aiohttp.ClientSession, api: str) -> Handler:
    url = f"{api}/bot{TOKEN}/sendMessage"
    tasks: set[asyncio.Task[None]] = set()

    async def reply(chat_id: int, text: str) -> None:
        body = orjson.dumps({"chat_id": chat_id, "text": text})
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get(_HEADER) != SECRET:
            return web.Response(status=401)
        message = orjson.loads(await request.read())["message"]
        task = asyncio.create_task(reply(message["chat"]["id"], message["text"]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return web.Response()

    return handle


def insert(pool: asyncpg.Pool[asyncpg.Record]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if not telegram.CHANNEL.verify(_ACCOUNT, request.headers, body):
            return web.Response(status=401)
        (message,) = telegram.CHANNEL.parse(_ACCOUNT, orjson.loads(body))
        assert isinstance(message, InboundMessage)
        await pool.execute(
            _INSERT,
            _ACCOUNT.account_id,
            message.external_id,
            message.conversation_key,
            orjson.dumps(message.to_json()).decode(),
            body,
        )
        return web.Response()

    return handle


async def main(name: str) -> None:
    """Serves one of them until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as session:
        if name == "hello":
            await _serve(hello, stop)
        elif name == "echo":
            await _serve(echo(session, os.environ["TELEGRAM_API_BASE_URL"]), stop)
        else:
            async with asyncpg.create_pool(os.environ["DATABASE_ADMIN_URL"], min_size=10, max_size=10) as pool:
                await pool.execute(INBOX)
                await _serve(insert(pool), stop)


async def _serve(handler: Handler, stop: asyncio.Event) -> None:
    app = web.Application()
    app.router.add_post("/{rest:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
