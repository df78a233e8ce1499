"""Links to the portal, the sessions that they become, and who may put the page into a frame: signed, and kept nowhere.

A token is `HEAD.PAYLOAD.MAC`, both in base64url without padding; the MAC is HMAC-SHA256 under a key of the ring's own
for this purpose, over `HEAD.PAYLOAD`, so that a token of one kind is none of another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kernel.secrets import KeyRing
from kernel.types import Json

SESSION_LIFE = 3_600  # seconds
_LINK, _SESSION, _FRAME = "ppl1", "pps1", "ppf1"
# What a capability amounts to among the scopes of keys.
SCOPES = {"read": "read", "manage": "write"}


@dataclass(frozen=True, slots=True)
class Link:
    """An invitation. `public_id` is the key that made it, and without which it is void; `expires` epoch seconds."""

    link_id: str
    workspace_id: str
    public_id: str
    capabilities: tuple[str, ...]
    expires: int
    theme: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """What a link became in a browser: its key's rights as far as the capabilities go, on the portal's routes alone."""

    workspace_id: str
    public_id: str
    capabilities: tuple[str, ...]
    expires: int

    def scopes(self, of_key: frozenset[str]) -> frozenset[str]:
        return of_key & {SCOPES[name] for name in self.capabilities}


def issue_link(ring: KeyRing, link: Link) -> str:
    payload = [link.link_id, link.workspace_id, link.public_id, link.capabilities, link.expires, link.theme]
    return _signed(ring, _LINK, payload)


def read_link(ring: KeyRing, token: str, now: float) -> Link | None:
    """None when the token is not ours or is over."""
    payload = _read(ring, _LINK, token)
    if payload is None:
        return None
    link_id, workspace_id, public_id, capabilities, expires, theme = payload
    return Link(link_id, workspace_id, public_id, tuple(capabilities), expires, theme) if now < expires else None


def issue_session(ring: KeyRing, session: Session) -> str:
    payload = [session.workspace_id, session.public_id, session.capabilities, session.expires]
    return _signed(ring, _SESSION, payload)


def is_session(token: str) -> bool:
    """Whether a token claims to be a session's."""
    return token.startswith(_SESSION + ".")


def read_session(ring: KeyRing, token: str, now: float) -> Session | None:
    """None when the token is not ours or is over."""
    payload = _read(ring, _SESSION, token)
    if payload is None:
        return None
    workspace_id, public_id, capabilities, expires = payload
    return Session(workspace_id, public_id, tuple(capabilities), expires) if now < expires else None


def issue_frame(ring: KeyRing, origins: Sequence[str]) -> str:
    """Says whose pages may hold the portal in a frame. No secret: it stands in the page's address."""
    return _signed(ring, _FRAME, list(origins))


def read_frame(ring: KeyRing, token: str) -> list[str] | None:
    """None when the token is not ours."""
    payload = _read(ring, _FRAME, token)
    return None if payload is None else list(payload)


def _signed(ring: KeyRing, head: str, payload: Any) -> str:
    signed = f"{head}.{_encoded(orjson.dumps(payload))}"
    return f"{signed}.{_encoded(_mac(ring, signed))}"


def _read(ring: KeyRing, head: str, token: str) -> Any:
    """What was signed, None when it was not signed by us under this head."""
    signed, _, mac = token.rpartition(".")
    found, _, payload = signed.partition(".")
    try:
        genuine = hmac.compare_digest(_decoded(mac), _mac(ring, signed))
        return orjson.loads(_decoded(payload)) if genuine and found == head else None
    except ValueError:  # no base64, and so none of ours
        return None


def _mac(ring: KeyRing, signed: str) -> bytes:
    return hmac.digest(ring.derive("portal"), signed.encode(), hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("this is no base64url") from error
