"""From word numbers back to the text as it stands in a row, also where folding changed the text's length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from alchemist_runtime.operators import words as _words

_WORD = re.compile(r"\w")


def text_between(text: str, first: int, last: int) -> str:
    """The part of a text from its word number `first` to its word number `last`, counted after folding."""
    words = _found(text)
    left = len(words) - first
    end = _last(len(text), lambda at: len(_found(text[:at])) <= last + 1)
    start = len(text) - _last(len(text), lambda n: len(_found(text[len(text) - n :])) <= left)
    # one sign may fold to several words: where it would be cut, it stands whole
    end += _found(text[:end])[-1:] != [words[last]]
    start = max(0, start - (_found(text[start:])[:1] != [words[first]]))
    while start < end and not _in_word(text[start]):
        start += 1
    while end > start and not (_in_word(text[end - 1]) or unicodedata.category(text[end - 1])[0] == "M"):
        end -= 1
    return text[start:end]


def _found(text: str) -> list[str]:
    return _words.words_of(text, _words.compatible)


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


def _in_word(sign: str) -> bool:
    return bool(_WORD.search(_words.compatible(sign)))
