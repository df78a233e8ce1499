"""A busy gateway says so: who has to wait for their turn hears that the message is kept. Nothing is owed here, so a
notice that fails to arrive is not sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.directory import Directory
from kernel import log
from kernel.db import Database
from kernel.ids import new_id
from kernel.ratelimit import Rate, RateLimiter
from kernel.types import Channel, Reply
from pipeline import turns
from pipeline.turns import Place

_log = log.get("courtesy")

BUSY = "I have a lot to do at the moment. Your message is kept, and I will answer it as soon as I can."
BUSY_BEHIND = BUSY + " About {before} others are before you."
_EVERY = Rate(1, 120, 1)  # notices to one place


class Courtesy:
    """`when_slow` wraps a wait; a notice goes out when it lasts longer than `patience` seconds."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        channels: dict[str, Channel],
        limiter: RateLimiter,
        *,
        patience: float = 3.0,
    ) -> None:
        self._database = database
        self._directory = directory
        self._channels = channels
        self._limiter = limiter
        self._patience = patience
        self._notices: set[asyncio.Task[None]] = set()

    @contextmanager
    def when_slow(self, place: Place, busy: bool, before: int) -> Iterator[None]:
        if not busy:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self._patience, self._start, place, before)
        try:
            yield
        finally:
            timer.cancel()

    def _start(self, place: Place, before: int) -> None:
        notice = asyncio.create_task(self._notice(place, before))
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)

    async def _notice(self, place: Place, before: int) -> None:
        try:
            await self._say(place, (BUSY_BEHIND if before > 1 else BUSY).format(before=before))
        except Exception as error:  # a courtesy must not hurt anybody
            _log.warning("courtesy.failed", account=place.account_id, error=repr(error))

    async def _say(self, place: Place, text: str) -> None:
        account = await self._directory.account(place.account_id)
        if account is None or self._channels[account.kind].idempotent:
            return  # a reader of rows sees that it waits
        if await self._limiter.take("busy", f"{place.account_id}:{place.conversation_key}", _EVERY) > 0:
            return
        async with self._database.anywhere() as conn:
            address = await turns.waiting_address(conn, place)
        if address is None:
            return
        channel, client = self._channels[account.kind], await self._directory.client(account)
        for unit in channel.render(Reply(text), address):
            await channel.send(client, address, unit, False, new_id("busy"))

    async def close(self) -> None:
        for notice in self._notices:
            notice.cancel()
        await asyncio.gather(*self._notices, return_exceptions=True)
