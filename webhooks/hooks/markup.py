"""Foreign text in markdown, so that it stays text. What `escape` promises, whatever it is given, where words may stand:

- it shows as it is: no emphasis, heading, list, quote, table, code, link or image begins, ends or changes in it;
- it calls nobody: an @ before a name is followed by a word joiner (U+2060), which shows nothing and parts the two;
- a bare web address stays itself, and some platforms let readers follow it: what one reads is where it leads;
- it is one line; controls, lone surrogates and what turns the direction of reading are left out.

Grammar: https://spec.commonmark.org/0.31.2/ with tables and strikethrough (https://github.github.com/gfm/).
"""

from __future__ import annotations

import re
from urllib.parse import quote

JOINER = "\u2060"
LONGEST_URL = 2_000

_DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAK = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_GAPS = re.compile(r"\n{3,}")
_CALL = re.compile(r"(?<!\w)@(?=\w)")
_SPECIAL = re.compile(r"[\\`*\[\]<|~]|&(?=[#A-Za-z])|(?<![^\W_])_|_(?![^\W_])|!\Z")
_START = re.compile(r"\A(?:[#>+=.:()-]|\d{1,9}(?=[.)](?:\s|\Z)))", re.ASCII)
_URL = re.compile(r"(?:https?://[^/?#]|mailto:.)", re.IGNORECASE)
_KEPT_IN_URL = "/:?#!$&'+,=%-._"  # what would end a link, begin a style or name a person is percent-encoded
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_STRAY_UNDERLINE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def clean(text: str) -> str:
    """Without what nobody can see or no store can hold; every line break is a line feed."""
    return _BREAK.sub("\n", _DROPPED.sub("", text))


def one_line(text: str) -> str:
    return " ".join(filter(None, (line.strip(" \t") for line in clean(text).split("\n")))).strip()


def escape(text: str) -> str:
    """See above. The result stands for the whole of the text: joining two of them is no escape of their sum."""
    line = _CALL.sub("@" + JOINER, one_line(text))
    escaped = _SPECIAL.sub(lambda found: "\\" + found.group(), line)
    return _START.sub(_not_a_start, escaped, count=1)


def escape_lines(text: str) -> str:
    """Each line escaped by itself, with at most one empty line between two."""
    return _GAPS.sub("\n\n", "\n".join(map(escape, clean(text).split("\n")))).strip("\n")


def _not_a_start(found: re.Match[str]) -> str:
    start = found.group()
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def code(text: str, *, in_table: bool = False) -> str:
    """The text as a code span, with a fence that nothing in it can close; nothing for nothing.

    A table is cut into cells before anything else, so there a | is escaped even here.
    """
    line = one_line(text)
    if not line:
        return ""
    fence = "`" * (_longest_run(line) + 1)
    line = line.replace("|", "\\|") if in_table else line
    return f"{fence} {line} {fence}" if line.startswith("`") or line.endswith("`") else f"{fence}{line}{fence}"


def block(text: str) -> str:
    """The text as a code block, to stand on lines of its own; nothing for nothing."""
    lines = clean(text).strip("\n")
    fence = "`" * max(3, _longest_run(lines) + 1)
    return f"{fence}\n{lines}\n{fence}" if lines.strip() else ""


def url(text: str) -> str:
    """A web or mail address that may stand as a link's target or by itself; nothing for anything else.

    An @ in a web address, brackets and stars are percent-encoded, so they neither mislead nor end the link.
    """
    line = one_line(text)
    if len(line) > LONGEST_URL or not _URL.match(line) or re.search(r"\s", line):
        return ""
    kept = _KEPT_IN_URL + ("@" if line[:7].lower() == "mailto:" else "")
    return _STRAY_UNDERLINE.sub("%5F", _STRAY_PERCENT.sub("%25", quote(line, safe=kept)))


def url_part(text: str) -> str:
    """What stands within a link's target: nothing in it is a delimiter but the slash."""
    return _STRAY_UNDERLINE.sub("%5F", quote(one_line(text)[:LONGEST_URL], safe="/-._"))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
