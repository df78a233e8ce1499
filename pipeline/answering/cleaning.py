"""A model's text made safe to show, piece by piece, while it streams.

What a model writes may have been steered by a passage. So no picture is ever let through, nor a link whose address
does not stand letter by letter in the passages: either could carry what was said to somebody else's server.
"""

from __future__ import annotations

import re
from collections.abc import Collection

URL = re.compile(r"(?:https?|ftp):[^\s<>\"'`)\]|]+|www\.[^\s<>\"'`)\]|]+", re.IGNORECASE)
TRAILING = ".,;:!?*_"  # punctuation after an address that is not part of it

# Lengths are bounded so that no text makes the scan slow, nor holds the stream back for long.
_LABEL = r"(?:[^\[\]]|\[[^\]]{0,200}\]){0,300}"
_MARK = r"[\[【]\^?\d{1,3}(?:\s?[,;]\s?\^?\d{1,3}){0,20}[\]】]"
_TOKEN = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|`[^`\n]+`)"
    r"|(?P<html></?(?:img|picture|source|svg|iframe|object|embed|video|audio|link|script|style|a)\b[^>]{0,2000}>?)"
    r"|(?P<definition>\n[ \t]*\[[^\]\n]{1,200}\]:[ \t]*<?(?:[a-z]+:|www\.|/)[^\n]*)"
    rf"|(?P<exclaimed>!(?={_MARK}))"
    rf"|(?P<gap>[ \t]*)(?P<cited>{_MARK})(?:\([^)\n]{{0,2000}}\))?"
    rf"|(?P<link>!?\[(?P<label>{_LABEL})\](?P<target>\(\s?<?(?P<address>[^\s)>]*)[^)]{{0,2000}}\)|\[[^\]]{{0,200}}\])?)"
    r"|(?P<bang>!(?=\[))"
    rf"|<?(?P<url>{URL.pattern})>?",
    re.IGNORECASE | re.DOTALL,
)
# What more text could still turn into something else: an open fence, bracket or tag, or the last word.
_OPEN = re.compile(
    r"```(?:(?!```).)*\Z|`[^`\n]*\Z|<[/a-z][^>]{0,2000}\Z|\n[ \t]*\[[^\]\n]{1,200}\]:[^\n]{0,2000}\Z"
    rf"|!?\[{_LABEL}(?:\](?:\([^)]{{0,2000}}|\[[^\]]{{0,200}})?)?\Z|\s*\S*\Z",
    re.IGNORECASE | re.DOTALL,
)


class Cleaner:
    """Takes an answer piece by piece and gives back what may be shown of it.

    The parts that `feed` and `finish` return, joined, are the clean answer. `cited` fills with the passage numbers
    (of those in `passages`) that it names, in order of appearance; `marked_unknown` tells that it bore the mark [0].
    """

    def __init__(self, passages: Collection[int], addresses: Collection[str]) -> None:
        self._passages = passages
        self._addresses = addresses
        self._held = ""
        self._exclaims = False  # what was shown last ends with "!", outside of code
        self.cited: list[int] = []
        self.marked_unknown = False

    def feed(self, piece: str) -> str:
        self._held += piece
        settled = _settled(self._held)
        clean, self._held = self._show(self._held[:settled]), self._held[settled:]
        return clean

    def finish(self) -> str:
        clean, self._held = self._show(self._held), ""
        return clean

    def _show(self, text: str) -> str:
        """Clean text to follow what was shown: "!" and "[" that meet because something between went are kept apart."""
        shown, at = "", 0
        for match in _TOKEN.finditer(text):
            shown += self._apart(text[at : match.start()])
            shown += self._apart(self._replace(match), code=bool(match["code"]))
            at = match.end()
        return shown + self._apart(text[at:])

    def _apart(self, part: str, *, code: bool = False) -> str:
        if not part:
            return ""
        met = self._exclaims and part.startswith("[")
        self._exclaims = part.endswith("!") and not code
        return f" {part}" if met else part

    def _clean(self, text: str) -> str:
        return _TOKEN.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        if match["exclaimed"]:
            return "! "  # "Yes![1]" is a cited exclamation, and must not become a picture
        if match["cited"]:
            return self._marks(match["gap"], match["cited"])
        if match["url"]:
            address = match["url"].rstrip(TRAILING)
            return match[0] if address in self._addresses else match["url"][len(address) :]
        if match["link"]:
            return self._link(match)
        return ""

    def _link(self, match: re.Match[str]) -> str:
        label, image = self._clean(match["label"]), match[0].startswith("!")
        if match["address"] in self._addresses and not image:
            return f"[{label}]({match['address']})"
        return label if image or match["target"] else f"[{label}]"

    def _marks(self, gap: str, cited: str) -> str:
        numbers = [int(n) for n in re.findall(r"\d+", cited)]
        self.marked_unknown |= 0 in numbers
        known = [n for n in dict.fromkeys(numbers) if n in self._passages]
        self.cited += [n for n in known if n not in self.cited]
        return gap + "".join(f"[{n}]" for n in known) if known else ""


def _settled(text: str) -> int:
    """How much of a text keeps its meaning whatever follows."""
    at = 0
    while at < len(text) and not _OPEN.match(text, at):
        token = _TOKEN.match(text, at)
        at = token.end() if token else at + 1
    return at
