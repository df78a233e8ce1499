"""The end of a half-written run of inline markdown: closed what is open, held back what has nothing behind it yet.

A compact reading of CommonMark's inline grammar (https://spec.commonmark.org/0.31.2/#inlines): escapes, code spans,
emphasis, links and autolinks, in one pass from left to right.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_MARK = re.compile(r"[\\`\[\]<]|\*+|_+|~+")
_TICKS = re.compile(r"`+")
_AUTOLINK = re.compile(r"<[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*(>|\Z)")
_TARGET = re.compile(
    r"[ \t]*(?:<[^<>\n]*>|[^\s<>()]*(?:\([^\s()]*\)[^\s()]*)*)"
    r"(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*\)"
)
_HALF_TARGET = re.compile(r"[ \t]*(?:<[^<>\n]*|[^\s<>]*)(?:[ \t]+[\"'(][^\n]*)?[ \t]*\Z")
LONGEST_TARGET = 2048  # characters; what is longer is no link
LONGEST_LABEL = 200  # characters since an open bracket, after which it is none of a link


def healed(text: str) -> str:
    """`text` with its end healed. White space at the end stays there."""
    body = text.rstrip()
    scan = _Scan(body)
    scan.run()
    end = scan.text.rstrip()
    return end + scan.closers() + scan.text[len(end) :] + text[len(body) :]


@dataclass(slots=True)
class _Opener:
    mark: str
    count: int
    at: int


@dataclass(slots=True)
class _Scan:
    """`text` shrinks while the scan finds that its end is not to be shown; `code` closes a code span left open."""

    text: str
    openers: list[_Opener] = field(default_factory=list)
    standing: Counter[str] = field(default_factory=Counter)  # openers by their mark
    brackets: list[int] = field(default_factory=list)
    code: str = ""

    def run(self) -> None:
        ticks = _later_runs(self.text)
        position = 0
        while found := _MARK.search(self.text, position):
            mark, at = found.group(), found.start()
            if mark == "\\":
                position = at + 2
                if position > len(self.text):
                    self.text = self.text[:at]
            elif mark == "`":
                position = self._ticks(at, ticks)
            elif mark == "[":
                self.brackets.append(at)
                position = at + 1
            elif mark == "]":
                position = self._bracket(at)
            elif mark == "<":
                position = self._autolink(at)
            else:
                self._emphasis(at, mark)
                position = at + len(mark)
        self._hold_back()

    def closers(self) -> str:
        return self.code + "".join(opener.mark * opener.count for opener in reversed(self.openers))

    def _ticks(self, at: int, later: dict[int, int]) -> int:
        """After the code span that begins at `at`, or the end of the text when it is open."""
        ticks = _TICKS.match(self.text, at)
        assert ticks
        after = ticks.end()
        if (closing := later.get(after)) is not None:
            return closing
        inside = self.text[after:].rstrip("`")  # half of the closing run
        if not inside.strip():
            self.text = self.text[:at]
        else:
            self.text = self.text[: after + len(inside)]
            self.code = ticks.group()
        return len(self.text)

    def _bracket(self, at: int) -> int:
        if not self.brackets:
            return at + 1
        opening = self.brackets.pop()
        if self.text[at + 1 : at + 2] != "(":
            return at + 1
        rest = self.text[at + 2 : at + 2 + LONGEST_TARGET]
        if found := _TARGET.match(rest):
            return at + 2 + found.end()
        if len(rest) == LONGEST_TARGET or not _HALF_TARGET.match(rest):
            return at + 1
        self.text = self.text[: self._mark_of(opening)] + self.text[opening + 1 : at]
        return len(self.text)

    def _autolink(self, at: int) -> int:
        found = _AUTOLINK.match(self.text, at)
        if not found:
            return at + 1
        if found.group(1):
            return found.end()
        self.text = self.text[:at] + self.text[at + 1 :]
        return len(self.text)

    def _emphasis(self, at: int, run: str) -> None:
        mark, count, end = run[0], len(run), at + len(run)
        if mark == "~" and count < 2 and end < len(self.text):
            return
        opens, closes = _flanks(self.text, at, end)
        while count and closes and self.standing[mark]:
            while self.openers[-1].mark != mark:
                self.standing[self.openers.pop().mark] -= 1
            opener = self.openers[-1]
            if end == len(self.text) and count < min(opener.count, 2):
                break  # half of the closing run
            taken = min(count, opener.count)
            opener.count -= taken
            count -= taken
            if not opener.count:
                self.openers.pop()
                self.standing[mark] -= 1
        if count and end == len(self.text):
            self.text = self.text[: end - count]
        elif count and opens:
            self.openers.append(_Opener(mark, min(count, 2 if mark == "~" else 3), at))
            self.standing[mark] += 1

    def _hold_back(self) -> None:
        """Drops openers that have nothing behind them, and brackets that may become a link."""
        told = len(self.text.rstrip(" \t\n!*_~["))
        while not self.code and self.openers and self.openers[-1].at >= told:
            self.text = self.text[: self.openers.pop().at]
        for at in reversed(self.brackets):
            if len(self.text) - LONGEST_LABEL <= at < len(self.text):
                self.text = self.text[: self._mark_of(at)] + self.text[at + 1 :]

    def _mark_of(self, bracket: int) -> int:
        """Where the mark that ends with this bracket begins: an image's is two characters."""
        return bracket - 1 if self.text[max(0, bracket - 1) : bracket] == "!" else bracket


def _later_runs(text: str) -> dict[int, int]:
    """For the end of each run of backticks the end of the next run of the same length, where there is one."""
    later: dict[int, int] = {}
    last: dict[int, int] = {}
    for found in reversed(list(_TICKS.finditer(text))):
        length = found.end() - found.start()
        if length in last:
            later[found.end()] = last[length]
        last[length] = found.end()
    return later


def _flanks(text: str, at: int, end: int) -> tuple[bool, bool]:
    """Whether a run of delimiters can open, and whether it can close emphasis."""
    before, after = text[at - 1 : at] or " ", text[end : end + 1] or " "
    left = not after.isspace() and (after.isalnum() or not before.isalnum())
    right = not before.isspace() and (before.isalnum() or not after.isalnum())
    if text[at] == "_":
        return left and not (right and before.isalnum()), right and not (left and after.isalnum())
    single = text[at] == "*" and end - at == 1
    return left and not (single and before.isalnum()), right
