"""The syntax of templates, parsed into a small tree.

    {{ path | filter: argument | … }}                    a value; {{ "text" }} is the text itself
    {{#each path as name limit=5}} … {{more}} … {{else}} … {{/each}}
    {{#if path}} … {{else}} … {{/if}}                    or {{#if path $in ["a", "b"]}}, by any operator of conditions
    {{! a remark }}

`more` is for when items were left out, their number being `$more`; `else` for when there are none. A line that holds
nothing but one of the tags for sections leaves no line behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from webhooks.hooks.conditions import Test, compile_condition
from webhooks.hooks.filters import FILTERS, Filter, filter_named
from webhooks.hooks.markup import clean
from webhooks.hooks.paths import Fault, Path, parse_path
from webhooks.hooks.placement import Placement

LONGEST, LONGEST_TAG, MOST_TAGS, DEEPEST = 16_384, 2_000, 400, 4
MOST_ITEMS, USUAL_ITEMS, MOST_FILTERS = 50, 10, 8

# No tag holds another's beginning, except in quotes: what is not closed is seen at once.
_TAG = re.compile(
    r"\{\{(?:!([^{}]*(?:(?:\}(?!\})|\{(?!\{))[^{}]*)*)"
    r'|((?:"(?:[^"\\\n]|\\.)*"|[^"{}]|\}(?!\})|\{(?!\{))*))\}\}'
)
_WORD = re.compile(r'\s*([|:,]|(?:"(?:[^"\\]|\\.)*"|[^\s|:,"])+)')
_SECTION = re.compile(r"[#/!]|else$|more$")
_EACH = re.compile(r"(.+?)\s+as\s+([A-Za-z_]\w*)(?:\s+limit=([0-9]{1,3}))?", re.ASCII)
_IF = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^\s"])+)(?:\s+(\$[a-z]+)\s+(.+))?', re.DOTALL)
_LONE_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """`head` is a path, or a text of the template; then filters with their arguments."""

    head: Path | str
    calls: tuple[tuple[Filter, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class Each:
    path: Path
    name: str
    limit: int
    body: tuple[Node, ...]
    more: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Without `test` the value at `path` has to be there, and not null, false, zero or empty."""

    path: Path
    test: Test | None
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Node = Text | Value | Each | If


@dataclass(frozen=True, slots=True)
class Tag:
    inside: str
    line: int
    alone: bool


def parse(source: str, *, markdown: bool) -> tuple[Node, ...]:
    """Raises Fault, whose message names the line."""
    if len(source) > LONGEST:
        raise Fault(f"a template has at most {LONGEST} characters")
    parser = _Parser(clean(source), markdown=markdown)
    try:
        return parser.nodes((), 0)[0]
    except Fault as fault:
        raise Fault(f"line {parser.line}: {fault.message}") from None


class _Parser:
    """Reads tokens one after the other; `line` is that of the tag read last."""

    def __init__(self, source: str, *, markdown: bool) -> None:
        self._tokens = list(_tokens(source))
        self._position = 0
        self._placement = Placement() if markdown else None
        self._has_bars = any("|" in token for token in self._tokens if isinstance(token, str))
        self.line = 1

    def nodes(self, ends: tuple[str, ...], depth: int) -> tuple[tuple[Node, ...], str]:
        """Nodes up to one of the tags in `ends`, which comes with them; without any, up to the end."""
        nodes: list[Node] = []
        while self._position < len(self._tokens):
            token = self._tokens[self._position]
            self._position += 1
            if isinstance(token, str):
                nodes.append(self._text(token))
                continue
            self.line = token.line
            if token.inside in ends:
                return tuple(nodes), token.inside
            nodes.append(self._node(token, depth))
        if ends:
            raise Fault(f"{{{{{ends[-1]}}}}} is missing at the end")
        return tuple(nodes), ""

    def _text(self, text: str) -> Text:
        if self._placement is None:
            return Text(text)
        self._placement.text(text)
        # A backslash before a placeholder would take away the effect of the first escape in its value.
        a_tag_follows = self._position < len(self._tokens)
        return Text(text + "\\" if a_tag_follows and _LONE_BACKSLASH.search(text) else text)

    def _node(self, tag: Tag, depth: int) -> Node:
        if not _SECTION.match(tag.inside):
            return self._value(tag)
        kind, _, rest = tag.inside.partition(" ")
        if kind not in ("#each", "#if"):
            raise Fault(f"{{{{{tag.inside[:40]}}}}} has no place here")
        if depth == DEEPEST:
            raise Fault(f"sections are at most {DEEPEST} deep")
        return self._each(rest, depth + 1) if kind == "#each" else self._if(rest, depth + 1)

    def _each(self, rest: str, depth: int) -> Each:
        found = _EACH.fullmatch(rest.strip())
        if found is None:
            raise Fault("a list is gone through by {{#each path as name limit=5}}")
        limit = int(found[3] or USUAL_ITEMS)
        if not 1 <= limit <= MOST_ITEMS:
            raise Fault(f"limit is from 1 to {MOST_ITEMS}")
        path = parse_path(found[1])
        more: tuple[Node, ...] = ()
        otherwise: tuple[Node, ...] = ()
        body, end = self.nodes(("more", "else", "/each"), depth)
        if end == "more":
            more, end = self.nodes(("else", "/each"), depth)
        if end == "else":
            otherwise, _ = self.nodes(("/each",), depth)
        return Each(path, found[2], limit, body, more, otherwise)

    def _if(self, rest: str, depth: int) -> If:
        found = _IF.fullmatch(rest.strip())
        if found is None:
            raise Fault('a condition is {{#if path}} or {{#if path $eq "text"}}')
        path, operator, given = found.groups()
        test = compile_condition({path: {operator: _json(given)}}) if operator else None
        body, end = self.nodes(("else", "/if"), depth)
        otherwise = self.nodes(("/if",), depth)[0] if end == "else" else ()
        return If(parse_path(path), test, body, otherwise)

    def _value(self, tag: Tag) -> Value:
        head, calls = _expression(tag.inside)
        if self._placement is None:
            return Value(head, calls)
        spot, last = self._placement.value(), calls[-1][0] if calls else None
        if last is FILTERS["block"] and not tag.alone:
            raise Fault("a block of code stands on a line of its own")
        if last is FILTERS["code"] and self._has_bars:
            calls = (*calls[:-1], (FILTERS["code_in_table"], ()))
        if spot != "text":
            if last is FILTERS["block"] or last is FILTERS["code"]:
                raise Fault("no code in the target of a link")
            if last is not FILTERS["url"] and last is not FILTERS["url_part"]:
                calls = (*calls, (FILTERS["url" if spot == "target" else "url_part"], ()))
        return Value(head, calls)


