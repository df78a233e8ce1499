"""Replies as Telegram messages: HTML that it accepts, in units that it takes.

Rules of the markup and limits: https://core.telegram.org/bots/api#html-style and #sendmessage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import groupby

from channels import buttons
from channels.links import opens, spelled
from channels.markdown import Span, Spans, is_words, parse, text_of
from channels.packing import Limits, Sized, pack
from channels.pieces import Dialect, Piece, flatten, hung, language_of, plain, plain_text
from channels.sources import sources
from channels.split import utf16_length
from kernel.types import Json, Reply, Unit

LIMIT = 4096  # UTF-16 code units after entity parsing
RAW_LIMIT = 16 * 1024  # bytes of HTML
LIMITS = Limits(LIMIT, RAW_LIMIT)
LONGEST_LABEL = 64  # characters that a phone shows in one line, and some
NOTHING = "…"  # a message must show something
SCHEMES = frozenset({"http", "https", "mailto", "tg"})
_QUOTE = "<blockquote>", "</blockquote>"


def _anchor(label: Spans, target: str) -> bool:
    return opens(target, schemes=SCHEMES)


DIALECT = Dialect(_anchor)


def render(reply: Reply, address: Json) -> list[Unit]:
    """The messages that show `reply`, in order. In a group the first one answers the message in `address`; the
    last one carries the buttons."""
    if not reply.citations and len(reply.markdown) < LIMIT and is_words(reply.markdown):
        units = [Unit(_payload(reply.markdown), reply.markdown)]
    else:
        pieces = flatten(parse(reply.markdown), DIALECT) + sources(reply.citations, DIALECT)
        units = [_unit(message) for message in pack(pieces or [Piece((Span(NOTHING),))], _sized, LIMITS)]
    if address.get("reply_to"):
        quoted = {"message_id": address["reply_to"], "allow_sending_without_reply": True}
        units[0] = replace(units[0], payload={**units[0].payload, "reply_parameters": quoted})
    if (reply.feedback or reply.choices) and (keyboard := _keyboard(reply)):
        units[-1] = replace(units[-1], payload={**units[-1].payload, "reply_markup": {"inline_keyboard": keyboard}})
    return units


def _keyboard(reply: Reply) -> list[list[Json]]:
    """Rows of buttons: each choice has one of its own, so that a phone shows it whole."""
    rows = [[choice] for choice in buttons.choices(reply, LONGEST_LABEL)]
    rows.append(buttons.feedback(reply))
    return [[{"text": button.label, "callback_data": button.data} for button in row] for row in rows if row]


def _unit(message: Sequence[Sized[str]]) -> Unit:
    return Unit(_payload(_html(message)), plain_text([part.piece for part in message]))


def _payload(html: str) -> Json:
    return {"text": html, "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}


def _sized(piece: Piece) -> Sized[str]:
    """UTF-16 units as shown, bytes as sent."""
    body = _body(piece)
    wrapping = len(_QUOTE[0]) + len(_QUOTE[1]) if piece.quote else 0
    return Sized(piece, body, utf16_length(plain(piece)), len(body.encode()) + wrapping)


def _html(message: Sequence[Sized[str]]) -> str:
    """A block quote may hold no code block, so a quote ends before one and goes on after it."""
    parts: list[str] = []
    for quote, group in groupby(message, key=lambda part: 0 if part.piece.pre else part.piece.quote):
        inside: list[str] = []
        for part in group:
            inside += (part.piece.gap, part.body)
        if parts:
            parts.append(inside[0])
        parts += (_QUOTE[0], *inside[1:], _QUOTE[1]) if quote else inside[1:]
    return "".join(parts)


def _body(piece: Piece) -> str:
    if piece.pre:
        code, language = _escaped(text_of(piece.spans)), language_of(piece.language)
        return f'<pre><code class="language-{language}">{code}</code></pre>' if language else f"<pre>{code}</pre>"
    return piece.lead + hung("".join(_styled(span, bold=piece.heading > 0) for span in piece.spans), piece.hang)


def _styled(span: Span, *, bold: bool) -> str:
    """One run with all its tags. Telegram lets neither code nor a link's code stand with any other style."""
    text = _escaped(span.text)
    link = "" if spelled(span.text, span.link) else span.link  # which Telegram finds by itself
    if span.code and not link:
        return f"<code>{text}</code>"
    for tag, applies in (("s", span.strike), ("i", span.italic), ("b", span.bold or bold)):
        if applies:
            text = f"<{tag}>{text}</{tag}>"
    return f'<a href="{escape(link)}">{text}</a>' if link else text


def _escaped(text: str) -> str:
    return escape(text, quote=False)
