"""Slack's notation of text as people read it. https://docs.slack.dev/messaging/formatting-message-text"""

from __future__ import annotations

import functools
import re

_TOKEN = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


def clean(text: str) -> str:
    """The text without what Postgres cannot hold: NUL characters and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if "&" in text else text


def readable(text: str, bot: str) -> tuple[str, bool]:
    """The words as a person sees them, without mentions of the user `bot`, and whether there was one."""
    text = clean(text)
    if not bot or f"<@{bot}" not in text:
        return _spelled(text).strip(), False
    without, mentions = _mention(bot).subn("", text)
    if _mention(bot).match(text.lstrip()):
        without = without.lstrip(" ,:")
    return _spelled(without).strip(), mentions > 0


@functools.lru_cache(maxsize=1024)
def _mention(bot: str) -> re.Pattern[str]:
    """A mention, with the space behind it where one stays in front."""
    token = rf"<@{re.escape(bot)}(?:\|[^<>]*)?>"
    return re.compile(rf"(?:(?<=\s)|^){token} ?|{token}")


def _spelled(text: str) -> str:
    return unescape(_TOKEN.sub(_token, text) if "<" in text else text)


def _token(found: re.Match[str]) -> str:
    sign, target, label = found.groups()
    if sign in ("@", "#"):
        return sign + (label or target)
    if sign == "!":
        return label or "@" + target.partition("^")[0]
    if not label:
        return target.removeprefix("mailto:")
    bare = target.removeprefix("mailto:")
    return label if label in (target, bare) or target.endswith("://" + label) else f"{label} ({bare})"
