"""Does a request come from Discord? Judged by its signature alone, before any JSON is read."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kernel.types import Account

SIGNATURE = "X-Signature-Ed25519"
TIMESTAMP = "X-Signature-Timestamp"


def verify(account: Account, headers: Mapping[str, str], body: bytes) -> bool:
    """True when timestamp and body are signed with the application's key; without a key nobody is trusted.

    `headers` is case-insensitive, as aiohttp hands them over. Discord sets no bound to the timestamp's age: a request
    that is played again names an interaction that is known already.
    Source: https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint
    """
    key, given, timestamp = account.credentials.get("public_key"), headers.get(SIGNATURE), headers.get(TIMESTAMP)
    if not isinstance(key, str) or given is None or timestamp is None:
        return False
    try:
        signed = timestamp.encode("utf-8", "surrogatepass") + body
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(given), signed)
    except (ValueError, InvalidSignature):
        return False
    return True
