"""Commands in Slack. Its own clients keep everything that begins with a slash to themselves, so people write `!new`
to the bot, or use the app's slash command: `/parley new`. Plain words such as "help" are words."""

from __future__ import annotations

KNOWN = frozenset(("help", "new", "start", "link", "unlink"))
PRIVATE = frozenset(("link", "unlink"))  # about who somebody is: not for a channel's eyes
_TAKES_ARGUMENT = PRIVATE


def typed(text: str) -> tuple[str, str]:
    """Command and argument of a message such as `!new` or `/new`; without one, "" and the text."""
    head, _, rest = text.partition(" ")
    name = head[1:].lower()
    return (name, rest.strip()) if head[:1] in ("!", "/") and name in KNOWN else ("", text)


def slash(command: str, text: str) -> tuple[str, str]:
    """Command and argument of a slash command and what follows it; "" and the text when it is a question.

    `/parley link CODE` and, where the app was given a slash command of that name, `/link CODE`.
    """
    if (own := command.lstrip("/").lower()) in KNOWN:
        return own, text.strip()
    words = text.split()
    if not words:
        return "help", ""
    name = words[0].lower().lstrip("!/")
    most = 2 if name in _TAKES_ARGUMENT else 1
    if name in KNOWN and len(words) <= most:
        return name, " ".join(words[1:])
    return "", text.strip()
