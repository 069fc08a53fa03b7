"""A stream: the rows of a port, as lazily read columns in one or more segments. What steps read and what views are made
of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.reorder import Order, in_order
from alchemist_runtime.schema.rows import optional, required
from alchemist_runtime.storage.columns import Column, Constant, Held, Index, Patched

TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("extra", pa.string())])
_ARROW: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "rows": pa.int64(),
    "tokens": pa.int64(),
    "real": pa.float64(),
    "percent": pa.float64(),
    "prob": pa.float64(),
    "money": pa.float64(),
    "duration": pa.float64(),
    "rate": pa.float64(),
    "multiplier": pa.float64(),
    "bytes": pa.int64(),
    "bool": pa.bool_(),
    "json": pa.string(),
    "id": pa.binary(16),
    "messages": pa.list_(TURN),
    "null": pa.string(),
    "any": pa.string(),
}
BATCH_ROWS = 8_192


def split_types(text: str) -> list[str]:
    """Parts of `a: text, b: list<int>` at the commas of the top level."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "<(") - (c in ">)")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p.strip() for p in (*parts, text[start:]) if p.strip()]


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a column type."""
    name = required(type_.strip())
    if name in _ARROW:
        return _ARROW[name]
    if name.startswith("list<"):
        return pa.list_(arrow_type(name[5:-1]))
    if name.startswith("record<"):
        fields = [f.partition(":") for f in split_types(name[7:-1])]
        return pa.struct([(f[0].strip(), arrow_type(f[2])) for f in fields])
    return _ARROW.get(name.partition("(")[0], pa.string())  # int(0..10), enum("a","b")


def column_type(arrow: pa.DataType) -> str:
    """The column type of an Arrow type: the inverse of `arrow_type` as far as there is one."""
    if arrow == _ARROW["messages"]:
        return "messages"
    if pa.types.is_struct(arrow):
        inner = ", ".join(f"{f.name}: {column_type(f.type)}?" for f in arrow)
        return f"record<{inner}>"
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return f"list<{column_type(arrow.value_type)}>"
    if pa.types.is_integer(arrow):
        return "int"
    if pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        return "real"
    if pa.types.is_boolean(arrow):
        return "bool"
    if pa.types.is_fixed_size_binary(arrow):
        return "id"
    return "text"


@dataclass(frozen=True)
class Segment:
    """Rows that share one set of columns."""

    n: int
    columns: Mapping[str, Column]

    def select(self, index: Index) -> Segment:
        return Segment(len(index), {k: c.select(index) for k, c in self.columns.items()})

    def replace(self, columns: Mapping[str, Column]) -> Segment:
        return Segment(self.n, {**self.columns, **columns})


@dataclass(frozen=True)
class Stream:
    """Rows in order. `types` names every column with its type; a segment that lacks one has null there."""

    segments: tuple[Segment, ...]
    types: Mapping[str, str]
    #: where the rows stand in another order than they are stored in
    order: Order | None = None

    @property
    def n(self) -> int:
        return sum(s.n for s in self.segments)

    @staticmethod
    def concat(streams: Sequence[Stream]) -> Stream:
        """The rows of all, one after the other; a column that one lacks is null there, of two types becomes text."""
        if len(streams) == 1:
            return streams[0]
        types: dict[str, str] = {}
        for stream in streams:
            for name, type_ in stream.types.items():
                have = types.get(name)
                if have is None:
                    types[name] = type_
                elif required(have) != required(type_):
                    types[name] = "text?"
                elif have != type_:
                    types[name] = optional(have)
        for name in types:
            if any(name not in s.types for s in streams):
                types[name] = optional(types[name])
        return Stream(tuple(s for x in streams for s in x.segments if s.n), types)

    @staticmethod
    def of(columns: Mapping[str, pa.Array], types: Mapping[str, str]) -> Stream:
        """A stream in memory."""
        n = len(next(iter(columns.values()))) if columns else 0
        return Stream((Segment(n, {k: Held(v) for k, v in columns.items()}),), dict(types))

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, segment: Segment, name: str, start: int, stop: int) -> pa.Array:
        wanted = arrow_type(self.types[name])
        column = segment.columns.get(name)
        if column is None:
            return pa.nulls(stop - start, wanted)
        array = column.read(start, stop)
        return array if array.type == wanted else _cast(array, wanted)

    def batches(self, columns: Sequence[str], size: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The columns in batches of at most `size` rows, in order. KeyError for a column that is not there."""
        schema = pa.schema([(c, arrow_type(self.types[c])) for c in columns])
        for segment in self.segments:
            for start in range(0, segment.n, size):
                stop = min(start + size, segment.n)
                arrays = [self._read(segment, c, start, stop) for c in columns]
                if columns:
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                else:
                    yield pa.RecordBatch.from_struct_array(pa.array([{}] * (stop - start), pa.struct([])))

    def spooled(self, columns: Sequence[str], size: int, scratch: Path) -> Iterator[pa.RecordBatch]:
        """As `batches`; where the order is not the stored one, by way of files in `scratch`, so that memory is
        bounded.
        """
        order = self.order
        far = [c for c in columns if order and c not in order.own and c in order.base.types]
        if order is None or not far:
            yield from self.batches(columns, size)
            return
        near = [c for c in columns if c not in far]
        schema = pa.schema([(c, arrow_type(self.types[c])) for c in columns])
        others = self.batches(near, size) if near else None
        for batch in in_order(order, far, size, scratch):
            found = dict(zip(far, batch.columns, strict=True))
            if others is not None:
                found |= zip(near, next(others).columns, strict=True)
            arrays = [found[f.name] if found[f.name].type == f.type else _cast(found[f.name], f.type) for f in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def in_any_order(self, columns: Sequence[str]) -> Stream:
        """The same rows of these columns in the order that is quickest to read: for what counts and does not look at
        places.
        """
        if self.order is None or not self.order.own.isdisjoint(columns):
            return self
        stored = self.order.base.select(np.sort(self.order.index))
        return replace(stored, types=self.types)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """The columns whole, in memory."""
        schema = pa.schema([(c, arrow_type(self.types[c])) for c in columns])
        return pa.Table.from_batches(list(self.batches(columns)), schema=schema)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table([name]).column(0)

    def ids(self) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
        """Ids as (n, 2) unsigned halves, high first."""
        return ids_to_u64(self.column("_id"))

    # --- views --------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Let go of the row groups that were read."""
        for segment in self.segments:
            for column in segment.columns.values():
                column.forget()

    def select(self, index: Index) -> Stream:
        """The rows at these positions, in this order."""
        index = np.asarray(index, dtype=np.int64)
        ascending = bool(np.all(index[1:] >= index[:-1]))
        result = self._selected(index, ascending)
        order = None if ascending else Order(self, index)
        if self.order is not None:
            order = replace(self.order, index=self.order.index[index])
        return replace(result, order=order)

    def _selected(self, index: Index, ascending: bool) -> Stream:
        if len(self.segments) == 1:
            return Stream((self.segments[0].select(index),), self.types)
        starts = np.cumsum([0, *(s.n for s in self.segments)])
        if len(index) and ascending:
            cuts = np.searchsorted(index, starts)
            parts = [s.select(index[cuts[i] : cuts[i + 1]] - starts[i]) for i, s in enumerate(self.segments)]
            return Stream(tuple(p for p in parts if p.n), self.types)
        return self._gather(index, starts)

    def _gather(self, index: Index, starts: np.ndarray) -> Stream:
        """A random order over several segments: every column patched together from all of them."""
        which = np.searchsorted(starts, index, side="right") - 1
        segment: dict[str, Column] = {}
        for name, type_ in self.types.items():
            wanted = arrow_type(type_)
            column: Column = Constant(pa.scalar(None, wanted), len(index))
            for i, s in enumerate(self.segments):
                if name in s.columns:
                    mine = which == i
                    at = np.where(mine, np.cumsum(mine) - 1, -1).astype(np.int64)
                    part = s.columns[name].select((index - starts[i])[mine])
                    column = Patched(column, at, _Typed(part, wanted))
            segment[name] = column
        return Stream((Segment(len(index), segment),), self.types)

    def of_origin(self, origin: str) -> Stream:
        """The rows that came from one source."""
        mask = pc.equal(self.column("origin"), origin).to_numpy(zero_copy_only=False)
        return self.select(np.flatnonzero(mask))

    def with_columns(self, columns: Mapping[str, pa.Array | Column], types: Mapping[str, str]) -> Stream:
        """The same rows with further or replaced columns, given for all rows in order."""
        held = {k: Held(v) if isinstance(v, pa.Array) else v for k, v in columns.items()}
        out, at = [], 0
        for s in self.segments:
            if len(self.segments) == 1:
                out.append(s.replace(held))
            else:
                index = np.arange(at, at + s.n)
                out.append(s.replace({k: c.select(index) for k, c in held.items()}))
            at += s.n
        return Stream(tuple(out), {**self.types, **types}, self._order_but(columns))

    def _order_but(self, columns: Mapping[str, object]) -> Order | None:
        """The order of the rows, when these columns are replaced."""
        return self.order and replace(self.order, own=self.order.own | columns.keys())

    def patched(self, at: Index, columns: Mapping[str, Column], types: Mapping[str, str]) -> Stream:
        """The same rows, some values replaced: row i takes value `at[i]` of each column, none where that is -1."""
        out, first = [], 0
        for s in self.segments:
            mine = at[first : first + s.n]
            new: dict[str, Column] = {}
            for name, values in columns.items():
                under = s.columns.get(name) or Constant(pa.scalar(None, values.type), s.n)
                new[name] = Patched(under, mine, values)
            out.append(s.replace(new))
            first += s.n
        return Stream(tuple(out), {**self.types, **types}, self._order_but(columns))


@dataclass(frozen=True)
class _Typed:
    """A column cast while it is read."""

    column: Column
    type: pa.DataType

    @property
    def n(self) -> int:
        return self.column.n

    def read(self, start: int, stop: int) -> pa.Array:
        array = self.column.read(start, stop)
        return array if array.type == self.type else _cast(array, self.type)

    def select(self, index: Index) -> Column:
        return _Typed(self.column.select(index), self.type)

    def forget(self) -> None:
        self.column.forget()


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted)
    if pa.types.is_nested(array.type) and wanted == pa.string():
        from alchemist_runtime.schema.sealed import as_json

        values = [None if v is None else as_json(v) for v in array.to_pylist()]
        return pa.array(values, pa.string())
    if pa.types.is_struct(wanted) and pa.types.is_struct(array.type):
        have = {f.name: i for i, f in enumerate(array.type)}
        flat = array.flatten()
        fields = [_cast(flat[have[f.name]], f.type) if f.name in have else pa.nulls(len(array), f.type) for f in wanted]
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=array.is_null())
    return array.cast(wanted)


def ids_to_u64(ids: pa.ChunkedArray | pa.Array) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Fixed-size binary ids as (n, 2) unsigned halves, high first. No null may be among them."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    parts = []
    for chunk in chunks:
        buffer = chunk.buffers()[1]
        raw = np.frombuffer(buffer, dtype=">u8")[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
        parts.append(raw.reshape(-1, 2).astype(np.uint64))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)
