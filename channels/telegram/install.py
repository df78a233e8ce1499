"""A bot's client, and what connecting and disconnecting it means at the platform."""

from __future__ import annotations

from channels.telegram.client import TelegramClient, open_client
from channels.telegram.poll import connect, disconnect
from channels.wire import Wire
from kernel.types import Account, Json, NotSent, Refused


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
