"""Replies as Telegram messages: HTML that it accepts, in units that it takes.

Rules of the markup and limits: https://core.telegram.org/bots/api#html-style and #sendmessage.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import accumulate, groupby

from channels.markdown import Span, Spans, parse, text_of, whole
from channels.split import cut, utf16_length
from channels.telegram.flatten import Piece, flatten, is_anchor, is_visible
from kernel.types import Citation, Json, Reply, Unit

LIMIT = 4096  # UTF-16 code units after entity parsing
RAW_LIMIT = 16 * 1024  # bytes of HTML
NOTHING = "…"  # a message must show something
# A line of words that means the same in markdown, in HTML and as it stands: no need to build a tree for it.
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9,.?!;()-]*(?: [A-Za-z0-9,.?!;()-]+)*")


def render(reply: Reply, address: Json) -> list[Unit]:
    """The messages that show `reply`, in order. In a group the first one answers the message in `address`."""
    if not reply.citations and len(reply.markdown) < LIMIT and _WORDS.fullmatch(reply.markdown):
        units = [Unit(_payload(reply.markdown), reply.markdown)]
    else:
        pieces = flatten(parse(reply.markdown)) + _sources(reply.citations)
        units = [_unit(message) for message in _messages(pieces or [Piece((Span(NOTHING),))])]
    if address.get("reply_to"):
        quoted = {"message_id": address["reply_to"], "allow_sending_without_reply": True}
        units[0] = replace(units[0], payload={**units[0].payload, "reply_parameters": quoted})
    return units


def _sources(citations: Sequence[Citation]) -> list[Piece]:
    if not citations:
        return []
    lines = [Piece((Span("Sources", bold=True),), heading=True)]
    for citation in citations:
        title = " ".join(whole(citation.title).split()) or whole(citation.url) or citation.document_id
        source = [Span(title, link=citation.url)] if is_anchor(citation.url) else [Span(title)]
        if citation.url and source[0].link == "" and citation.url != title:
            source.append(Span(f" ({whole(citation.url)})"))
        lines.append(Piece((Span(f"[{citation.number}] "), *source), gap="\n"))
    return lines


def _unit(message: Sequence[Piece]) -> Unit:
    plain = "".join((piece.gap if index else "") + text_of(piece.spans) for index, piece in enumerate(message))
    return Unit(_payload(_html(message)), plain)


def _payload(html: str) -> Json:
    return {"text": html, "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}


# Packing: whole pieces as long as they fit, then pieces cut where it hurts least.


@dataclass(slots=True)
class _Open:
    """The message being filled: its pieces and what they weigh."""

    pieces: list[Piece] = field(default_factory=list)
    visible: int = 0
    raw: int = 0

    def add(self, piece: Piece, visible: int, raw: int) -> None:
        self.visible += visible + len(piece.gap)
        self.raw += raw + len(piece.gap)
        self.pieces.append(piece)

    def takes(self, visible: int, raw: int) -> bool:
        return self.visible + visible + 2 <= LIMIT and self.raw + raw + 2 <= RAW_LIMIT

    def worth_filling(self, visible: int, raw: int) -> bool:
        """Whether to cut the next piece here rather than to start a new message with it: when only headings stand
        here, or when it needs cutting anyway and half of this message is free."""
        too_long = visible + 2 > LIMIT or raw + 2 > RAW_LIMIT
        roomy = self.visible < LIMIT // 2 and self.raw < RAW_LIMIT // 2
        return roomy and (too_long or all(piece.heading for piece in self.pieces))

    def closing_headings(self) -> list[Piece]:
        """The headings at the end, which belong with what follows; none when nothing else would stay."""
        keep = len(self.pieces)
        while keep and self.pieces[keep - 1].heading:
            keep -= 1
        headings = self.pieces[keep:] if keep else []
        return headings if sum(_weight(piece)[1] for piece in headings) < LIMIT // 2 else []


def _messages(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    message = _Open()
    for piece in pieces:
        weight = _weight(piece)
        if not message.takes(*weight) and not message.worth_filling(*weight):
            carried = message.closing_headings()
            yield message.pieces[: len(message.pieces) - len(carried)]
            message = _Open()
            for heading in carried:
                message.add(heading, *_weight(heading))
        if message.takes(*weight):
            message.add(piece, *weight)
            continue
        for index, part in enumerate(_parts(piece, LIMIT - message.visible - 2, RAW_LIMIT - message.raw - 2)):
            if index:
                yield message.pieces
                message = _Open()
            message.add(part, *_weight(part))
    yield message.pieces


def _parts(piece: Piece, visible: int, raw: int) -> Iterator[Piece]:
    """`piece` in parts: the first within `visible` units and `raw` bytes, the others within a whole message."""
    text = text_of(piece.spans)
    starts = list(accumulate((len(span.text) for span in piece.spans), initial=0))
    position = 0
    while position < len(text):
        budget = visible
        while True:
            end = cut(text, position, budget, prose=piece.wrap != "pre")
            part = replace(piece, spans=_slice(piece.spans, starts, *_trimmed(piece, text, position, end)))
            if budget <= 64 or _weight(part)[1] <= raw:
                break
            budget = budget * 3 // 4
        position = end
        if is_visible(text_of(part.spans)):
            yield part
            visible, raw = LIMIT - 2, RAW_LIMIT - 2


def _trimmed(piece: Piece, text: str, start: int, end: int) -> tuple[int, int]:
    """The range without the white space where it was cut; in code only the end of the line goes."""
    part = text[start:end]
    drop = "\n" if piece.wrap == "pre" else None
    if end < len(text):
        end -= len(part) - len(part.rstrip(drop))
    if start > 0 and drop is None:
        start = min(end, start + len(part) - len(part.lstrip()))
    return start, max(start, end)


def _slice(spans: Spans, starts: Sequence[int], start: int, end: int) -> Spans:
    first, after = bisect_right(starts, start) - 1, bisect_left(starts, end)
    return tuple(
        replace(span, text=span.text[max(0, start - begin) : end - begin])
        for span, begin in zip(spans[first:after], starts[first:after], strict=False)
    )


def _weight(piece: Piece) -> tuple[int, int]:
    """UTF-16 units as shown, bytes as sent."""
    return utf16_length(text_of(piece.spans)), len(_html([piece]).encode())


# Markup.


def _html(message: Sequence[Piece]) -> str:
    parts: list[str] = []
    for quote, group in groupby(message, key=lambda piece: piece.quote if piece.wrap == "quote" else 0):
        pieces = list(group)
        inside = "".join((piece.gap if index else "") + _body(piece) for index, piece in enumerate(pieces))
        parts.append((pieces[0].gap if parts else "") + (f"<blockquote>{inside}</blockquote>" if quote else inside))
    return "".join(parts)


def _body(piece: Piece) -> str:
    if piece.wrap != "pre":
        return "".join(map(_styled, piece.spans))
    code = _escaped(text_of(piece.spans))
    language = "".join(c for c in piece.language if c.isascii() and (c.isalnum() or c in "+#-_."))[:32]
    return f'<pre><code class="language-{language}">{code}</code></pre>' if language else f"<pre>{code}</pre>"


def _styled(span: Span) -> str:
    """One run with all its tags. Telegram lets neither code nor a link's code stand with any other style."""
    text = _escaped(span.text)
    if span.code and not span.link:
        return f"<code>{text}</code>"
    for tag, applies in (("s", span.strike), ("i", span.italic), ("b", span.bold)):
        if applies:
            text = f"<{tag}>{text}</{tag}>"
    return f'<a href="{escape(span.link)}">{text}</a>' if span.link else text


def _escaped(text: str) -> str:
    return escape(text, quote=False)
