"""Who chats on a page: a guest, or somebody for whom the page vouches; shown by a token that we sign and keep nowhere.

A token is `pv1.PAYLOAD.MAC`, both in base64url without padding; the MAC is HMAC-SHA256 under a key of the ring's own
for this purpose, over `pv1.PAYLOAD`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace

import orjson

from kernel.secrets import KeyRing

GUEST_LIFE = 30 * 86_400  # seconds; renewed at every visit
VOUCHED_LIFE = 86_400  # never renewed but by the page's signature
_HEAD = "pv1"


@dataclass(frozen=True, slots=True)
class Visitor:
    """external_id   `guest:RANDOM` or `user:ID`; also the key of the conversation
    name, email   what the page says of a person; nobody has proven it
    expires       epoch seconds
    """

    account_id: str
    external_id: str
    expires: int
    name: str = ""
    email: str = ""

    @property
    def vouched(self) -> bool:
        return self.external_id.startswith("user:")

    def in_force(self, now: float) -> bool:
        return now < self.expires


def new_guest(account_id: str, now: float) -> Visitor:
    return Visitor(account_id, f"guest:{secrets.token_urlsafe(16)}", int(now) + GUEST_LIFE)


def of_user(account_id: str, user_id: str, name: str, email: str, now: float) -> Visitor:
    return Visitor(account_id, f"user:{user_id}", int(now) + VOUCHED_LIFE, name, email)


def renewed(visitor: Visitor, now: float) -> Visitor:
    """For longer, if it is a guest."""
    return visitor if visitor.vouched else replace(visitor, expires=int(now) + GUEST_LIFE)


def issue(ring: KeyRing, visitor: Visitor) -> str:
    payload = {
        "a": visitor.account_id,
        "x": visitor.external_id,
        "e": visitor.expires,
        "n": visitor.name,
        "m": visitor.email,
    }
    signed = f"{_HEAD}.{_encoded(orjson.dumps(payload))}"
    return f"{signed}.{_encoded(_mac(ring, signed))}"


def read(ring: KeyRing, account_id: str, token: str, now: float) -> Visitor | None:
    """The visitor whom a token shows to this account; None when it is not ours, another account's or over."""
    signed, _, mac = token.rpartition(".")
    head, _, payload = signed.partition(".")
    try:
        genuine = hmac.compare_digest(_decoded(mac), _mac(ring, signed))
        if head != _HEAD or not genuine:
            return None
        data = orjson.loads(_decoded(payload))
    except ValueError:  # no base64, and so none of ours
        return None
    visitor = Visitor(data["a"], data["x"], data["e"], data["n"], data["m"])
    return visitor if visitor.account_id == account_id and visitor.in_force(now) else None


def _mac(ring: KeyRing, signed: str) -> bytes:
    return hmac.digest(ring.derive("visitors"), signed.encode(), hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("this is no base64url") from error
