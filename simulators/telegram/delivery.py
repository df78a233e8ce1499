"""How a bot gets its updates: one long poll at a time, or a webhook; never both."""

import asyncio
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import orjson

from simulators.telegram.errors import bad_request, conflict
from simulators.telegram.params import Params
from simulators.telegram.state import Bot, Webhook, World
from simulators.telegram.updates import Update
from simulators.telegram.webhook import Courier, Execute

SECRET = re.compile(r"^[A-Za-z0-9_-]*$")
LONGEST_POLL = 50


@dataclass(eq=False, slots=True)
class Delivery:
    world: World
    session: aiohttp.ClientSession
    execute: Execute
    polls: dict[int, asyncio.Future[str]] = field(default_factory=dict)
    couriers: dict[int, Courier] = field(default_factory=dict)

    async def start(self) -> None:
        """Begin to push what restored bots are owed."""
        self.world.deliver = self.deliver
        for bot in self.world.bots.values():
            self._begin(bot)

    async def stop(self) -> None:
        for number, chat_id in list(self.world.held):
            self.world.release(self.world.bots[number], chat_id)
        for bot in list(self.world.bots.values()):
            self._end_poll(bot, "shutdown")
            await self._end_courier(bot)

    def deliver(self, bot: Bot, serial: int, update: Update) -> None:
        if courier := self.couriers.get(bot.id):
            courier.add(serial, update)
        else:
            self._end_poll(bot, "mail")

    async def get_updates(self, bot: Bot, params: Params) -> list[orjson.Fragment]:
        """Confirm what lies below offset, then answer with what waits, or wait up to `timeout` seconds for it."""
        if bot.webhook.url:
            raise conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            )
        self._end_poll(bot, "other")
        limit = min(max(params.whole("limit", 100), 1), 100)
        timeout = min(max(params.whole("timeout"), 0), LONGEST_POLL)
        self._allow(bot, params)
        if offset := params.whole("offset"):
            self.world.changes += 1
            bot.mailbox.confirm(offset)
        if not bot.mailbox and timeout:
            await self._wait(bot, timeout)
        return [orjson.Fragment(update.body) for update in bot.mailbox.first(limit)]

    async def _wait(self, bot: Bot, timeout: float) -> None:
        poll: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.polls[bot.id] = poll
        try:
            async with asyncio.timeout(timeout):
                reason = await poll
        except TimeoutError:
            return
        finally:
            if self.polls.get(bot.id) is poll:
                del self.polls[bot.id]
        if reason == "other":
            raise conflict("terminated by other getUpdates request; make sure that only one bot instance is running")
        if reason == "webhook":
            raise conflict("terminated by setWebhook request")

    async def set_webhook(self, bot: Bot, params: Params) -> bool:
        """Check everything, then replace the courier. An empty url deletes the webhook."""
        url = params.text("url")
        secret = params.text("secret_token")
        if url:
            check_url(url)
            if len(secret) > 256:
                raise bad_request("secret token is too long")
            if not SECRET.match(secret):
                raise bad_request("secret token contains unallowed characters")
        await self._end_courier(bot)
        self._allow(bot, params)
        if params.flag("drop_pending_updates"):
            bot.mailbox.clear()
        connections = min(max(params.whole("max_connections", 40), 1), 100)
        bot.webhook = Webhook(url, secret, connections) if url else Webhook()
        self.world.changes += 1
        if url:
            self._end_poll(bot, "webhook")
        self._begin(bot)
        return True

    async def delete_webhook(self, bot: Bot, params: Params) -> bool:
        await self._end_courier(bot)
        if params.flag("drop_pending_updates"):
            bot.mailbox.clear()
        bot.webhook = Webhook()
        self.world.changes += 1
        return True

    def _allow(self, bot: Bot, params: Params) -> None:
        if "allowed_updates" not in params.values:
            return
        kinds = params.parsed("allowed_updates", "allowed_updates")
        if isinstance(kinds, list):
            bot.mailbox.allowed = frozenset(str(kind) for kind in kinds)

    def _begin(self, bot: Bot) -> None:
        if bot.webhook.url and bot.id not in self.couriers:
            courier = Courier(bot, self.world.config, self.session, self.execute, self.world.now)
            self.couriers[bot.id] = courier
            courier.start()

    async def _end_courier(self, bot: Bot) -> None:
        if courier := self.couriers.pop(bot.id, None):
            await courier.stop()

    def _end_poll(self, bot: Bot, reason: str) -> None:
        poll = self.polls.pop(bot.id, None)
        if poll and not poll.done():
            poll.set_result(reason)


def check_url(url: str) -> None:
    """https anywhere; http only to this machine or a private network, where no certificate can be had.

    Raises ApiError in the server's words.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
        parts = urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        raise bad_request("invalid webhook URL specified")
    if parts.scheme == "http" and not _local(host):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".internal", ".local"))
