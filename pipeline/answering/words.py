"""Words as they are compared: folded, without function words, with plural and verb endings taken off."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

# A run of letters and digits, keeping what holds names and versions together: v1.2, cos-hdd, user_id.
_WORD = re.compile(r"[^\W_]+(?:[._'’-][^\W_]+)*")
_IDEOGRAPH = re.compile(r"[぀-ヿ㐀-鿿가-힣]")
_FUNCTION_WORDS = """
    a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing don't down during each few for from further give had has have having he
    her here him his how i i'd i'll i'm if in into is it it's its itself just know let like make me mean more
    most my need no not now of off on once one only or other our out over own please same she should so some
    such tell than that that's the their them then there these they this those through to too under until up
    us use very want was we were what what's when where which while who whom whose why will with would yes you
    your
"""
_FUNCTION = frozenset(_FUNCTION_WORDS.split())


def words(text: str) -> list[str]:
    """The content words of a text, in order. Scripts written without spaces count sign by sign."""
    found = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match.group().replace("’", "'")
        if _IDEOGRAPH.search(word):
            found += list(word)
        elif word not in _FUNCTION:
            found.append(_stem(word))
            if not word.isalnum():
                found += [_stem(part) for part in re.split(r"[._'-]", word) if len(part) > 1]
    return found


def rarity(texts: Iterable[frozenset[str]]) -> Mapping[str, float]:
    """How telling a word is among these texts: log(1 + n / df), at least log 2."""
    n, seen = 0, Counter[str]()
    for text in texts:
        n += 1
        seen.update(text)
    return {word: math.log(1 + n / count) for word, count in seen.items()}


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("'s"):
        word = word[:-2]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("sses", "shes", "ches", "xes")) else word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            word = word[: -len(ending)]
            return word[:-1] if word[-1] == word[-2] and word[-1] not in "ls" else word
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
