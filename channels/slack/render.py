"""Replies as Slack messages, in the form that chat.postMessage takes.

Limits: https://docs.slack.dev/reference/methods/chat.postMessage recommends at most 4,000 characters of `text`, and
refuses blocks of together more than about 13,200 characters with `msg_blocks_too_long`
(https://github.com/slackapi/bolt-js/issues/2509: 12,000 characters of text and a margin for what holds them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from channels import buttons
from channels.links import opens
from channels.markdown import Span, Spans, is_words, parse
from channels.packing import Limits, Sized, pack
from channels.pieces import Dialect, Piece, flatten, plain, plain_text
from channels.slack.blocks import actions, inline, rich_text
from channels.slack.mrkdwn import escape
from channels.sources import sources
from kernel.types import Json, Reply, Unit

LIMIT = 4000  # characters of `text`
RAW_LIMIT = 10_000  # characters of the blocks as JSON: well inside what Slack has been seen to take
LIMITS = Limits(LIMIT, RAW_LIMIT)
NOTHING = "…"  # a message must show something
LONGEST_LABEL = 75
TABLE_WIDTH = 72  # columns; Slack is read on wide screens
SCHEMES = frozenset({"http", "https", "mailto"})
_AROUND = len('{"type":"rich_text_section","elements":[{"type":"text","text":""}]},') * 2  # what may hold a piece
Inline = list[Json]


def _anchor(label: Spans, target: str) -> bool:
    return opens(target, schemes=SCHEMES)


DIALECT = Dialect(_anchor, TABLE_WIDTH)


def render(reply: Reply, address: Json) -> list[Unit]:
    """The messages that show `reply`, in order. The last one carries the buttons."""
    if not reply.citations and len(reply.markdown) < LIMIT and is_words(reply.markdown):
        units = [_unit([_sized(Piece((Span(reply.markdown),)))])]
    else:
        pieces = flatten(parse(reply.markdown), DIALECT) + sources(reply.citations, DIALECT)
        units = [_unit(message) for message in pack(pieces or [Piece((Span(NOTHING),))], _sized, LIMITS)]
    if block := actions([*buttons.choices(reply, LONGEST_LABEL), *buttons.feedback(reply)]):
        last = units[-1].payload
        units[-1] = replace(units[-1], payload={**last, "blocks": [*last["blocks"], block]})
    return units


def _unit(message: Sequence[Sized[Inline]]) -> Unit:
    shown = plain_text([part.piece for part in message])
    blocks = [rich_text([(part.piece, part.body) for part in message])]
    return Unit({"text": escape(shown), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}, shown)


def _sized(piece: Piece) -> Sized[Inline]:
    body = inline(piece)
    raw = len(json.dumps(body, ensure_ascii=False, separators=(",", ":"))) + _AROUND
    return Sized(piece, body, len(escape(plain(piece))), raw)
