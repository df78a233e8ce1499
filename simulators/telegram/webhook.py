"""Delivery as the official Bot API server does it: a queue per chat in strict order, many chats at once, and every
answer but 2xx tried again (at once, then after growing pauses, or when Retry-After says) until it succeeds."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from simulators.telegram.errors import ApiError
from simulators.telegram.params import json_object
from simulators.telegram.state import Bot, Config
from simulators.telegram.updates import Update

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name
LONGEST_PAUSE = 60
LONGEST_RETRY_AFTER = 3600
NOT_IN_ANSWERS = ("deletewebhook", "setwebhook", "close", "logout")

Execute = Callable[[Bot, str, dict[str, Any]], Awaitable[None]]


def pause_after(failures: int, retry_after: int, base: float, rng: random.Random) -> float:
    """Seconds until the next try: none after the first failure, then 2, 4, 8 … times `base` up to a minute or two."""
    if retry_after:
        return float(min(retry_after, LONGEST_RETRY_AFTER))
    if failures <= 1:
        return 0.0
    longest = rng.uniform(LONGEST_PAUSE, 2 * LONGEST_PAUSE)
    return base * min(longest, 2.0 ** min(failures - 1, 16))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one POST. error: "" when it was a 2xx."""

    error: str = ""
    retry_after: int = 0
    body: bytes = b""


@dataclass(eq=False, slots=True)
class Courier:
    """Pushes one bot's updates to its webhook from `start` until `stop`."""

    bot: Bot
    config: Config
    session: aiohttp.ClientSession
    execute: Execute
    now: Callable[[], float]
    lanes: dict[int, deque[tuple[int, Update]]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    slots: asyncio.Semaphore = field(init=False)
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.bot.webhook.max_connections)
        self.rng = random.Random(self.config.seed + self.bot.id)

    def start(self) -> None:
        for serial, update in self.bot.mailbox.waiting():
            self.add(serial, update)

    def add(self, serial: int, update: Update) -> None:
        lane = self.lanes.get(update.chat)
        if lane is not None:
            lane.append((serial, update))
            return
        self.lanes[update.chat] = deque([(serial, update)])
        task = asyncio.get_running_loop().create_task(self._drain(update.chat))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self) -> None:
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self.lanes.clear()

    async def _drain(self, chat: int) -> None:
        lane = self.lanes[chat]
        while lane:
            serial, update = lane[0]
            await self._deliver(serial, update)
            lane.popleft()
        # No await since the lane was seen empty: nothing can have been added in between.
        del self.lanes[chat]

    async def _deliver(self, serial: int, update: Update) -> None:
        failures = 0
        while serial in self.bot.mailbox.entries:
            async with self.slots:
                answer = await self._post(update)
            if not answer.error:
                self.bot.mailbox.forget(serial)
                await self._run_answer(answer.body)
                return
            failures += 1
            self.bot.webhook.last_error_date = int(self.now())
            self.bot.webhook.last_error_message = answer.error
            await asyncio.sleep(pause_after(failures, answer.retry_after, self.config.retry_base, self.rng))

    async def _post(self, update: Update) -> Answer:
        webhook = self.bot.webhook
        headers = {"Content-Type": "application/json"}
        if webhook.secret:
            headers[SECRET_HEADER] = webhook.secret
        try:
            async with self.session.post(
                webhook.url, data=update.body, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except TimeoutError:
            return Answer("Read timeout expired")
        except aiohttp.ClientConnectorError:
            return Answer("Connection refused")
        except aiohttp.ClientError:
            return Answer("Webhook connection closed")
        if 200 <= response.status <= 299:
            return Answer(body=body)
        wait = response.headers.get("Retry-After", "")
        reason = f"Wrong response from the webhook: {response.status} {response.reason}"
        return Answer(reason, int(wait) if wait.isdecimal() else 0)

    async def _run_answer(self, body: bytes) -> None:
        """A call may come as the answer: {"method": "sendMessage", …}. Its result goes nowhere."""
        if b'"method"' not in body:
            return
        try:
            call = json_object(body)
        except ApiError:
            return
        method = str(call.pop("method", ""))
        if method and method.lower() not in NOT_IN_ANSWERS and not method.lower().startswith("get"):
            await self.execute(self.bot, method, call)


def webhook_info(bot: Bot) -> dict[str, Any]:
    """The WebhookInfo object."""
    webhook = bot.webhook
    info: dict[str, Any] = {
        "url": webhook.url,
        "has_custom_certificate": False,
        "pending_update_count": len(bot.mailbox),
    }
    if webhook.url:
        info["max_connections"] = webhook.max_connections
    if webhook.last_error_date:
        info["last_error_date"] = webhook.last_error_date
        info["last_error_message"] = webhook.last_error_message
    if bot.mailbox.allowed:
        info["allowed_updates"] = sorted(bot.mailbox.allowed)
    return info
