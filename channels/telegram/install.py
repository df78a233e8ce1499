"""A bot's client, and what connecting and disconnecting it means at the platform."""

from __future__ import annotations

from telegram.error import NetworkError

from channels.telegram.client import TelegramClient, open_client
from channels.telegram.poll import connect, disconnect
from channels.wire import Wire
from kernel.platform import Pace
from kernel.types import Account, Health, Json, NotSent, Refused

_PRIVATE = Pace(bot=30, bot_burst=30, chat=1, chat_burst=5)
_GROUP = Pace(bot=30, bot_burst=30, chat=20 / 60, chat_burst=10)
_PENDING = 100  # updates that may wait at the platform before we call a bot deaf


async def open_bot(account: Account, wire: Wire) -> TelegramClient:
    client = open_client(account, wire.settings.telegram_api_base_url, wire.sessions)
    await client.start()
    return client


async def install(account: Account, wire: Wire, url: str) -> Json | Refused | NotSent:
    """Checks the token, and sets the webhook to `url` or takes it away, by the account's mode. Returns the profile."""
    client = await open_bot(account, wire)
    try:
        return await connect(client, account.mode, url, account.credentials.get("webhook_secret", ""))
    finally:
        await client.close()


async def uninstall(account: Account, wire: Wire) -> Refused | NotSent | None:
    if account.mode != "webhook":
        return None
    client = await open_bot(account, wire)
    try:
        return await disconnect(client)
    finally:
        await client.close()


def pace(address: Json) -> Pace:
    """About 30 messages a second by a bot, one in a chat, 20 a minute in a group (https://core.telegram.org/bots/faq)."""
    return _PRIVATE if address.get("private", True) else _GROUP


async def probe(client: TelegramClient, account: Account, url: str) -> Health:
    """Asks Telegram whether its updates reach us. Source: https://core.telegram.org/bots/api#webhookinfo"""
    try:
        answer = await client.call("getWebhookInfo", {})
    except NetworkError as error:
        return Health(False, f"Telegram does not answer: {error.message}")
    if not answer.ok or not isinstance(answer.result, dict):
        return Health(False, f"Telegram refuses: {answer.description}")
    return _health(account.mode, answer.result, url)


def _health(mode: str, info: Json, url: str) -> Health:
    pending, at = info.get("pending_update_count", 0), info.get("url") or ""
    if mode == "polling":
        return Health(False, "a webhook is set, so polling brings nothing") if at else Health(True, "polled")
    if at != url:
        return Health(False, f"Telegram delivers to {at or 'nowhere'} and not to {url}")
    if pending and (said := info.get("last_error_message")) and pending > 1:
        return Health(False, f"{pending} updates wait; the last delivery failed: {said}")
    return Health(pending <= _PENDING, f"{pending} updates wait")
