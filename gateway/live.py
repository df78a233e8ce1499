"""Showing an answer while it is made, at the pace that its platform allows.

Where the preview is a message that lasts, the turn keeps its receipt: first that there may be one, then where it is. So
whoever ends the turn puts the answer in its place, however the process that had begun to show it has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.heal import heal
from kernel.types import Json, Preview

_PATIENCE = 0.7  # seconds; an answer that is there sooner is not shown in pieces
AWAITED: Json = {"awaited": True}

Store = Callable[[Json], Awaitable[bool]]
Allowed = Callable[[], Awaitable[bool]]


class Live:
    """`add` pieces as they come, then `stop`. `store` keeps a receipt with the turn, False when that is lost.

    `allowed` says whether the outbound budget has room to spare for a preview.
    """

    def __init__(
        self,
        preview: Preview,
        client: Any,
        address: Json,
        key: str,
        *,
        store: Store,
        allowed: Allowed,
        patience: float = _PATIENCE,
    ) -> None:
        self._preview = preview
        self._client = client
        self._address = address
        self._key = key
        self._store = store
        self._allowed = allowed
        self._patience = patience
        self._text = ""
        self._shown = ""
        self._state: Json = {}
        self._awaited = False
        self._began = time.time()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, piece: str) -> None:
        self._text += piece
        if self._task is None and not self._ended.is_set():
            self._task = asyncio.create_task(self._run())

    def restart(self) -> None:
        """The answer is made anew, from its first word."""
        self._text = ""

    async def stop(self) -> Json | None:
        """Waits for a call under way: it must not come after the answer. The receipt of what is to be replaced."""
        self._ended.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._awaited and not self._state:  # a call broke off: the platform may have shown something
            return await self._preview.recover(self._client, self._address, self._key, self._began)
        return self._state if self._awaited else None

    def cancel(self) -> None:
        self._ended.set()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await self._rest(self._patience)
        while not self._ended.is_set():
            text = heal(self._text)
            if text.strip() and text != self._shown and await self._allowed() and not await self._show(text):
                return
            await self._rest(self._preview.floor(self._address))

    async def _show(self, text: str) -> bool:
        """False when nothing more is to be shown."""
        if self._preview.lasting and not self._awaited:
            if not await self._store(AWAITED):
                return False
            self._awaited = True
        known = bool(self._state)
        state = await self._preview.show(self._client, self._address, self._state, text, self._key)
        if state is None:
            return False
        self._state, self._shown = state, text if state else ""
        return known or not self._awaited or not state or await self._store(state)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
