"""What an idle stream costs the gateway: KiB of RSS for each open `GET /api/v1/conversations/{id}/stream` (G15)."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from urllib.parse import urlsplit

from bench.goals import Outcome, below
from bench.process import Program, running
from bench.stores import Stores

_WARM = 100
_TOGETHER = 50


async def measure(stores: Stores, *, streams: int = 1_500) -> list[Outcome]:
    """Opens `streams` of them, each on a conversation of its own, after a hundred that warm the process up."""
    workspace = await stores.workspace()
    api_key = await stores.api_key(workspace)
    conversations = await _conversations(stores, workspace, streams + _WARM)
    _more_files(2 * streams + 1_000)
    async with running("bench.server", "whole", environment=stores.environment()) as ours:
        writers = await _open(ours, conversations[:_WARM], api_key)
        await asyncio.sleep(1.0)
        before = ours.rss()
        writers += await _open(ours, conversations[_WARM:], api_key)
        await asyncio.sleep(2.5)  # two rounds of looking for news
        each = (ours.rss() - before) * 1024 / streams
        for writer in writers:
            writer.close()
    what = f"KiB an idle SSE stream, {streams:,} open"
    return [Outcome("G15", what, "", f"{each:.1f} KiB", "≤ 40 KiB", "≤ 20 KiB", below(each, 40, 20))]


async def _conversations(stores: Stores, workspace: str, count: int) -> list[str]:
    account = await stores.telegram_account(workspace)
    async with stores.admin() as conn:
        rows = await conn.fetch(
            """
            INSERT INTO conversations (workspace_id, conversation_id, account_id, conversation_key, address)
            SELECT $1, new_id('conv'), $2, n::text, '{}' FROM generate_series(1, $3) n RETURNING conversation_id
            """,
            workspace,
            account,
            count,
        )
    return [row["conversation_id"] for row in rows]


async def _open(program: Program, conversations: list[str], api_key: str) -> list[asyncio.StreamWriter]:
    """Streams that have shown their first bytes."""
    host = urlsplit(program.url)

    async def one(conversation: str) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=1024)
        path = f"/api/v1/conversations/{conversation}/stream"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host.netloc}\r\nX-API-Key: {api_key}\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"a stream was refused: {status.decode().strip()}")
        await reader.readuntil(b": still here")
        return writer

    opened = []
    for start in range(0, len(conversations), _TOGETHER):
        opened += await asyncio.gather(*(one(some) for some in conversations[start : start + _TOGETHER]))
    return opened


def _more_files(wanted: int) -> None:
    """Raises the soft limit of open files, for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard > 0 else wanted, hard))
