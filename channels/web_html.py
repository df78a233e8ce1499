"""Markdown as HTML that a page may show as it is: built from the tree, tag by tag, so nothing else can be in it.

No raw HTML, no styles, no images (they are links), and no links but to the web and to mail addresses, which pass on
neither the page nor its standing. Headings begin at the third level, below those of the page around.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from operator import attrgetter

from channels.markdown import Block, Code, Heading, List, Paragraph, Quote, Rule, Span, Spans, Table, parse
from channels.pieces import Dialect, language_of, linked

FIRST_HEADING = 3
DIALECT = Dialect()


def to_html(markdown: str) -> str:
    """The blocks of a markdown text as HTML, one below the other. Any string is valid."""
    return _blocks(parse(markdown))


def _blocks(blocks: Sequence[Block]) -> str:
    return "".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Paragraph(spans):
            return f'<p dir="auto">{_inline(spans)}</p>'
        case Heading(level, spans):
            tag = f"h{min(level + FIRST_HEADING - 1, 6)}"
            return f'<{tag} dir="auto">{_inline(spans)}</{tag}>'
        case Code(text, language):
            known = language_of(language)
            return f"<pre><code{_class('language-' + known if known else '')}>{escape(text)}</code></pre>"
        case Quote(inside):
            return f"<blockquote>{_blocks(inside)}</blockquote>"
        case List():
            return _list(block)
        case Table():
            return _table(block)
        case Rule():
            return "<hr>"


def _list(block: List) -> str:
    items = "".join(f'<li dir="auto">{_item(item, tight=block.tight)}</li>' for item in block.items)
    if block.start is None:
        return f"<ul>{items}</ul>"
    return f'<ol start="{block.start}">{items}</ol>' if block.start != 1 else f"<ol>{items}</ol>"


def _item(blocks: Sequence[Block], *, tight: bool) -> str:
    return "".join(
        _inline(block.spans) if tight and isinstance(block, Paragraph) else _block(block) for block in blocks
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" dir="auto"{_class(align)}>{_inline(cell)}</th>'
        for cell, align in zip(table.header, table.align, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td dir="auto"{_class(align)}>{_inline(cell)}</td>' for cell, align in zip(row, table.align, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    body = f"<tbody>{rows}</tbody>" if rows else ""
    return f"<table><thead><tr>{head}</tr></thead>{body}</table>"


def _class(name: str) -> str:
    return f' class="{name}"' if name and name != "left" else ""


def _inline(spans: Spans) -> str:
    groups = groupby(spans, key=attrgetter("link"))
    shown = (part for link, label in groups for part in linked(link, tuple(label), DIALECT))
    return "".join(_link(link, tuple(label)) for link, label in groupby(shown, key=attrgetter("link")))


def _link(target: str, label: Spans) -> str:
    inside = "".join(map(_styled, label))
    if not target:
        return inside
    return f'<a href="{escape(target)}" target="_blank" rel="noopener nofollow">{inside}</a>'


def _styled(span: Span) -> str:
    text = escape(span.text, quote=False).replace("\n", "<br>")
    for tag, applies in (("code", span.code), ("em", span.italic), ("strong", span.bold), ("s", span.strike)):
        if applies:
            text = f"<{tag}>{text}</{tag}>"
    return text
