"""The n-grams of benchmark items, ready to be looked up: which ones, of which items, and where they are spelled out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alchemist_runtime.operators import words as _words
from alchemist_runtime.operators.leaks import Items

if TYPE_CHECKING:
    import numpy as np

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]
    Indices = np.ndarray[Any, np.dtype[np.int64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

#: Items shorter than n words are looked for whole if they have this many.
SHORTEST = 5
#: Letters of scripts without spaces that say as much as a word.
LETTERS = 2
#: Places in the bitmap for each key, so that few other runs of words pass it.
_ROOM = 64


@dataclass(frozen=True, slots=True)
class Groups:
    """Lists of numbers, one after the other: group g is `values[starts[g] : starts[g + 1]]`."""

    starts: Indices
    values: Indices

    @staticmethod
    def of(groups: Indices, values: Indices, count: int) -> Groups:
        """Collect values by their group's number."""
        import numpy as np

        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(count + 1))
        return Groups(starts, values[order])

    def expand(self, groups: Indices) -> tuple[Indices, Indices]:
        """All values of these groups, and for each the place of its group in the argument."""
        import numpy as np

        size = self.starts[groups + 1] - self.starts[groups]
        place = np.repeat(np.arange(len(groups)), size)
        inside = np.arange(len(place)) - np.repeat(np.cumsum(size) - size, size)
        return self.values[self.starts[groups][place] + inside], place


@dataclass(frozen=True, slots=True)
class Table:
    """Runs of `width` words by hash; each key leads to the n-grams that begin so."""

    width: int
    keys: Hashes  # sorted, each once
    grams: Groups  # by place in `keys`
    bitmap: Flags

    @staticmethod
    def of(width: int, hashes: Hashes, grams: Indices) -> Table:
        """Index n-grams by the hash of their first `width` words."""
        import numpy as np

        keys, place = np.unique(hashes, return_inverse=True)
        bits = max(16, min(24, (len(keys) * _ROOM - 1).bit_length()))
        bitmap = np.zeros(1 << bits, bool)
        bitmap[keys >> np.uint64(64 - bits)] = True
        return Table(width, keys, Groups.of(place, grams, len(keys)), bitmap)

    def proposed(self, hashes: Hashes) -> tuple[Indices, Indices]:
        """Places of a block's runs whose hash is a key, and the n-grams that may begin there."""
        import numpy as np

        shift = np.uint64(65 - len(self.bitmap).bit_length())
        at = np.flatnonzero(self.bitmap.take((hashes >> shift).view(np.int64)))
        key = np.searchsorted(self.keys, hashes[at])
        key[key == len(self.keys)] = 0
        real = self.keys[key] == hashes[at]
        gram, place = self.grams.expand(key[real])
        return at[real][place], gram


@dataclass(frozen=True, slots=True)
class Wanted:
    """The distinct n-grams of all items (short items: their whole texts)."""

    words: _words.Words  # of all texts of all items
    start: Indices  # for each n-gram the number of its first word in `words`
    size: Indices  # its words
    items: Groups  # the items that have it
    totals: Indices  # for each item the number of its n-grams
    tables: tuple[Table, ...]

    @staticmethod
    def of(items: Items, n: int) -> Wanted:
        """Collect the n-grams of all items: runs of n words, where two letters of a script without spaces make a
        word.
        """
        import numpy as np

        owner, words = _item_words(items)
        measure = np.append(0, np.cumsum(np.where(_words.letters(words), 1, LETTERS)))
        begin, end = words.rows[:-1], words.rows[1:]
        whole = _used(owner, measure[end] - measure[begin], len(items.texts), n)
        text = np.repeat(np.arange(len(owner)), end - begin)
        first = np.arange(len(text))
        last = np.searchsorted(measure, measure[first] + n * LETTERS)
        use = np.where(whole[text] == _WHOLE, first == begin[text], last <= end[text])
        use &= whole[text] != _UNUSED
        last = np.where(whole[text] == _WHOLE, end[text], last)
        text, first, size = text[use], first[use], (last - first)[use]
        hashes = _words.hashed(words.hashes, first, size)
        _, sample, gram = np.unique(hashes, return_index=True, return_inverse=True)
        count = max(len(items.texts), 1)
        pairs = np.unique(gram * count + owner[text])
        of_items = Groups.of(pairs // count, pairs % count, len(sample))
        totals = np.bincount(pairs % count, minlength=count)
        tables = _tables(words, first[sample], size[sample], n)
        return Wanted(words, first[sample], size[sample], of_items, totals, tables)

    @property
    def unsearchable(self) -> Indices:
        """Items that are too short."""
        import numpy as np

        return np.flatnonzero(self.totals == 0)


def _item_words(items: Items) -> tuple[Indices, _words.Words]:
    import numpy as np
    import pyarrow as pa

    pairs = [(k, text) for k, texts in enumerate(items.texts) for text in texts]
    owner = np.array([k for k, _ in pairs], np.int64)
    text = pa.array([f"{t or ''}\n" for _, t in pairs], pa.large_string())
    return owner, _words.split(text, _words.compatible)


_UNUSED, _GRAMS, _WHOLE = range(3)


def _used(owner: Indices, measure: Indices, items: int, n: int) -> Indices:
    """How texts are looked for: those of at least n words by n-grams; of an item that has none, those of at least five
    whole.
    """
    import numpy as np

    longest = np.zeros(items, np.int64)
    np.maximum.at(longest, owner, measure)
    short = (longest[owner] < n * LETTERS) & (measure >= SHORTEST * LETTERS)
    return np.where(measure >= n * LETTERS, _GRAMS, np.where(short, _WHOLE, _UNUSED))


def _tables(words: _words.Words, first: Indices, size: Indices, n: int) -> tuple[Table, ...]:
    import numpy as np

    out = []
    for width, grams in ((n, np.flatnonzero(size >= n)), (SHORTEST, np.flatnonzero(size < n))):
        if len(grams):
            out.append(Table.of(width, _words.runs(words.hashes, width)[first[grams]], grams))
    return tuple(out)


# --- places ----------------------------------------------------------------------------------------------------------

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
