"""What an endpoint may be called with besides a signature: headers of its own, credentials, TLS of its own.

Sealed as one JSON object in `webhooks.sealed_options`; `shown` is what of it may be shown again:

    {"headers": {name: value},
     "auth": {"kind": "basic", "username", "password"} | {"kind": "bearer", "token"}
             | {"kind": "oauth2", "token_url", "client_id", "client_secret", "client_auth", "scopes", "audience"},
     "tls": {"certificate", "key", "ca"}}
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from kernel.secrets import KeyRing, SealBroken, place
from kernel.types import Json


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth 2 client credentials (RFC 6749 section 4.4). `client_auth`: basic, or body for those who cannot read it."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    audience: str = ""
    client_auth: str = "basic"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts: a client certificate with its chain and key, and authorities that replace the public ones."""

    certificate: str = ""
    key: str = field(default="", repr=False)
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """Ready to be used. `headers` hold Authorization too, unless it has to be fetched."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    oauth: ClientCredentials | None = None
    tls: Tls | None = None


NO_OPTIONS = Options()


def open_options(keyring: KeyRing, workspace_id: str, webhook_id: str, sealed: bytes | None) -> Options:
    """What `webhooks.sealed_options` holds. Raises SealBroken. Costs some microseconds: cache it by `sealed`."""
    return NO_OPTIONS if sealed is None else read_options(open_json(keyring, workspace_id, webhook_id, sealed))


def open_json(keyring: KeyRing, workspace_id: str, webhook_id: str, sealed: bytes | None) -> Json:
    """The object as it was sealed. Raises SealBroken."""
    if sealed is None:
        return {}
    try:
        value: Json = orjson.loads(keyring.open(sealed, _place(workspace_id, webhook_id)))
    except orjson.JSONDecodeError as error:
        raise SealBroken("the options are no JSON") from error
    return value


def seal_json(keyring: KeyRing, workspace_id: str, webhook_id: str, options: Json) -> bytes | None:
    """None when there is nothing to seal."""
    kept = {name: value for name, value in options.items() if value}
    return keyring.seal(orjson.dumps(kept), _place(workspace_id, webhook_id)) if kept else None


def _place(workspace_id: str, webhook_id: str) -> bytes:
    return place(workspace_id, "webhooks", "sealed_options", webhook_id)


def read_options(options: Mapping[str, Any]) -> Options:
    """The options that a JSON object of the above form stands for."""
    auth, tls = options.get("auth") or {}, options.get("tls")
    headers = dict(options.get("headers") or {})
    if auth.get("kind") == "basic":
        headers["Authorization"] = basic(auth["username"], auth["password"])
    elif auth.get("kind") == "bearer":
        headers["Authorization"] = f"Bearer {auth['token']}"
    return Options(tuple(headers.items()), _oauth(auth), Tls(**tls) if tls else None)


def _oauth(auth: Mapping[str, Any]) -> ClientCredentials | None:
    if auth.get("kind") != "oauth2":
        return None
    given = {name: value for name, value in auth.items() if name != "kind"}
    return ClientCredentials(**{**given, "scopes": tuple(given.get("scopes", ()))})


def basic(username: str, password: str) -> str:
    """The value of Authorization (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
