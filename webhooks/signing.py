"""Standard Webhooks: what signs a message, v1 (HMAC-SHA256) and v1a (Ed25519), and how a receiver checks it.

Both sign "id.timestamp.body" and stand in one header as "version,base64", separated by a space, one for each live key.
Keys in text: `whsec_` (24 to 64 bytes, v1), `whsk_` (private, v1a: 32 bytes of seed and 32 of public key, or the seed
alone) and `whpk_` (public, v1a).
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
TOLERANCE = 300
_SHORTEST, _LONGEST = 24, 64
# A dot in an id would make "a" + "T.x" and "a.T" + "x" sign the same.
_ID = re.compile(r"[A-Za-z0-9_]{1,128}")

# What signs: the bytes of an HMAC key (v1), or a private key (v1a).
SigningKey = bytes | Ed25519PrivateKey


class SignatureRefused(Exception):
    """A message that must not be believed; the text says why."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def new_private_key() -> str:
    key = Ed25519PrivateKey.generate()
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return PRIVATE_PREFIX + base64.b64encode(pair).decode()


def kind_of(secret: str) -> str:
    """v1 or v1a, by the prefix. Raises ValueError for any other."""
    if secret.startswith(PREFIX):
        return "v1"
    if secret.startswith(PRIVATE_PREFIX):
        return "v1a"
    raise ValueError(f"a secret starts with {PREFIX} (v1) or {PRIVATE_PREFIX} (v1a)")


def signing_key(secret: str) -> SigningKey:
    """The key in a `whsec_` or `whsk_` text. Raises ValueError saying what is wrong with it."""
    return secret_key(secret) if kind_of(secret) == "v1" else _private_key(secret)


def secret_key(secret: str) -> bytes:
    """The key in a `whsec_` secret. Raises ValueError unless it is 24 to 64 bytes in base64."""
    key = _decode(secret, PREFIX)
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"the secret holds {len(key)} bytes; {_SHORTEST} to {_LONGEST} are allowed")
    return key


def _private_key(secret: str) -> Ed25519PrivateKey:
    raw = _decode(secret, PRIVATE_PREFIX)
    if len(raw) not in (32, 64):
        raise ValueError(f"the private key holds {len(raw)} bytes; 32 or, with its public key, 64 are allowed")
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    if raw[32:] not in (b"", key.public_key().public_bytes_raw()):
        raise ValueError("the public half does not belong to the private key")
    return key


def public_key(secret: str) -> str:
    """The `whpk_` text that verifies what this `whsk_` key signs. Raises ValueError."""
    return PUBLIC_PREFIX + base64.b64encode(_private_key(secret).public_key().public_bytes_raw()).decode()


def _decode(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise ValueError(f"a secret starts with {prefix}")
    try:
        return base64.b64decode(text.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the secret is not base64") from error


def sign_all(keys: Sequence[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each key, those of v1 first, otherwise in the given order.

    `timestamp` is epoch seconds. Raises ValueError on an id with other signs than letters, digits and underscores.
    """
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id holds letters, digits and underscores only")
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    shared = ["v1," + _digest(key, content).decode() for key in keys if isinstance(key, bytes)]
    own = ["v1a," + base64.b64encode(key.sign(content)).decode() for key in keys if not isinstance(key, bytes)]
    return " ".join(shared + own)


def signed_headers(keys: Sequence[SigningKey], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_all(keys, message_id, timestamp, body),
    }


def verify(keys: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raises SignatureRefused unless one of the signatures is right and the timestamp within 300 s of `now`.

    `keys` are `whsec_` or `whpk_` texts; raises ValueError for any other. Header names in any case. Malformed items in
    the list of signatures are passed over, as is any version that no key is for.
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
    offered = signatures.split(" ")
    if not any(_fits(key, content, item) for key in keys for item in offered):
        raise SignatureRefused("no signature matches")


def _fits(key: str, content: bytes, item: str) -> bool:
    if not key.startswith(PUBLIC_PREFIX):
        return hmac.compare_digest(b"v1," + _digest(secret_key(key), content), item.encode())
    public = Ed25519PublicKey.from_public_bytes(_decode(key, PUBLIC_PREFIX))
    version, _, encoded = item.partition(",")
    if version != "v1a":
        return False
    try:
        public.verify(base64.b64decode(encoded, validate=True), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _digest(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, content, "sha256"))
