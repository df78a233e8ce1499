"""Standard Webhooks v1: base64(HMAC-SHA256(key, "id.timestamp.body")), one signature per live secret.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
TOLERANCE = 300
_SHORTEST, _LONGEST = 24, 64
# A dot in an id would make "a" + "T.x" and "a.T" + "x" sign the same.
_ID = re.compile(r"[A-Za-z0-9_]{1,128}")


class SignatureRefused(Exception):
    """A message that must not be believed; the text says why."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def secret_key(secret: str) -> bytes:
    """The key in a `whsec_` secret. Raises ValueError unless it is 24 to 64 bytes in base64."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret starts with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the secret is not base64") from error
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"the secret holds {len(key)} bytes; {_SHORTEST} to {_LONGEST} are allowed")
    return key


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `timestamp` is epoch seconds. Raises ValueError on an id with other signs."""
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id holds letters, digits and underscores only")
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + _digest(key, content).decode() for key in keys)


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(keys, message_id, timestamp, body),
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raises SignatureRefused unless one of the signatures is right and the timestamp within 300 s of `now`.

    Header names in any case. Malformed items in the list of signatures are passed over, as is any other version.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, stamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"]
    except KeyError as error:
        raise SignatureRefused(f"header {error} is missing") from error
    if not re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII):
        raise SignatureRefused("the timestamp is no integer")
    if abs(now - int(stamp)) > TOLERANCE:
        raise SignatureRefused("the timestamp is too old or too new")
    content = b"%b.%b.%b" % (message_id.encode(), stamp.encode(), body)
    expected = [b"v1," + _digest(secret_key(secret), content) for secret in secrets]
    offered = [item.encode() for item in signatures.split(" ")]
    if not any(hmac.compare_digest(right, item) for right in expected for item in offered):
        raise SignatureRefused("no signature matches")


def _digest(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, content, "sha256"))
