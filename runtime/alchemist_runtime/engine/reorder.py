"""Rows in an order that is far from the stored one: read once as they are stored, laid out by window of the new order.

Reading a shuffled stream row by row would decode every row group for every batch, or hold whole columns in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from alchemist_runtime.storage.columns import Index

if TYPE_CHECKING:
    from alchemist_runtime.engine.streams import Stream

#: Rows that are read in stored order at a time.
READ_ROWS = 16_384
#: Windows that are laid out at once: each is an open file.
MOST_WINDOWS = 256
_PLACE = " place"


@dataclass(frozen=True)
class Order:
    """Row i of a stream is row `index[i]` of `base`, but for the columns `own`, which came later."""

    base: Stream
    index: Index
    own: frozenset[str] = frozenset()


def in_order(order: Order, columns: Sequence[str], size: int, scratch: Path) -> Iterator[pa.RecordBatch]:
    """The columns of the base in the new order, in batches of `size` rows. Uses files in `scratch`; they are gone at
    the end.
    """
    n = len(order.index)
    windows = -(-n // size)
    size_of_window = size * max(1, -(-windows // MOST_WINDOWS))
    with tempfile.TemporaryDirectory(prefix="order-", dir=scratch) as folder:
        layout = _Layout(Path(folder), spill=n > size_of_window)
        try:
            for place, batch in _stored_order(order, columns):
                layout.add(place // size_of_window, place, batch)
            order.base.forget()
            for window in range(-(-n // size_of_window)):
                whole = layout.window(window)
                for at in range(0, whole.num_rows, size):
                    yield whole.slice(at, size)
        finally:
            layout.close()


def _stored_order(order: Order, columns: Sequence[str]) -> Iterator[tuple[Index, pa.RecordBatch]]:
    """Batches as they are stored, with the place of each row in the new order."""
    places = np.argsort(order.index, kind="stable")
    at = 0
    for batch in order.base.select(order.index[places]).batches(columns, size=READ_ROWS):
        yield places[at : at + batch.num_rows], batch
        at += batch.num_rows


@dataclass
class _Layout:
    """Rows by window: in files, or in memory where there is but one window."""

    folder: Path
    spill: bool
    _writers: dict[int, pa.ipc.RecordBatchStreamWriter] = field(default_factory=dict)
    _held: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, window: Index, place: Index, batch: pa.RecordBatch) -> None:
        batch = batch.append_column(_PLACE, pa.array(place))
        if not self.spill:
            self._held.append(batch)
            return
        order = np.argsort(window, kind="stable")
        cuts = np.flatnonzero(np.diff(window[order])) + 1
        for rows in np.split(order, cuts):
            self._writer(int(window[rows[0]]), batch.schema).write_batch(batch.take(pa.array(rows)))

    def _writer(self, window: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if window not in self._writers:
            self._writers[window] = pa.ipc.new_stream(str(self._path(window)), schema)
        return self._writers[window]

    def _path(self, window: int) -> Path:
        return self.folder / f"{window}.arrow"

    def window(self, number: int) -> pa.RecordBatch:
        """The rows of a window, in order; it is forgotten."""
        if self.spill:
            self._writers.pop(number).close()
            with pa.OSFile(str(self._path(number))) as file:
                table = pa.ipc.open_stream(file).read_all()
            self._path(number).unlink()
        else:
            table = pa.Table.from_batches(self._held)
            self._held.clear()
        order = np.argsort(table.column(_PLACE).to_numpy())
        table = table.drop_columns([_PLACE]).take(pa.array(order)).combine_chunks()
        return table.to_batches()[0]

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._held.clear()
