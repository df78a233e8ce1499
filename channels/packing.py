"""Packing pieces into messages: whole pieces as long as they fit, then pieces cut where it hurts least. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Generic, TypeVar

from channels.markdown import Spans, text_of
from channels.pieces import Piece, is_visible
from channels.split import cut

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message holds: `visible` is text as shown, `raw` is text as sent, each in the platform's units.
    `joint` is the most that joining a piece to the one before it costs."""

    visible: int
    raw: int
    joint: int = 2


@dataclass(frozen=True, slots=True)
class Sized(Generic[Body]):
    """A piece in the platform's markup, with what it weighs."""

    piece: Piece
    body: Body
    visible: int
    raw: int


@dataclass(slots=True)
class _Open(Generic[Body]):
    """The message being filled."""

    limits: Limits
    parts: list[Sized[Body]] = field(default_factory=list)
    visible: int = 0
    raw: int = 0

    def add(self, part: Sized[Body]) -> None:
        self.visible += part.visible + self.limits.joint
        self.raw += part.raw + self.limits.joint
        self.parts.append(part)

    def takes(self, part: Sized[Body]) -> bool:
        visible, raw = self.room()
        return part.visible <= visible and part.raw <= raw

    def room(self) -> tuple[int, int]:
        joint = self.limits.joint
        return self.limits.visible - self.visible - joint, self.limits.raw - self.raw - joint

    def worth_filling(self, part: Sized[Body]) -> bool:
        """Whether to cut the next piece here rather than to start a new message with it: when only headings stand
        here, or when it needs cutting anyway and half of this message is free."""
        roomy = self.visible < self.limits.visible // 2 and self.raw < self.limits.raw // 2
        too_long = not _Open[Body](self.limits).takes(part)
        return roomy and (too_long or all(each.piece.heading for each in self.parts))

    def closing_headings(self) -> list[Sized[Body]]:
        """The headings at the end, which belong with what follows; none when nothing else would stay."""
        keep = len(self.parts)
        while keep and self.parts[keep - 1].piece.heading:
            keep -= 1
        headings = self.parts[keep:] if keep else []
        small = sum(each.raw + self.limits.joint for each in headings) < min(self.limits.visible, self.limits.raw) // 2
        return headings if small else []


def pack(pieces: Sequence[Piece], size: Callable[[Piece], Sized[Body]], limits: Limits) -> Iterator[list[Sized[Body]]]:
    """The messages in order, each at least one piece and within `limits`."""
    message = _Open[Body](limits)
    for piece in pieces:
        whole = size(piece)
        if not message.takes(whole) and not message.worth_filling(whole):
            carried = message.closing_headings()
            yield message.parts[: len(message.parts) - len(carried)]
            message = _Open(limits)
            for heading in carried:
                message.add(heading)
        if message.takes(whole):
            message.add(whole)
            continue
        for index, part in enumerate(_parts(piece, size, message)):
            if index:
                yield message.parts
                message = _Open(limits)
            message.add(part)
    yield message.parts


def _parts(piece: Piece, size: Callable[[Piece], Sized[Body]], message: _Open[Body]) -> Iterator[Sized[Body]]:
    """`piece` in parts: the first in what room there is in `message`, the others each within a whole message."""
    text = text_of(piece.spans)
    starts = list(accumulate((len(span.text) for span in piece.spans), initial=0))
    position, lead, room = 0, piece.lead, message.room()
    while position < len(text):
        budget = max(2, min(room))
        while True:
            end = cut(text, position, budget, prose=not piece.pre)
            spans = _slice(piece.spans, starts, *_trimmed(piece, text, position, end))
            part = size(replace(piece, spans=spans, lead=lead))
            over = max(part.visible / room[0], part.raw / room[1])
            if over <= 1 or budget == 2:
                break
            budget = max(2, min(budget * 3 // 4, int((end - position) / over)))
        position = end
        if is_visible(text_of(part.piece.spans)):
            yield part
            lead, room = piece.hang, _Open[Body](message.limits).room()


def _trimmed(piece: Piece, text: str, start: int, end: int) -> tuple[int, int]:
    """The range without the white space where it was cut; in code only the end of the line goes."""
    part = text[start:end]
    drop = "\n" if piece.pre else None
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
