"""Leaks by shared word n-grams: a bitmap and hashes propose places, the words themselves decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from alchemist_runtime.operators import words as _words
from alchemist_runtime.operators.decontaminate._wanted import Wanted, text_between
from alchemist_runtime.operators.leaks import Items, Leaks
from alchemist_runtime.schema.registry import Range, decontaminate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Indices = np.ndarray[Any, np.dtype[np.int64]]


@decontaminate(version=2)
def ngram(
    texts: list[pa.ChunkedArray | pa.Array],
    items: Items,
    *,
    n: Annotated[int, Range(1, 64)] = 10,
    share: Annotated[float, Range(0, 1)] = 0.0,
) -> Leaks:
    """Rows that contain at least `share` of a benchmark item's word n-grams; with 0, one n-gram is enough.

    X Of an item's texts those of at
        least n words count; if it has none, those of at least five words, each as a whole. The hit of a row is the item
        with the largest share, then the one with the most n-grams, then the first.
    """
    import numpy as np

    wanted = Wanted.of(items, n)
    found: list[tuple[int, int, str]] = []
    if wanted.tables:
        blocks = _words.blocks(texts)
        for part in _words.in_threads(lambda block: _leaks(block, wanted, share), blocks):
            found += part
    return Leaks(
        np.array([row for row, _, _ in found], np.int64),
        np.array([item for _, item, _ in found], np.int64),
        [match for _, _, match in found],
        tuple(wanted.unsearchable[: len(items.texts)].tolist()),
    )


@dataclass(frozen=True, slots=True)
class _Hits:
    """Places where an n-gram of an item stands in a block, text by text, in the order of the text."""

    row: Indices  # in the block
    column: Indices
    word: Indices  # number of the first word in its text
    start: Indices  # first and last byte in the folded text, counted from the beginning of the row's text
    end: Indices
    gram: Indices

    @staticmethod
    def joined(parts: list[_Hits]) -> _Hits:
        import numpy as np

        names = _Hits.__slots__
        hits = _Hits(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
        return hits.take(np.lexsort((hits.word, hits.column, hits.row)))

    def take(self, places: Indices) -> _Hits:
        return _Hits(*(getattr(self, name)[places] for name in _Hits.__slots__))


def _leaks(block: _words.Block, wanted: Wanted, share: float) -> list[tuple[int, int, str]]:
    """The rows of a block that leak, with item and matching text."""
    import numpy as np

    hits = _Hits.joined([_search(block, k, wanted) for k in range(len(block.columns))])
    rows, chosen = _best(hits, wanted, share)
    out = []
    for row, item in zip(rows.tolist(), chosen.tolist(), strict=True):
        low, high = np.searchsorted(hits.row, (row, row + 1))
        mine = hits.take(np.arange(low, high))
        owned, place = wanted.items.expand(mine.gram)
        match = _match(block, row, mine.take(place[owned == item]), wanted)
        out.append((block.first + row, item, match))
    return out


def _search(block: _words.Block, column: int, wanted: Wanted) -> _Hits:
    import numpy as np

    texts = _words.Block(block.first, (block.columns[column],)).texts()
    words = _words.split(texts, _words.compatible)
    word, gram = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for table in wanted.tables:
        at, grams = table.proposed(_words.runs(words.hashes, table.width))
        word.append(at)
        gram.append(grams)
    return _verified(words, np.concatenate(word), np.concatenate(gram), column, wanted)


def _verified(words: _words.Words, word: Indices, gram: Indices, column: int, wanted: Wanted) -> _Hits:
    """Keep the places where every word of the n-gram stands, in one row."""
    import numpy as np

    row = np.searchsorted(words.rows, word, side="right") - 1
    size = wanted.size[gram]
    inside = np.flatnonzero(word + size <= words.rows[row + 1])
    row, word, gram, size = row[inside], word[inside], gram[inside], size[inside]
    same = np.ones(len(word), bool)
    for k in range(int(size.max(initial=0))):
        on = np.flatnonzero(same & (size > k))
        same[on] = _words.same(words, word[on] + k, wanted.words, wanted.start[gram[on]] + k)
    row, word, gram, size = row[same], word[same], gram[same], size[same]
    last = word + size - 1
    return _Hits(
        row,
        np.full(len(row), column, np.int64),
        word - words.rows[row],
        words.start[word] - words.offsets[row],
        words.start[last] + words.length[last] - words.offsets[row],
        gram,
    )


def _best(hits: _Hits, wanted: Wanted, share: float) -> tuple[Indices, Indices]:
    """Rows that leak and the item that each leaks most."""
    import numpy as np

    items, grams = len(wanted.totals), len(wanted.start)
    once = np.unique(hits.row * grams + hits.gram)
    item, place = wanted.items.expand(once % grams)
    pairs, count = np.unique((once // grams)[place] * items + item, return_counts=True)
    row, item = pairs // items, pairs % items
    part = count / wanted.totals[item]
    enough = part >= share
    row, item, part, count = row[enough], item[enough], part[enough], count[enough]
    order = np.lexsort((item, -count, -part, row))
    first = np.unique(row[order], return_index=True)[1]
    return row[order][first], item[order][first]


def _match(block: _words.Block, row: int, hits: _Hits, wanted: Wanted) -> str:
    """The longest stretch of a row that consists of an item's n-grams, as it stands there."""
    import numpy as np

    new = np.ones(len(hits.row), bool)
    new[1:] = (np.diff(hits.word) > 1) | (np.diff(hits.column) != 0)
    first = np.flatnonzero(new)
    end = np.maximum.reduceat(hits.end, first)
    last = np.maximum.reduceat(hits.word + wanted.size[hits.gram] - 1, first)
    best = int(np.argmax(end - hits.start[first]))
    at = int(first[best])
    text = block.columns[int(hits.column[at])][row].as_py()
    if text.isascii():
        return str(text[int(hits.start[at]) : int(end[best])])
    return text_between(text, int(hits.word[at]), int(last[best]))
