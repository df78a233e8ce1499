"""Does a request come from Slack? Judged by its signature over the raw body, before anything in it is read.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from kernel.types import Account

TIMESTAMP, SIGNATURE = "X-Slack-Request-Timestamp", "X-Slack-Signature"
WINDOW_SECONDS = 300

clock: Callable[[], float] = time.time


def verify(account: Account, headers: Mapping[str, str], body: bytes) -> bool:
    """True when `body` was signed with the app's signing secret, and within five minutes of now, either way.

    `headers` is case-insensitive, as aiohttp hands them over. An account without a signing secret trusts nobody.
    """
    secret = account.credentials.get("signing_secret")
    timestamp, given = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not isinstance(secret, str) or not secret or not (timestamp.isascii() and timestamp.isdecimal()):
        return False
    if len(timestamp) > 15 or abs(clock() - int(timestamp)) > WINDOW_SECONDS:
        return False
    signed = hmac.new(_bytes(secret), b"v0:%s:%s" % (timestamp.encode(), body), hashlib.sha256)
    return hmac.compare_digest(b"v0=" + signed.hexdigest().encode(), _bytes(given))


def _bytes(text: str) -> bytes:
    # aiohttp decodes foreign header bytes to lone surrogates, which strict UTF-8 would refuse.
    return text.encode("utf-8", "surrogatepass")
