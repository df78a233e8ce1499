"""Replies as Discord messages. https://docs.discord.com/developers/resources/message#create-message

A message holds 2,000 characters, which Discord counts in code points (staff in
https://github.com/discord/discord-api-docs/issues/1315).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from channels import buttons
from channels.discord.markup import anchor, fenced, markup
from channels.markdown import Span, is_words, parse, text_of
from channels.packing import Limits, Sized, pack
from channels.pieces import Dialect, Piece, flatten, hung, language_of, plain_text
from channels.sources import sources
from kernel.types import Json, Reply, Unit

LIMIT = 2000
LIMITS = Limits(LIMIT, LIMIT, joint=6)
NOTHING = "…"  # a message must show something
SUPPRESS_EMBEDS = 1 << 2
DEEPEST_HEADING = 3
LONGEST_LABEL = 80
BUTTONS_IN_ROW = 5
DIALECT = Dialect(anchor, bullets="-")


def render(reply: Reply, address: Json) -> list[Unit]:
    """The messages that show `reply`, in order. The last one carries the buttons."""
    if not reply.citations and len(reply.markdown) < LIMIT and is_words(reply.markdown):
        units = [Unit(_payload(reply.markdown), reply.markdown)]
    else:
        pieces = flatten(parse(reply.markdown), DIALECT) + sources(reply.citations, DIALECT)
        units = [_unit(message) for message in pack(pieces or [Piece((Span(NOTHING),))], _sized, LIMITS)]
    if rows := list(_rows(reply)):
        units[-1] = replace(units[-1], payload={**units[-1].payload, "components": rows})
    return units


def _rows(reply: Reply) -> Iterator[Json]:
    """Action rows. https://docs.discord.com/developers/components/reference#action-row"""
    row: list[Json] = []
    for button in (*buttons.choices(reply, LONGEST_LABEL), None, *buttons.feedback(reply), None):
        if row and (button is None or len(row) == BUTTONS_IN_ROW):
            yield {"type": 1, "components": row}
            row = []
        if button is not None:
            row.append({"type": 2, "style": 2, "label": button.label, "custom_id": button.data})


def _unit(message: Sequence[Sized[str]]) -> Unit:
    return Unit(_payload(_content(message)), plain_text([part.piece for part in message]))


def _payload(content: str) -> Json:
    return {"content": content, "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS}


def _content(message: Sequence[Sized[str]]) -> str:
    parts: list[str] = []
    quote = 0
    for index, part in enumerate(message):
        gap = part.piece.gap if index else ""
        if part.piece.quote and part.piece.quote == quote:
            gap = hung(gap[:-1], "> ") + "\n"  # an empty line would end the quote
        parts += (gap, part.body)
        quote = part.piece.quote
    return "".join(parts)


def _sized(piece: Piece) -> Sized[str]:
    body = _body(piece)
    return Sized(piece, body, len(body), len(body))


def _body(piece: Piece) -> str:
    if piece.pre:
        body = fenced(text_of(piece.spans), language_of(piece.language))
    elif 0 < piece.heading <= DEEPEST_HEADING and not piece.depth:
        body = "#" * piece.heading + " " + markup(piece.spans).replace("\n", " ").strip()
    else:
        body = piece.lead + hung(markup(piece.spans, bold=piece.heading > 0), piece.hang)
    return "> " + body.replace("\n", "\n> ") if piece.quote else body
