"""Leaks by a benchmark text that stands whole in a row: eight rare bytes of each text propose places, all of them
decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from alchemist_runtime.operators import words
from alchemist_runtime.operators.leaks import Items, Leaks
from alchemist_runtime.schema.registry import Range, decontaminate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Indices = np.ndarray[Any, np.dtype[np.int64]]
    Windows = np.ndarray[Any, np.dtype[np.uint64]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

#: Bytes that are looked up at once.
_WINDOW = 8
_MIX, _BITS = 0x9E3779B97F4A7C15, 20
_BLANKS = re.compile(r"[ \t\n\r\v\f]+")


@decontaminate(version=2)
def substring(
    texts: list[pa.ChunkedArray | pa.Array],
    items: Items,
    *,
    allow: tuple[str, ...] = (),
    shortest: Annotated[int, Range(8, 10_000)] = 16,
) -> Leaks:
    """Rows that contain a text of a benchmark item, whole, whatever its case and white space; texts in `allow` may
    stand.

    Texts are compared in NFKC and lower case, without zero-width characters and soft hyphens, each run of white space
    as one space. Those of fewer than `shortest` bytes are not looked for. The hit of a row is the longest text that it
    contains, then the first item.
    """
    import numpy as np

    wanted = _Wanted.of(items, frozenset(_bare(allow)), shortest)
    found: list[tuple[int, int, str]] = []
    if wanted.texts:
        for part in words.in_threads(lambda block: _leaks(block, wanted), words.blocks(texts)):
            found += part
    return Leaks(
        np.array([row for row, _, _ in found], np.int64),
        np.array([item for _, item, _ in found], np.int64),
        [match for _, _, match in found],
        wanted.unsearchable,
    )


def _bare(texts: Iterable[str]) -> list[str]:
    return [_BLANKS.sub(" ", words.compatible(t)).strip() for t in texts]


def _windows(data: Bytes) -> Windows:
    """The eight bytes from each place on, as one number."""
    import numpy as np

    lanes = np.lib.stride_tricks.sliding_window_view(data, _WINDOW)
    return np.ascontiguousarray(lanes).view("<u8")[:, 0]


def _slots(windows: Windows) -> Windows:
    import numpy as np

    with np.errstate(over="ignore"):
        return (windows * np.uint64(_MIX)) >> np.uint64(64 - _BITS)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Different texts to look for; each has one window, where it is rare among the windows of them all."""

    texts: list[bytes]
    item: list[int]  # the first item with this text
    at: Indices  # place of the window in the text
    windows: Windows  # sorted
    order: Indices  # number of the text of each window
    table: np.ndarray[Any, np.dtype[np.bool_]]
    unsearchable: tuple[int, ...]

    @staticmethod
    def of(items: Items, allow: frozenset[str], shortest: int) -> _Wanted:
        import numpy as np

        first: dict[bytes, int] = {}
        short: list[int] = []
        for number, texts in enumerate(items.texts):
            provided = [t for t in _bare([t or "" for t in texts]) if t and t not in allow]
            long = [t.encode() for t in provided if len(t.encode()) >= shortest]
            for text in long:
                first.setdefault(text, number)
            if provided and not long:
                short.append(number)
        result = list(first)
        every = [_windows(np.frombuffer(t, np.uint8)) for t in result]
        every_one = np.concatenate([np.zeros(0, np.uint64), *every])
        _, place, times = np.unique(every_one, return_inverse=True, return_counts=True)
        at, begin = np.zeros(len(result), np.int64), 0
        for k, windows in enumerate(every):
            at[k] = int(np.argmin(times[place[begin : begin + len(windows)]]))
            begin += len(windows)
        chosen = np.array([w[a] for w, a in zip(every, at, strict=True)], np.uint64)
        order = np.argsort(chosen, kind="stable")
        table = np.zeros(1 << _BITS, bool)
        table[_slots(chosen)] = True
        return _Wanted(result, [first[t] for t in result], at, chosen[order], order, table, tuple(short))


def _leaks(block: words.Block, wanted: _Wanted) -> list[tuple[int, int, str]]:
    """The rows of a block that leak, with item and matching text."""
    best: dict[int, tuple[int, int, int, int]] = {}  # row -> (length, -item, column, text)
    for column in range(len(block.columns)):
        for row, text in _search(block.columns[column], wanted):
            hit = (len(wanted.texts[text]), -wanted.item[text], -column, text)
            if row not in best or hit > best[row]:
                best[row] = hit
    out = []
    for row, (_, item, column, text) in sorted(best.items()):
        whole = block.columns[-column][row].as_py()
        out.append((block.first + row, -item, _as_written(whole, wanted.texts[text].decode())))
    return out


def _search(column: pa.ChunkedArray, wanted: _Wanted) -> list[tuple[int, int]]:
    """Row and number of every text that stands whole in a row."""
    import numpy as np

    data, ends = _squeezed(*words.folded(column, words.compatible))
    if len(data) < _WINDOW:
        return []
    windows = _windows(data)
    near = np.flatnonzero(wanted.table[_slots(windows)])
    low = np.searchsorted(wanted.windows, windows[near], "left")
    high = np.searchsorted(wanted.windows, windows[near], "right")
    found: list[tuple[int, int]] = []
    for k in np.flatnonzero(high > low).tolist():
        at = int(near[k])
        row = int(np.searchsorted(ends, at, "right")) - 1
        for text in wanted.order[low[k] : high[k]].tolist():
            begin = at - int(wanted.at[text])
            end = begin + len(wanted.texts[text])
            inside = begin >= ends[row] and end <= ends[row + 1]
            if inside and data[begin:end].tobytes() == wanted.texts[text]:
                found.append((row, text))
    return found


def _squeezed(data: Bytes, ends: Indices) -> tuple[Bytes, Indices]:
    """Each run of white space as one space, row by row; where the rows begin and end."""
    import numpy as np

    blank = (data == 32) | ((data >= 9) & (data <= 13))
    again = np.zeros(len(data), bool)
    again[1:] = blank[1:] & blank[:-1]
    again[ends[:-1][ends[:-1] < len(data)]] = False
    kept = np.where(blank, np.uint8(32), data)[~again]
    return kept, np.append(0, np.cumsum(~again))[ends]


def _as_written(row: str, text: str) -> str:
    """The place in the row as it stands there; the text itself where folding changed more than case and white space."""
    found = re.search(r"\s+".join(map(re.escape, text.split(" "))), row, re.IGNORECASE)
    return found[0] if found else text
