"""From word numbers back to the text as it stands in a row, also where folding changed the text's length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from alchemist_runtime.operators import _words

_WORD = re.compile(r"\w")


def text_between(text: str, first: int, last: int) -> str:
    """The part of a text from its word number `first` to its word number `last`, counted after folding."""
    total = len(_words.words_of(text, _words.compatible))
    end = _last(len(text), lambda at: _count(text[:at]) <= last + 1)
    start = len(text) - _last(len(text), lambda n: _count(text[len(text) - n :]) <= total - first)
    while start < end and not _counts(text[start]):
        start += 1
    while end > start and not _counts(text[end - 1]):
        end -= 1
    return text[start:end]


def _count(text: str) -> int:
    return len(_words.words_of(text, _words.compatible))


def _last(high: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `high` for which `holds`; it holds for 0 and for all below one that it holds for."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _counts(sign: str) -> bool:
    """Whether a sign is part of a word or an accent on one."""
    return bool(_WORD.search(_words.compatible(sign))) or unicodedata.combining(sign) > 0
