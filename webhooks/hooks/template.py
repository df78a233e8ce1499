"""Templates: text with placeholders, sections and conditions, and no code. `webhooks.hooks.syntax` tells the syntax.

`compile_template` refuses what is wrong when a template is saved; `render` then takes any payload, raises nothing, and
ends after a bounded amount of work with a bounded text. Values are escaped for markdown (`webhooks.hooks.markup.escape`
says what that promises), and percent-encoded in the target of a link.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webhooks.hooks.filters import Lines, Markup, text_of
from webhooks.hooks.markup import JOINER, escape, escape_lines, one_line
from webhooks.hooks.paths import Path, Scope, one
from webhooks.hooks.syntax import Each, If, Node, Text, Value, parse

STEPS = 5_000  # a node is one, a condition ten, and 256 characters of a value one more
CUT = "…"


@dataclass(frozen=True, slots=True)
class Template:
    """`markdown`: its values are escaped. Otherwise they are put in as they are, on one line."""

    nodes: tuple[Node, ...]
    markdown: bool


def compile_template(source: str, *, markdown: bool = True) -> Template:
    """Raises Fault."""
    return Template(parse(source, markdown=markdown), markdown)


def render(template: Template, scope: Scope, limit: int) -> str:
    """At most `limit` characters, less white space around them; where it is cut off it ends in an ellipsis."""
    out = _Out(template.markdown, limit - len(CUT))
    _run(template.nodes, scope, out)
    text = "".join(out.parts).strip()
    return text + CUT if out.full else text


class _Out:
    """What was written, and what may still be written."""

    def __init__(self, markdown: bool, left: int) -> None:
        self.parts: list[str] = []
        self.full = False
        self._markdown = markdown
        self._left = left
        self._steps = STEPS

    def spend(self, steps: int) -> None:
        self._steps -= steps
        self.full = self.full or self._steps < 0

    def add(self, text: str) -> None:
        """As much of it as there is room for."""
        self.full = self.full or len(text) > self._left
        self.parts.append(text[: self._left])
        self._left -= len(self.parts[-1])

    def value(self, value: Any) -> None:
        text = text_of(value)
        self.spend(len(text) // 256)
        if not self._markdown:
            self.add(one_line(text))
            return
        escaped = escape_lines if isinstance(value, Lines) else escape
        piece = text if isinstance(value, Markup) else escaped(text)
        if "".join(self.parts[-1:]).endswith("@") and _NAME.match(piece):
            piece = JOINER + piece
        if len(piece) > self._left:
            # Never cut within markup, and before it is escaped, which makes two characters of one at the most.
            piece = "" if isinstance(value, Markup) else escaped(text[: max(self._left // 2 - 2, 0)])
            self.full = True
        if piece:
            self.add(piece)


_NAME = re.compile(r"\w")


def _run(nodes: Sequence[Node], scope: Scope, out: _Out) -> None:
    for node in nodes:
        out.spend(10 if isinstance(node, If) else 1)
        if out.full:
            return
        match node:
            case Text(text):
                out.add(text)
            case Value():
                out.value(_value(node, scope, out))
            case If(path, test, body, otherwise):
                holds = test(scope) if test else bool(one(scope, path))
                _run(body if holds else otherwise, scope, out)
            case Each():
                _each(node, scope, out)


def _value(node: Value, scope: Scope, out: _Out) -> Any:
    value = one(scope, node.head) if isinstance(node.head, Path) else node.head
    for called, arguments in node.calls:
        value = called.run(value, *(one(scope, a) if isinstance(a, Path) else a for a in arguments))
        out.spend(len(value) // 256 if isinstance(value, str) else 1)
    return value


def _each(node: Each, scope: Scope, out: _Out) -> None:
    """An object is gone through by `key` and `value`. `$index` counts from 1."""
    found = one(scope, node.path)
    if isinstance(found, dict):
        items = [{"key": key, "value": value} for key, value in list(found.items())[: node.limit]]
    else:
        items = found[: node.limit] if isinstance(found, list) else []
    for index, item in enumerate(items, 1):
        _run(node.body, scope.naming(**{node.name: item, "$index": index}), out)
    if not items:
        _run(node.otherwise, scope, out)
    elif isinstance(found, dict | list) and len(found) > node.limit:
        _run(node.more, scope.naming(**{"$more": len(found) - node.limit}), out)