def _tokens(source: str) -> Iterator[str | Tag]:
    """Texts and tags in turn. Raises Fault for a tag that is not closed, and when there are too many."""
    position, count = 0, 0
    for found in _TAG.finditer(source):
        inside = (found[2] or "").strip()
        if len(inside) > LONGEST_TAG:
            raise Fault(f"a tag has at most {LONGEST_TAG} characters")
        alone = _alone(source, found)
        start, end = found.span()
        if alone and (found[1] is not None or _SECTION.match(inside)):
            start, end = alone
        if between := source[position:start]:
            yield _closed(between, source, position)
        position, count = end, count + 1
        if count > MOST_TAGS:
            raise Fault(f"a template has at most {MOST_TAGS} tags")
        if found[1] is None:
            yield Tag(inside, source.count("\n", 0, found.start()) + 1, bool(alone))
    if rest := source[position:]:
        yield _closed(rest, source, position)


def _closed(text: str, source: str, position: int) -> str:
    if "{{" in text:
        line = source.count("\n", 0, position + text.index("{{")) + 1
        raise Fault(f"line {line}: a {{{{ that is not closed")
    return text


def _alone(source: str, tag: re.Match[str]) -> tuple[int, int] | None:
    """From where to where its line goes, when the tag is all that is in it."""
    start = source.rfind("\n", 0, tag.start()) + 1
    end = source.find("\n", tag.end())
    end = len(source) if end < 0 else end + 1
    return (start, end) if not (source[start : tag.start()] + source[tag.end() : end]).strip() else None


def _expression(inside: str) -> tuple[Path | str, tuple[tuple[Filter, tuple[Any, ...]], ...]]:
    words = _words(inside)
    head = _operand(next(words, ""))
    calls: list[tuple[Filter, tuple[Any, ...]]] = []
    word = next(words, "")
    while word:
        if word != "|":
            raise Fault(f"a | was expected before {word!r}")
        name, arguments = next(words, ""), []
        word = next(words, "")
        while word in (":", ","):
            arguments.append(_operand(next(words, "")))
            word = next(words, "")
        if calls and calls[-1][0].last:
            raise Fault(f"nothing may follow the filter before {name}")
        calls.append((filter_named(name, arguments), tuple(arguments)))
    if len(calls) > MOST_FILTERS:
        raise Fault(f"a value has at most {MOST_FILTERS} filters")
    if not isinstance(head, Path | str):
        raise Fault("a value is a path or a text in quotes")
    return head, tuple(calls)


def _words(inside: str) -> Iterator[str]:
    position = 0
    while position < len(inside):
        found = _WORD.match(inside, position)
        if found is None:
            raise Fault(f"{inside[position : position + 40]!r} cannot be read")
        yield found[1]
        position = found.end()


def _operand(word: str) -> Any:
    """A path, or a literal as JSON has it."""
    if not word or word in "|:,":
        raise Fault("a value is missing")
    if word[0] in '"-0123456789' or word in ("true", "false", "null"):
        try:
            return orjson.loads(word)
        except orjson.JSONDecodeError:
            pass
    return parse_path(word)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Fault(f"{text[:40]!r} is no JSON value (texts stand in double quotes)") from None
