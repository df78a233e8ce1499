"""Where the headings of a document are: markdown, plain text, and HTML turned into markdown first. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser, LexborNode

_TITLE_LENGTH = 120
_DROPPED = ", ".join(
    ("script", "style", "noscript", "template", "svg", "iframe", "nav", "header", "footer", "aside", "form")
)
_BLOCK = re.compile(
    "address|article|blockquote|dd|details|div|dl|dt|fieldset|figcaption|figure|hr|main|ol|p|section|summary|"
    "table|tbody|tfoot|thead|ul"
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_markdown = MarkdownIt("commonmark")


@dataclass(frozen=True, slots=True)
class Section:
    """`document[start:end]`, heading line included, and the headings above and at it, outermost first."""

    headings: tuple[str, ...]
    start: int
    end: int


def markdown_sections(document: str) -> list[Section]:
    """Sections in order, without gaps, from the CommonMark headings; what precedes the first has none."""
    starts = _line_starts(document)
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    begun = 0
    for level, line, heading in _headings(document):
        if starts[line] > begun:
            sections.append(Section(tuple(text for _, text in path), begun, starts[line]))
        path = [(above, text) for above, text in path if above < level]
        if heading:
            path.append((level, heading))
        begun = starts[line]
    if begun < len(document):
        sections.append(Section(tuple(text for _, text in path), begun, len(document)))
    return sections


def text_sections(document: str) -> list[Section]:
    """One section; a short first line that something follows is taken for its heading."""
    first, _, rest = document.lstrip().partition("\n")
    heading = first.strip()
    named = 0 < len(heading) <= _TITLE_LENGTH and rest.strip() != ""
    return [Section((heading,) if named else (), 0, len(document))] if document else []


def html_to_markdown(html: str) -> tuple[str, str]:
    """The page's title, and its readable text as markdown: headings, lists, tables by row, code in fences.

    Scripts, styles, navigation, page headers and footers, asides and forms are left out.
    """
    tree = LexborHTMLParser(html)
    title = tree.css_first("title")
    name = " ".join(title.text().split()) if title is not None else ""
    for node in tree.css(_DROPPED):
        node.decompose()
    if tree.body is None:
        return name, ""
    text = re.sub("[ \t]+\n", "\n", "".join(_pieces(tree.body)))
    return name, re.sub("\n{3,}", "\n\n", text).strip()


def _line_starts(document: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\r\n|\r|\n", document))]


def _headings(document: str) -> Iterator[tuple[int, int, str]]:
    """Level, line number and text of every heading. CommonMark takes CR, LF and CRLF for a line's end."""
    tokens = _markdown.parse(document)
    for token, content in pairwise(tokens):
        if token.type == "heading_open" and token.map and token.level == 0:
            yield int(token.tag[1]), token.map[0], " ".join(content.content.split())


def _pieces(body: LexborNode) -> Iterator[str]:
    """Walks with a stack of its own: hostile pages nest deeper than Python may recurse."""
    stack: list[LexborNode | str] = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif node.is_text_node:
            yield re.sub(r"\s+", " ", node.text_content or "")
        elif node.tag == "pre":
            yield f"\n\n```\n{node.text().strip(chr(10))}\n```\n\n"
        elif node.tag == "br":
            yield "\n"
        else:
            before, after = _around(node.tag or "")
            yield before
            stack.append(after)
            stack.extend(reversed(list(node.iter(include_text=True))))


def _around(tag: str) -> tuple[str, str]:
    if tag in _HEADINGS:
        return f"\n\n{_HEADINGS[tag]}", "\n\n"
    if tag == "li":
        return "\n- ", "\n"
    if tag in ("td", "th"):
        return "", " | "
    if tag == "tr":
        return "", "\n"
    return ("\n\n", "\n\n") if _BLOCK.fullmatch(tag) else ("", "")
