"""Styled text in Discord's markdown, so that everything that is text shows as it stands.

Rules: https://support.discord.com/hc/en-us/articles/210298617 and, for masked links, what Discord's staff say in
https://github.com/discord/discord-api-docs/issues/6185 (no escapes in a label) and /7721 (no address in a label).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from channels.links import opens, spelled
from channels.markdown import Span, Spans, text_of

BREAK = "\u200b"  # parts what would be read together, and shows nothing
SCHEMES = frozenset({"http", "https"})
LONGEST_LINK = 500  # characters; a longer target would fill the message

_SPECIAL = re.compile(
    r"(<a?:\w{2,32}:\d{15,21}>)|@(?=everyone|here)|[\\*_~`|<]|(?<=\])\(|(?:(?<=https)|(?<=http)):(?=//)", re.I
)
_LINE_START = re.compile(r"^([ \t]*)(#{1,3}(?=\s|$)|-(?=[\s#]|$)|>|\d+(?=\.(?:\s|$)))", re.M)
_HIDDEN_IN_LABEL = re.compile(r"[\[\]<>@\n]|://|www\.|discord\.gg", re.I)
_STYLED_IN_LABEL = re.compile(r"[\\*_~`|]")
_BARE = re.compile(r"https?://[^\s<>\[\]\\`|]+")
_IN_TARGET = {"(": "%28", ")": "%29", "<": "%3C", ">": "%3E", "\\": "%5C"}
_DELIMITERS = "*~`"


def anchor(label: Spans, target: str) -> bool:
    """Whether Discord makes a masked link of this, or the target is its own label."""
    if not opens(target, schemes=SCHEMES, longest=LONGEST_LINK):
        return False
    text = text_of(label)
    if spelled(text, target):
        return _BARE.fullmatch(text) is not None
    plain = all(span.code or not _STYLED_IN_LABEL.search(span.text) for span in label)
    return plain and bool(text.strip()) and not _HIDDEN_IN_LABEL.search(text)


def markup(spans: Spans, *, bold: bool = False) -> str:
    """The spans as markdown. `bold` makes all of them so."""
    parts: list[str] = []
    for link, group in groupby(spans, key=attrgetter("link")):
        label = tuple(group)
        runs = _runs(label, bold=bold)
        _append(parts, _linked(label, link, "".join(runs)) if link else runs)
    return "".join(parts)


def escape(text: str) -> str:
    """Text that shows as it stands, at the start of a line, too. Custom emoji stay what they are."""
    return _LINE_START.sub(_escaped_line, _SPECIAL.sub(_escaped, text))


def fenced(code: str, language: str) -> str:
    """A code block. A run of backticks in the code is parted, because nothing else could keep it inside."""
    inside = code.replace("``", f"`{BREAK}`").replace("``", f"`{BREAK}`")
    if inside.endswith("`"):
        inside += BREAK
    return f"```{language.lower()}\n{inside}\n```"


def _escaped(found: re.Match[str]) -> str:
    if found.group(1):
        return found.group(1)
    return f"@{BREAK}" if found.group() == "@" else "\\" + found.group()


def _escaped_line(found: re.Match[str]) -> str:
    indent, mark = found.groups()
    return f"{indent}{mark}\\" if mark.isdigit() else f"{indent}\\{mark}"


def _linked(label: Spans, link: str, inside: str) -> Iterator[str]:
    if not anchor(label, link):  # part of a longer label
        yield inside
        return
    if spelled(text_of(label), link):
        yield f"<{text_of(label)}>"
        return
    bare = inside.strip()
    before, after = inside[: len(inside) - len(inside.lstrip())], inside[len(inside.rstrip()) :]
    target = "".join(_IN_TARGET.get(character, character) for character in link)
    yield f"{before}[{bare}](<{target}>){after}"


def _runs(spans: Spans, *, bold: bool) -> list[str]:
    parts: list[str] = []
    _append(parts, (_styled(span, bold=bold) for span in spans))
    return parts


def _append(parts: list[str], more: Iterator[str] | list[str]) -> None:
    """Adds markup, parting delimiters that would be read together with those before them."""
    for part in more:
        if parts and parts[-1][-1:] in _DELIMITERS and part[:1] in _DELIMITERS:
            parts.append(BREAK)
        parts.append(part)


def _styled(span: Span, *, bold: bool) -> str:
    """One run with all its delimiters, which Discord does not take next to white space."""
    if span.code:
        return _code(span.text)
    text = span.text.strip()
    if not text:
        return span.text
    begin = span.text.index(text)
    marks = ("~~" if span.strike and "~" not in text else "") + ("**" if span.bold or bold else "")
    marks += "*" if span.italic else ""
    return f"{span.text[:begin]}{marks}{escape(text)}{marks[::-1]}{span.text[begin + len(text) :]}"


def _code(text: str) -> str:
    if "`" not in text:
        return f"`{text}`"
    inside = text.replace("``", f"`{BREAK}`").replace("``", f"`{BREAK}`")
    return f"`` {inside} ``"
