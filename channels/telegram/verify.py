"""Does a webhook call come from Telegram? Judged by the secret token alone, before any JSON is read."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from kernel.types import Account

HEADER = "X-Telegram-Bot-Api-Secret-Token"


def verify(account: Account, headers: Mapping[str, str], body: bytes) -> bool:
    """True when the request carries the secret that `setWebhook` was given; an account without one trusts nobody.

    `headers` is case-insensitive, as aiohttp hands them over. Telegram signs no body, so `body` is not read.
    Source: https://core.telegram.org/bots/api#setwebhook
    """
    secret = account.credentials.get("webhook_secret")
    given = headers.get(HEADER)
    if not isinstance(secret, str) or not secret or given is None:
        return False
    return hmac.compare_digest(_bytes(secret), _bytes(given))


def _bytes(text: str) -> bytes:
    # aiohttp decodes foreign header bytes to lone surrogates, which strict UTF-8 would refuse.
    return text.encode("utf-8", "surrogatepass")
