"""Where a text that is too long for one message may be cut. Lengths are in UTF-16 code units, as Telegram counts."""

from __future__ import annotations

import re
import unicodedata

_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*(?:\s|(?<=[。！？]))")
_EMOJI = re.compile(r"<a?:\w{2,32}:\d{15,21}>")  # Discord's custom emoji, which reads as one character
_LONGEST_EMOJI = 60
_LONGEST_CLUSTER = 64  # characters; a longer cluster is not speech, and is cut anywhere


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units; a character outside the basic plane counts twice."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, start: int, budget: int, *, prose: bool = True) -> int:
    """The end of the best piece of `text` from `start` that is at most `budget` (at least 2) UTF-16 units long.

    Prefers, in this order, the end of a paragraph, a line, a sentence (in `prose`), a word, a character as a reader
    sees it. The first three count only in the second half of the piece, so that no piece is needlessly short.
    The separator belongs to the piece. Takes time in the budget, not in the text.
    """
    hard = _reach(text, start, budget)
    if hard >= len(text):
        return len(text)
    middle = start + (hard - start) // 2
    for separator in ("\n\n", "\n"):
        if (found := text.rfind(separator, middle, hard)) >= 0:
            return found + len(separator)
    if prose and (end := _last_sentence(text, middle, hard)):
        return end
    return _last_space(text, start, hard) or _last_boundary(text, start, hard)


def is_boundary(text: str, index: int, start: int = 0) -> bool:
    """False when a cut before `index` would part what readers see as one character; `start` is a boundary.

    A compact reading of Unicode's grapheme clusters (UAX 29): marks, joiners, selectors, skin tones, flags, Hangul
    and CR LF.
    """
    if index <= start or index >= len(text):
        return True
    before, after = text[index - 1], text[index]
    if before == "\u200d" or _extends(after) or (before == "\r" and after == "\n"):
        return False
    if _is_flag_letter(before) and _is_flag_letter(after):
        run = index
        while run > start and _is_flag_letter(text[run - 1]):
            run -= 1
        return (index - run) % 2 == 0
    return True


def _reach(text: str, start: int, budget: int) -> int:
    window = text[start : start + budget]
    if window.isascii():
        return start + len(window)
    data = window.encode("utf-16-le", "surrogatepass")[: 2 * budget]
    # A half pair at the end is dropped by "ignore"; a lone surrogate never reaches here (see markdown.whole).
    return start + len(data.decode("utf-16-le", "ignore"))


def _last_sentence(text: str, start: int, end: int) -> int:
    last = 0
    for found in _SENTENCE.finditer(text, start, end):
        last = found.end()
    return last


def _last_space(text: str, start: int, end: int) -> int:
    if text[end].isspace():
        return end
    for index in range(end - 1, start + (end - start) // 8, -1):
        if text[index].isspace():
            return index + 1
    return 0


def _last_boundary(text: str, start: int, end: int) -> int:
    opening = text.rfind("<", max(start + 1, end - _LONGEST_EMOJI), end)
    if opening > 0 and (emoji := _EMOJI.match(text, opening)) and emoji.end() > end:
        return opening
    for index in range(end, max(start, end - _LONGEST_CLUSTER), -1):
        if is_boundary(text, index, start):
            return index
    return end


def _extends(character: str) -> bool:
    code = ord(character)
    if code < 0x300:
        return False
    return (
        code in (0x200C, 0x200D)
        or 0xFE00 <= code <= 0xFE0F
        or 0x1F3FB <= code <= 0x1F3FF
        or 0xE0020 <= code <= 0xE007F
        or 0x1160 <= code <= 0x11FF
        or unicodedata.category(character).startswith("M")
    )


def _is_flag_letter(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF
