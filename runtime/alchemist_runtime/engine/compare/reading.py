"""Columns of a stream in the order in which they are quick to read, and where each of their values lies on disk.

Two results of one pipeline mostly look at the same stored values. A value's place (file, column, row) tells that
without reading it; only what lies at different places is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.streams import Stream, arrow_type
from alchemist_runtime.storage.columns import Column, Constant, Index, Patched, Stored
from alchemist_runtime.storage.store import GROUP_ROWS

#: Places in (column, row), one below the other.
Pairs: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
#: Compared places that are remembered, 17 bytes each.
MOST_REMEMBERED = 8_000_000
#: Rows of a column that are held at a time of each side.
READ_ROWS = 8_192


def below(stream: Stream, name: str) -> tuple[Stream, Index | None]:
    """The stream in which a column lies in stored order, and the row of it for each row here (None: the same row)."""
    types = {name: stream.types[name]}
    order = stream.order
    if order is None or name in order.own or name not in order.base.types:
        return replace(stream, types=types), None
    return replace(order.base, types=types), order.index


def stored_order(stream: Stream, name: str) -> Iterator[tuple[Index, pa.Array]]:
    """All values of a column, as they are stored, with the row of each."""
    base, index = below(stream, name)
    if index is None:
        rows = np.arange(stream.n)
    else:
        rows = np.argsort(index, kind="stable")
        base = base.select(index[rows])
    at = 0
    for batch in base.batches([name], size=READ_ROWS):
        yield rows[at : at + batch.num_rows], batch.column(0)
        at += batch.num_rows
    base.forget()


def values(stream: Stream, name: str, rows: Index, scratch: Path) -> Iterator[pa.Array]:
    """The values of a column at these rows of a stream in stored order, in their order; files in `scratch` where that
    is far.
    """
    chosen = stream.select(rows)
    if near(rows):
        found = replace(chosen, order=None).batches([name], size=READ_ROWS)
    else:
        found = chosen.spooled([name], READ_ROWS, scratch)
    for batch in found:
        yield batch.column(0)


def near(rows: Index) -> bool:
    """Whether rows that are read in this order decode few row groups more than once."""
    if not len(rows):
        return True
    starts = np.arange(0, len(rows), READ_ROWS)
    low, high = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    touched = (high - low) // GROUP_ROWS + 2
    return int(touched.sum()) <= 4 * (int(rows.max() - rows.min()) // GROUP_ROWS + len(starts) + 1)


def in_step(one: Iterator[pa.Array], other: Iterator[pa.Array]) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Two series of arrays of one total length, cut at the same places."""
    a = b = pa.nulls(0)
    while True:
        a = next(one, None) if not len(a) else a
        b = next(other, None) if not len(b) else b
        if a is None or b is None:
            return
        n = min(len(a), len(b))
        if n:
            yield a[:n], b[:n]
        a, b = a[n:], b[n:]


# --- places -----------------------------------------------------------------------------------------------------------


@dataclass
class Places:
    """Numbers for the stored columns that were met, the same number for the same file and column; and what was found
    there.

    A step shows mostly what the steps before it have shown: two places that were compared once are not read again."""

    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _fresh: Iterator[int] = field(default_factory=lambda: count(-1, -1))
    _compared: dict[tuple[int, int], _Compared] = field(default_factory=dict)
    _rows: int = 0
    _values: dict[tuple[int, int], Any] = field(default_factory=dict)

    def value(self, stream: Stream, name: str, row: int) -> Any:
        """One value, as Python has it; a row is read from disk once, however many steps show it."""
        base, index = below(stream, name)
        at = np.array([row if index is None else index[row]], np.int64)
        [place] = map(tuple, self.of(base, name, at).tolist())
        if place not in self._values:
            self._values[place] = base.select(at).column(name)[0].as_py()
        return self._values[place]

    def of(self, stream: Stream, name: str, rows: Index) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each of these rows (number of column and type, row there): where two have the same, their values are
        equal.
        """
        out = np.empty((len(rows), 2), np.int64)
        kind = arrow_type(stream.types[name])
        starts = np.cumsum([0, *(s.n for s in stream.segments)])
        which = np.searchsorted(starts, rows, side="right") - 1
        for number, segment in enumerate(stream.segments):
            mine = np.flatnonzero(which == number)
            if len(mine):
                column = segment.columns.get(name)
                out[mine] = self._column(column, rows[mine] - starts[number], kind)
        return out

    def _column(self, column: Column | None, rows: Index, kind: pa.DataType) -> np.ndarray[Any, np.dtype[np.int64]]:
        out = np.zeros((len(rows), 2), np.int64)
        match column:
            case None:
                out[:, 0] = self._number(("null", kind))
            case Constant():
                value = column.value.as_py()
                out[:, 0] = self._number(("constant", column.type, repr(value), kind))
            case Stored():
                out[:, 0] = self._number(("stored", column.shards.paths, column.name, kind))
                out[:, 1] = rows if column.index is None else column.index[rows]
            case Patched() if column.under.type == column.values.type:
                at = column.at[rows]
                over = at >= 0
                out[over] = self._column(column.values, at[over], kind)
                out[~over] = self._column(column.under, rows[~over], kind)
            case _:  # nothing else lies where this does
                out[:, 0] = next(self._fresh)
                out[:, 1] = rows
        return out

    def remember(self, old: Pairs, new: Pairs, differ: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Take note of what the values at these places came to."""
        for pair, mine in _by_column(old, new):
            known = self._compared.get(pair)
            if min(pair) < 0 or known is not None or self._rows + len(mine) > MOST_REMEMBERED:
                continue
            order = mine[np.argsort(old[mine, 1], kind="stable")]
            self._compared[pair] = _Compared(old[order, 1], new[order, 1], differ[order])
            self._rows += len(mine)

    def known(self, old: Pairs, new: Pairs) -> tuple[Any, Any]:
        """For each two places whether they were compared before, and whether their values differ."""
        there, differ = np.zeros(len(old), bool), np.zeros(len(old), bool)
        for pair, mine in _by_column(old, new):
            found = self._compared.get(pair)
            if found is None or not len(found.old):
                continue
            at = np.minimum(np.searchsorted(found.old, old[mine, 1]), len(found.old) - 1)
            same = (found.old[at] == old[mine, 1]) & (found.new[at] == new[mine, 1])
            there[mine] = same
            differ[mine] = same & found.differ[at]
        return there, differ

    def _number(self, what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers))


@dataclass(frozen=True, slots=True)
class _Compared:
    """Rows of two stored columns that were compared, by the row of the first."""

    old: Index
    new: Index
    differ: np.ndarray[Any, np.dtype[np.bool_]]


def _by_column(old: Pairs, new: Pairs) -> Iterator[tuple[tuple[int, int], Index]]:
    """Places by the two columns in which they lie."""
    if not len(old):
        return
    code = (old[:, 0] << 32) + new[:, 0]  # numbers are small, of places that are new below zero
    if (code == code[0]).all():
        yield (int(old[0, 0]), int(new[0, 0])), np.arange(len(old))
        return
    for one in np.unique(code):
        mine = np.flatnonzero(code == one)
        yield (int(old[mine[0], 0]), int(new[mine[0], 0])), mine


def same_type(one: Stream, other: Stream, name: str) -> bool:
    """Whether both read a column as one type of Arrow."""
    return bool(arrow_type(one.types[name]) == arrow_type(other.types[name]))
