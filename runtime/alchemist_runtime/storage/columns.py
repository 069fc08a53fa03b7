"""Columns that are read lazily: stored in shards, held in memory, constant, or patched over another one.

A column answers `read(start, stop)` with an Arrow array and `select(index)` with another column; nothing is decoded
before it is read. Reading in ascending order keeps at most two row groups of each stored column in memory.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alchemist_runtime.schema.sealed import footer_digest
from alchemist_runtime.storage.store import GROUP_ROWS, damaged

Index = np.ndarray[Any, np.dtype[np.int64]]


class _NoPandas:
    """Says that pandas is not there."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError(name)


def _spare_pandas() -> None:
    """Arrow imports pandas at the first list that it is given, to see whether it is one of its series: a quarter of a
    second for nothing. Let it find none now; where pandas is wanted (`to_pandas`), Arrow imports it still."""
    if "pandas" not in sys.modules:
        finder: Any = _NoPandas()
        sys.meta_path.insert(0, finder)
        try:
            pa.array([])
        finally:
            sys.meta_path.remove(finder)


_spare_pandas()


class Column(Protocol):
    """A lazily read column of `n` values."""

    @property
    def n(self) -> int: ...
    @property
    def type(self) -> pa.DataType: ...
    def read(self, start: int, stop: int) -> pa.Array: ...
    def select(self, index: Index) -> Column: ...
    def forget(self) -> None:
        """Let go of what was read; it can be read again."""


def _one(chunks: Sequence[pa.Array], type_: pa.DataType) -> pa.Array:
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.nulls(0, type_)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """RunError A907 where a shard of the store is gone or broken."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as e:
        raise damaged(path.parent, path.name, e) from e


@dataclass
class Shards:
    """Parquet files that together are one table; decodes single columns of single row groups and remembers the last
    ones.

    Pages are verified as they are read, footers against `sums`, the digests of a finished step's files."""

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    sums: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    _files: dict[int, pq.ParquetFile] = field(default_factory=dict, repr=False)
    _groups: OrderedDict[tuple[str, int], pa.Array] = field(default_factory=OrderedDict, repr=False)
    _bounds: list[tuple[int, int, int, int]] | None = field(default=None, repr=False)
    _schema: pa.Schema | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.n = sum(self.rows)

    def schema(self) -> pa.Schema:
        if self._schema is None:
            self._schema = self._file(0).schema_arrow
        return self._schema

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._files:
            path = self.paths[number]
            with _reading(path):
                wanted = self.sums.get(path.name, {}).get("footer")
                if wanted is not None and footer_digest(path) != wanted:
                    raise ValueError("its footer is not the one that was written")
                file = pq.ParquetFile(path, page_checksum_verification=True)
                if file.metadata.num_rows != self.rows[number]:
                    raise ValueError(f"it does not hold {self.rows[number]:,} rows")
                self._files[number] = file
        return self._files[number]

    def bounds(self) -> list[tuple[int, int, int, int]]:
        """(first row, end, file, row group) of every row group, in order."""
        if self._bounds is None:
            out, at = [], 0
            for number in range(len(self.paths)):
                meta = self._file(number).metadata
                for group in range(meta.num_row_groups):
                    size = meta.row_group(group).num_rows
                    out.append((at, at + size, number, group))
                    at += size
            self._bounds = out
        return self._bounds

    def forget(self) -> None:
        self._groups.clear()

    def group(self, name: str, number: int) -> pa.Array:
        """One column of one row group (counted over all files)."""
        key = (name, number)
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        low, high, file, group = self.bounds()[number]
        with _reading(self.paths[file]):
            column = self._file(file).read_row_group(group, columns=[name]).column(0)
            if len(column) != high - low:  # the heads of pages have no checksum
                raise ValueError(f"`{name}` has {len(column):,} values of {high - low:,}")
        array = _one(column.chunks, column.type)
        self._groups[key] = array
        width = len({k[0] for k in self._groups})
        while len(self._groups) > 2 * width:
            self._groups.popitem(last=False)
        return array

    def read(self, name: str, start: int, stop: int) -> pa.Array:
        bounds = self.bounds()
        first = np.searchsorted([b[1] for b in bounds], start, side="right")
        chunks = []
        for number in range(int(first), len(bounds)):
            low, high, _, _ = bounds[number]
            if low >= stop:
                break
            chunks.append(self.group(name, number)[max(start, low) - low : min(stop, high) - low])
        return _one(chunks, self.schema().field(name).type)


