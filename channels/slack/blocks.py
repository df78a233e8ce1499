"""Pieces as one `rich_text` block, buttons as an `actions` block.

Structure instead of markup: no text in it can be read as a mention or a style.
https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from channels.buttons import Button
from channels.markdown import Span
from channels.pieces import Piece
from kernel.types import Json

DEEPEST_LIST = 8  # the largest `indent`


def inline(piece: Piece) -> list[Json]:
    """The piece's own text as elements of a section."""
    spans = [span for span in piece.spans if span.text]
    if piece.pre:
        return [{"type": "text", "text": "".join(span.text for span in spans)}]
    return [_element(span, bold=piece.heading > 0) for span in spans]


def rich_text(pieces: Sequence[tuple[Piece, list[Json]]]) -> Json:
    """The block that shows pieces one below the other; each comes with its `inline` elements."""
    elements: list[Json] = []
    before: Piece | None = None
    for piece, inside in pieces:
        if before is None or not _joins(elements[-1], before, piece, inside):
            if before is not None and elements[-1]["type"] == "rich_text_section":
                elements[-1]["elements"].append(_text("\n"))
            elements.append(_block(piece, inside))
        before = piece
    return {"type": "rich_text", "elements": elements}


def actions(buttons: Sequence[Button]) -> Json | None:
    """The block of buttons. https://docs.slack.dev/reference/block-kit/blocks/actions-block"""
    elements: list[Json] = [
        {
            "type": "button",
            "action_id": f"{button.kind}:{index}",
            "text": {"type": "plain_text", "text": button.label, "emoji": True},
            "value": button.data,
        }
        for index, button in enumerate(buttons)
    ]
    return {"type": "actions", "elements": elements} if elements else None


def _joins(last: Json, before: Piece, piece: Piece, inside: list[Json]) -> bool:
    """Whether the piece has gone into the element before it: the same list, the same quote, the same section."""
    if piece.pre or before.pre or piece.quote != before.quote:
        return False
    if last["type"] == "rich_text_list":
        if piece.depth != before.depth:
            return False
        if not piece.begins_item:
            last["elements"][-1]["elements"] += [_text(piece.gap), *inside]
            return True
        style = _list_style(piece)
        following = piece.number is None or piece.number == last.get("offset", 0) + len(last["elements"]) + 1
        if style == last["style"] and following:
            last["elements"].append(_section(inside))
            return True
        return False
    if _list_style(piece):
        return False
    last["elements"] += [_text(piece.gap), *_led(piece, inside)]
    return True


def _block(piece: Piece, inside: list[Json]) -> Json:
    border = {"border": 1} if piece.quote else {}
    if piece.pre:
        return {"type": "rich_text_preformatted", "elements": inside, **border}
    if style := _list_style(piece):
        offset = {"offset": piece.number - 1} if piece.number is not None and piece.number > 1 else {}
        indent = min(piece.depth - 1, DEEPEST_LIST)
        items = [_section(inside)]
        return {"type": "rich_text_list", "style": style, "indent": indent, **offset, **border, "elements": items}
    kind = "rich_text_quote" if piece.quote else "rich_text_section"
    return {"type": kind, "elements": _led(piece, inside)}


def _list_style(piece: Piece) -> str:
    """How Slack marks the item that begins here; empty for what is no item, and for what it cannot mark: an item of
    number 0, and one that is the first of a list that is itself the beginning of an item."""
    if not piece.begins_item or piece.number == 0 or len(piece.lead.split()) > 1:
        return ""
    return "bullet" if piece.number is None else "ordered"


def _led(piece: Piece, inside: list[Json]) -> list[Json]:
    led = [*_leads(piece), *inside]
    return led or [_text(" ")]


def _leads(piece: Piece) -> Iterator[Json]:
    if piece.lead:
        yield _text(piece.lead)


def _section(inside: list[Json]) -> Json:
    return {"type": "rich_text_section", "elements": inside or [_text(" ")]}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _element(span: Span, *, bold: bool) -> Json:
    element: Json = {"type": "link", "url": span.link} if span.link else {"type": "text"}
    element["text"] = span.text
    styles = (("bold", span.bold or bold), ("italic", span.italic), ("strike", span.strike), ("code", span.code))
    if style := {name: True for name, applies in styles if applies}:
        element["style"] = style
    return element
