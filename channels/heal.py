"""What a half-written answer looks like while it streams. Pure, in time linear in the text.

Only the last block can be unfinished, so only its end is touched: what stands open is closed, and marks that have
nothing behind them yet are held back. Everything before stays as it is, and so does a text whose last block is done.
"""

from __future__ import annotations

import re

from markdown_it.token import Token

from channels.markdown import block_tokens
from channels.unfinished import healed

# A last line that is only the beginning of a list, a heading, a quote, a rule or of what underlines a heading.
_BEGINNING = re.compile(r"([ \t>]*)(?:[-*_=]{1,3}|\+|#{1,6}|>)[ \t]*\Z")
_CONTAINER = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+[ \t>]*)*")
_DELIMITER_ROW = re.compile(r"[|:\- \t]*\Z")
_PIPE = re.compile(r"\\.|(\|)", re.S)


def heal(markdown: str) -> str:
    """`markdown` as far as it can be shown: balanced, without half a mark or half a link's target at its end."""
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    tokens = block_tokens(text)
    leaf = _last_leaf(tokens)
    if leaf is not None and leaf.type == "fence":
        return _with_closed_fence(text, leaf)
    if leaf is not None and leaf.type == "code_block":
        return text
    begun = _BEGINNING.match(text, _last_line(text))
    if begun:
        text = text[: begun.end(1)]
        tokens = block_tokens(text)
        leaf = _last_leaf(tokens)
    if leaf is None or leaf.type != "inline":
        return text
    return _with_healed_end(text, tokens, leaf)


def _last_leaf(tokens: list[Token]) -> Token | None:
    return next((token for token in reversed(tokens) if token.nesting == 0), None)


def _last_line(text: str) -> int:
    return text.rfind("\n") + 1


def _lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def _prefix(line: str) -> str:
    """What a line further down begins with to stand in the same quotes and list items as `line`."""
    found = _CONTAINER.match(line)
    return "".join(c if c in " \t>" else " " for c in found.group()) if found else ""


def _with_closed_fence(text: str, fence: Token) -> str:
    assert fence.map
    first, after = fence.map
    inside = _lines(fence.content) if fence.content else 0
    if after - first > 1 + inside or after < _lines(text):  # closed, or its list or quote has ended
        return text
    last = text[_last_line(text) :].strip(" \t>")
    if inside and last and not last.strip(fence.markup[0]):
        text = text[: _last_line(text)]  # half of the closing line
    prefix = _prefix(text.split("\n", first + 1)[first])
    return f"{text.removesuffix(chr(10))}\n{prefix}{fence.markup}"


def _with_healed_end(text: str, tokens: list[Token], leaf: Token) -> str:
    block = next(token for token in reversed(tokens) if token.nesting == 1 and token.map)
    assert block.map and leaf.map
    ended = _lines(text) > block.map[1]
    line = _last_line(text)
    if block.type == "paragraph_open":
        if ended:
            return text
        written = text.removesuffix("\n")
        if written[_last_line(written) :].lstrip(" \t>").startswith("|"):
            return _with_table(written, _last_line(written))
        first_line = leaf.content.split("\n", 1)[0]
        start = text.index(first_line, _start_of_line(text, leaf.map[0]))
        return text[:start] + _healed(text[start:])
    if ended or text.endswith("\n") or block.markup in ("-", "="):
        return text
    start = _last_cell(text, line) if block.type == "tr_open" else line
    return text[:start] + _healed(text[start:])


def _start_of_line(text: str, number: int) -> int:
    position = 0
    for _ in range(number):
        position = text.index("\n", position) + 1
    return position


def _healed(tail: str) -> str:
    """`tail` with its end healed; a last line that is only the mark of a quote stays behind it."""
    line = tail.rfind("\n")
    if line >= 0 and not tail[line:].strip(" \t\n>"):
        return healed(tail[:line]) + tail[line:]
    return healed(tail)


def _last_cell(text: str, line: int) -> int:
    """Where the last cell of the row in the line at `line` begins."""
    return max((found.end() for found in _PIPE.finditer(text, line) if found.group(1)), default=line)


def _with_table(text: str, line: int) -> str:
    """A paragraph that ends with what looks like a table's first row, or with its first row and half of the row of
    dashes below: as the table that it is going to be."""
    above = text[text.rfind("\n", 0, max(0, line - 1)) + 1 : max(0, line - 1)] if line else ""
    lead, row = _prefix(text[line:]), text[line:].strip(" \t\n>")
    if above.lstrip(" \t>").startswith("|"):
        if not _DELIMITER_ROW.match(row):
            return text
        return f"{text[:line]}{lead}{_delimiters(above.strip(' >'))}"
    if not row.strip("| \t"):
        return text[:line] + lead
    start = _last_cell(text, line)
    text = (text[:start] + healed(text[start:])).rstrip("\n")
    return f"{text}\n{lead}{_delimiters(text[line:].strip(' >'))}"


def _delimiters(row: str) -> str:
    """The row of dashes for a table's first row."""
    pipes = [found.start() for found in _PIPE.finditer(row) if found.group(1)]
    edges = (0 in pipes) + (len(row) - 1 in pipes and len(row) > 1)
    return "|" + "-|" * max(1, len(pipes) + 1 - edges)