@dataclass(frozen=True)
class Stored:
    """A column of a stored table, all of it or the rows of an index."""

    shards: Shards
    name: str
    index: Index | None = None
    _whole: dict[str, pa.Array] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n(self) -> int:
        return self.shards.n if self.index is None else len(self.index)

    @property
    def type(self) -> pa.DataType:
        return self.shards.schema().field(self.name).type

    def read(self, start: int, stop: int) -> pa.Array:
        if self.index is None:
            return self.shards.read(self.name, start, stop)
        wanted = self.index[start:stop]
        if not len(wanted):
            return pa.nulls(0, self.type)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        if high - low <= max(4 * len(wanted), 2 * GROUP_ROWS):
            return self.shards.read(self.name, low, high).take(pa.array(wanted - low))
        if pa.types.is_primitive(self.type) or pa.types.is_fixed_size_binary(self.type):
            if "x" not in self._whole:  # a random order: a column of small values is held whole
                self._whole["x"] = self.shards.read(self.name, 0, self.shards.n)
            return self._whole["x"].take(pa.array(wanted))
        return self._gathered(wanted)

    def _gathered(self, wanted: Index) -> pa.Array:
        """Values at random places, from one row group after the other: no more than the answer is held."""
        order = np.argsort(wanted, kind="stable")
        places = wanted[order]
        bounds = self.shards.bounds()
        cuts = np.searchsorted(places, [b[1] for b in bounds])
        parts, first = [], 0
        for number, end in enumerate(cuts.tolist()):
            if end > first:
                group = self.shards.group(self.name, number)
                parts.append(group.take(pa.array(places[first:end] - bounds[number][0])))
            first = end
        back = np.empty(len(wanted), np.int64)
        back[order] = np.arange(len(wanted))
        return _one(parts, self.type).take(pa.array(back))

    def select(self, index: Index) -> Column:
        return Stored(self.shards, self.name, index if self.index is None else self.index[index])

    def forget(self) -> None:
        self.shards.forget()
        self._whole.clear()


@dataclass(frozen=True)
class Held:
    """A column in memory."""

    array: pa.Array

    @property
    def n(self) -> int:
        return len(self.array)

    @property
    def type(self) -> pa.DataType:
        return self.array.type

    def read(self, start: int, stop: int) -> pa.Array:
        return self.array[start:stop]

    def select(self, index: Index) -> Column:
        return Held(self.array.take(pa.array(index)))

    def forget(self) -> None:
        pass


@dataclass(frozen=True)
class Constant:
    """The same value in every row."""

    value: pa.Scalar
    n: int

    @property
    def type(self) -> pa.DataType:
        return self.value.type

    def read(self, start: int, stop: int) -> pa.Array:
        return pa.repeat(self.value, max(0, min(stop, self.n) - start))

    def select(self, index: Index) -> Column:
        return Constant(self.value, len(index))

    def forget(self) -> None:
        pass


@dataclass(frozen=True)
class Patched:
    """Another column with some of its values replaced: `at[i]` is a position in `values`, or -1 where it shows
    through.
    """

    under: Column
    at: Index
    values: Column

    @property
    def n(self) -> int:
        return len(self.at)

    @property
    def type(self) -> pa.DataType:
        return self.values.type

    def read(self, start: int, stop: int) -> pa.Array:
        base = self.under.read(start, stop)
        if base.type != self.type:
            base = base.cast(self.type)
        at = self.at[start:stop]
        mask = at >= 0
        if not mask.any():
            return base
        wanted = at[mask]
        low, high = int(wanted.min()), int(wanted.max()) + 1
        values = self.values.read(low, high).take(pa.array(wanted - low))
        if pa.types.is_nested(self.type):  # replace_with_mask has no kernel for these
            both = pa.concat_arrays([base, values])
            order = np.arange(len(base))
            order[mask] = len(base) + np.arange(len(values))
            return both.take(pa.array(order))
        return pc.replace_with_mask(base, pa.array(mask), values)

    def select(self, index: Index) -> Column:
        return Patched(self.under.select(index), self.at[index], self.values)

    def forget(self) -> None:
        self.under.forget()
        self.values.forget()
