"""Which links Telegram accepts behind a text, and how it writes them."""

import re
from urllib.parse import parse_qs, urlsplit

from simulators.telegram.text import MarkupError

SCHEMES = ("http", "https", "tg", "ton", "tonsite")
HOST = re.compile(r"^(?:[\w\-]+\.)+[\w\-]{1,}$|^\[[0-9a-fA-F:.]+\]$")


def checked_url(raw: str) -> str | None:
    """The link as Telegram stores it (scheme and path added), or None when it is none."""
    link = raw.strip()
    if not link or any(c.isspace() for c in link):
        return None
    scheme, separator, rest = link.partition(":")
    if scheme.lower() in ("tg", "ton") and separator:
        return f"{scheme.lower()}://{rest.lstrip('/')}" if rest.lstrip("/") else None
    if not re.match(r"^[A-Za-z][A-Za-z0-9+.\-]*://", link):
        link = f"http://{link}"
    try:
        parts = urlsplit(link)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    name = host if host.startswith("[") and host.endswith("]") else host.partition(":")[0]
    if parts.scheme.lower() not in SCHEMES or not HOST.match(name):
        return None
    path = parts.path or "/"
    tail = link[link.index("://") + 3 + len(parts.netloc) + len(parts.path) :]
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}{tail}"


def mentioned_user(link: str) -> int | None:
    """The user of tg://user?id=…, else None."""
    match = re.match(r"^tg:(?://)?user/?\?(.*)$", link.strip(), re.IGNORECASE)
    if not match:
        return None
    number = parse_qs(match[1].partition("#")[0]).get("id", [""])[0]
    return int(number) if number.isdecimal() and int(number) > 0 else None


def custom_emoji_id(number: str) -> str:
    """A valid custom emoji identifier. Raises MarkupError."""
    if not number.isdecimal() or number.startswith("0") or int(number) >= 2**63:
        raise MarkupError("Invalid custom emoji identifier specified")
    return number


def custom_emoji_from(link: str) -> str:
    """The identifier of tg://emoji?id=…. Raises MarkupError."""
    scheme, _, rest = link.partition(":")
    if scheme.lower() != "tg":
        raise MarkupError("Custom emoji URL must have scheme tg")
    host, _, query = rest.removeprefix("//").partition("#")[0].partition("?")
    if host.rstrip("/").lower() != "emoji":
        raise MarkupError('Custom emoji URL must have host "emoji"')
    number = parse_qs(query).get("id", [""])[0]
    if not number:
        raise MarkupError("Custom emoji URL must have an emoji identifier")
    return custom_emoji_id(number)
