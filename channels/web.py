"""The web channel: visitors of somebody's pages, who fetch their replies by id, as over REST.

A page may vouch for its user: `signature` is the hexadecimal HMAC-SHA256, under the account's `identity_secret`, of
`USER_ID:EXPIRES`, where EXPIRES is epoch seconds in decimal digits, or nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.links import opens
from channels.markdown import whole
from channels.pieces import WEB
from channels.web_html import to_html
from kernel.platform import Mode
from kernel.types import Account, Channel, Json, OutgoingFile, Parsed, Reply, SendOutcome, Sent, Unit

ANY_ORIGIN = "*"
_HOST = re.compile(r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])", re.ASCII)
_PORTS = {"http": 80, "https": 443}


def origin_of(text: str) -> str:
    """An origin as browsers write it in `Origin`: scheme, host and a port that is not the usual one; or `*`.

    Raises ValueError for anything else, a path included.
    """
    if text == ANY_ORIGIN:
        return text
    parts = urlsplit(text.strip())
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(f":{parts.port}" if parts.port else "")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise ValueError("an origin is http:// or https://, a host, and a port if it is not the usual one")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("an origin ends after host and port")
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def signature_of(identity_secret: str, user_id: str, expires: int | None) -> str:
    """What a page has to show for its user."""
    signed = f"{user_id}:{'' if expires is None else expires}"
    return hmac.new(identity_secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def vouched(account: Account, user_id: str, expires: int | None, signature: str, now: float) -> bool:
    """Whether the account's page vouches for this user at this time (epoch seconds)."""
    held = str(account.credentials.get("identity_secret", ""))
    genuine = hmac.compare_digest(signature_of(held, user_id, expires).encode(), signature.lower().encode())
    return bool(held) and genuine and (expires is None or now < expires)


def shown(message: Mapping[str, Any]) -> Json:
    """A row of `messages` as a visitor sees it. `html` is made of a small set of tags and may be shown as it is."""
    return {
        "seq": message["seq"],
        "message_id": message["message_id"],
        "role": message["role"],
        "text": message["text"],
        "html": to_html(message["text"]),
        "sources": [_source(citation) for citation in message["citations"]],
        "files": message["files"],
        "choices": message.get("choices", []),
        "rating": message.get("rating"),
        "created_at": message["created_at"],
    }


def _source(citation: Json) -> Json:
    url = str(citation.get("url") or "")
    return {
        "number": citation["number"],
        "title": citation.get("title") or url or "Source",
        "url": url if opens(url, schemes=WEB) else "",
        "quote": citation.get("quote") or "",
    }


def _verify(account: Account, headers: Mapping[str, str], body: bytes) -> bool:
    return False  # visitors show tokens of ours, on routes of their own


def _parse(account: Account, update: Json) -> list[Parsed]:
    raise ValueError("the web channel has no inbound address")


def _render(reply: Reply, address: Json) -> list[Unit]:
    text = whole(reply.markdown).replace("\0", "\ufffd")  # neither Postgres nor JSON holds the rest
    return [Unit({"text": text}, text)]


async def _send(client: Any, address: Json, unit: Unit, plain: bool, key: str) -> SendOutcome:
    return Sent({})


async def _upload(client: Any, address: Json, file: OutgoingFile, key: str) -> SendOutcome:
    return Sent({})  # the message lists it, and the reader fetches it as well


async def _typing(client: Any, address: Json) -> None:
    return None


async def _open(account: Account, wire: Any) -> None:
    return None


CHANNEL = Channel(
    "web",
    _verify,
    _parse,
    _render,
    _send,
    _typing,
    _open,
    idempotent=True,
    modes={"api": Mode(made="identity_secret")},
    upload=_upload,
)
