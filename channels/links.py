"""Which links a reader may follow, and whether a label tells the truth about where it leads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

LONGEST = 2048  # characters; a longer target is no longer worth an anchor
_ADDRESS = re.compile(
    r"(?:(?:[a-z][a-z0-9+.-]*:)?//|www\.)[^\s/]+|\A\s*[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?=[/:?#\s]|\Z)", re.I
)
_URL = re.compile(r"https?://[^\s<>\[\]\"`|\\^{}]+")
_AFTER_URL = ".,;:!?'*_~"  # punctuation that follows an address rather than ends it
_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.I)


def opens(target: str, *, schemes: frozenset[str], longest: int = LONGEST) -> bool:
    """Whether `target` is a whole address in one of `schemes`, and short enough to stand in a link."""
    if len(target) > longest or not target.isprintable() or any(map(str.isspace, target)):
        return False
    try:
        parts = urlsplit(target)
        where = parts.path if parts.scheme == "mailto" else parts.hostname
    except ValueError:
        return False
    return bool(where) and parts.scheme in schemes


def spelled(label: str, target: str) -> bool:
    """Whether the label is the target itself, so that nothing is hidden behind it."""
    return label in (target, target.removeprefix("mailto:")) or label == unquote(target)


def honest(label: str, target: str) -> bool:
    """False when the label reads like an address that leads elsewhere: the reader has to see the target, too."""
    named = [_host(found.group()) for found in _ADDRESS.finditer(label)]
    return not named or set(named) <= {_host(target)}


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where the bare web addresses in a text begin and end."""
    for found in _URL.finditer(text):
        url = _trimmed(found.group())
        if not url.endswith(("//", ":")):
            yield found.start(), found.start() + len(url)


def _trimmed(url: str) -> str:
    """Without closing punctuation; a bracket stays when it closes one in the address."""
    url = url.rstrip(_AFTER_URL)
    surplus = url.count(")") - url.count("(")
    while surplus > 0 and url.endswith(")"):
        url, surplus = url[:-1].rstrip(_AFTER_URL), surplus - 1
    return url


def _host(address: str) -> str:
    address = address.strip()
    if not _SCHEME.match(address):
        address = "//" + address
    try:
        return (urlsplit(address).hostname or "").lower().removeprefix("www.")
    except ValueError:
        return ""
