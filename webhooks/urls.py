"""Which URLs may be registered, and the credentials that some bring along."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote

from yarl import URL

from webhooks.guard import Network, address_verdict, port_verdict

MAX_URL = 2_048
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator says of URLs: `allow` are networks that are open besides public addresses."""

    allow: Sequence[Network] = ()
    https_only: bool = False


def url_fault(url: object, allow: Sequence[Network] = (), *, https_only: bool = False) -> str | None:
    """Why a URL cannot be registered, or None. Looks no name up: the guard judges addresses at every dial.

    `allow` are the networks that the operator has opened besides public addresses; with any of them open, names without
    a dot are fine too.
    """
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL:
        return f"a URL of at most {MAX_URL} characters is needed"
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return "the URL holds blanks, control characters or backslashes"
    try:
        parsed = URL(url)
        host, port = parsed.raw_host or "", parsed.port
    except (ValueError, UnicodeError):
        return "this is no URL"
    if parsed.scheme not in ("http", "https"):
        return "the scheme has to be https or http"
    if https_only and parsed.scheme != "https":
        return "the scheme has to be https"
    if re.match(r"[a-z]+://[^/?#]*@", url, re.IGNORECASE):
        return "user names and passwords do not belong into the URL"
    if fault := port_verdict(port or 0):
        return fault
    return _host_fault(host.rstrip(".").lower(), allow)


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without user name and password, and those two, decoded; None when it holds neither."""
    found = re.match(r"(https?://)([^/?#]*)@", url, re.IGNORECASE)
    if found is None:
        return url, None
    name, _, password = found[2].partition(":")
    plain = found[1] + url[found.end() :]
    return plain, (unquote(name), unquote(password)) if name or password else None


def _host_fault(host: str, allow: Sequence[Network]) -> str | None:
    if not host:
        return "the URL names no host"
    try:
        address = ip_address(host)
    except ValueError:
        return _name_fault(host, allow)
    verdict = address_verdict(address, allow)
    return f"the address {host} may not be called: {verdict}" if verdict else None


def _name_fault(host: str, allow: Sequence[Network]) -> str | None:
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        return "the host is a number in disguise"
    if not allow and ("." not in host or last in _LOCAL_SUFFIXES):
        return f"the host {host} is not a public name"
    return None
