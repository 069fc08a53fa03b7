"""The rows of an export as they are written: turn columns, ids as hex digits, no column that is empty in every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.streams import TURN, Stream, arrow_type
from alchemist_runtime.engine.values import python_values
from alchemist_runtime.exact_json import as_json, loads
from alchemist_runtime.message import message
from alchemist_runtime.rows import HISTORY, TAIL, required

SAID = pa.struct([("role", pa.string()), ("content", pa.string())])
ROWS, BATCH = 65_536, 16_384


def hex_ids(array: pa.Array) -> pa.Array:
    """Ids as 32 hex digits."""
    n = len(array)
    if not n:
        return pa.array([], pa.string())
    raw = np.frombuffer(array.buffers()[1], np.uint8)[16 * array.offset : 16 * (array.offset + n)]
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty(32 * n, np.uint8)
    text[0::2], text[1::2] = digits[raw >> 4], digits[raw & 15]
    offsets = np.arange(n + 1, dtype=np.int32) * 32
    valid = np.packbits(np.asarray(array.is_valid()), bitorder="little")
    buffers = map(pa.py_buffer, (offsets, text, valid))
    return pa.StringArray.from_buffers(n, *buffers)


def turns(array: pa.Array | pa.ChunkedArray, *, whole: bool) -> pa.Array:
    """Turns as `{role, content}`; `whole`: as JSON text with the further keys of each (tool calls, names)."""
    rows = array.to_pylist()
    if not whole:
        made = [r and [{"role": t["role"], "content": t["content"]} for t in r] for r in rows]
        return pa.array(made, pa.list_(SAID))
    texts = [None if r is None else as_json([_whole(t) for t in r]) for r in rows]
    return pa.array(texts, pa.string())


def _whole(turn: Mapping[str, Any]) -> dict[str, Any]:
    more = loads(turn["extra"]) if turn["extra"] else {}
    return message(turn["role"], turn["content"], more)


def types(stream: Stream, columns: Sequence[str]) -> dict[str, str]:
    """The column types of an export, the same for all its files: ids are text, and turns JSON where one has further keys."""
    out = {n: stream.types[n] for n in columns}
    for name, type_ in out.items():
        if required(type_) == "id":
            out[name] = type_.replace("id", "text")
        elif name in (HISTORY, TAIL) and _extended(stream, name):
            out[name] = "json?"
    return out


def _extended(stream: Stream, name: str) -> bool:
    """Whether a turn of the column has keys beside role and content."""
    for batch in stream.in_any_order([name]).batches([name]):
        extra = pc.list_flatten(batch.column(0)).field("extra")
        if extra.null_count < len(extra):
            return True
    return False


def arrow_of(type_: str) -> pa.DataType:
    """The Arrow type that a column of this type is written with."""
    return pa.list_(SAID) if required(type_) == "messages" else arrow_type(type_)


def tables(stream: Stream, types: Mapping[str, str], scratch: Path) -> Iterator[pa.Table]:
    """The stream in tables of at most 65,536 rows, ready to be written; `scratch` holds files meanwhile. At least one table,
    so that data without a row has its columns all the same."""
    waiting: list[pa.RecordBatch] = []
    if not stream.n:
        yield pa.schema([(n, arrow_of(t)) for n, t in types.items()]).empty_table()
    for batch in stream.spooled(list(types), BATCH, scratch):
        waiting.append(batch)
        del batch
        if sum(b.num_rows for b in waiting) >= ROWS:
            table = pa.Table.from_batches(waiting)
            waiting = []
            yield _shown(table, types)
            del table
    if waiting:
        yield _shown(pa.Table.from_batches(waiting), types)


def _shown(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.type == pa.binary(16):
            column = hex_ids(column.combine_chunks())
        elif pa.types.is_list(column.type) and column.type.value_type == TURN:
            column = turns(column, whole=required(types[name]) == "json")
        columns[name] = column
    return pa.table(columns)


def records(tables: Iterable[pa.Table], types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows as JSON data: columns that hold JSON are the values that they hold."""
    for table in tables:
        for batch in table.to_batches(max_chunksize=4096):
            columns = [python_values(batch.column(n), types[n]) for n in table.column_names]
            for row in zip(*columns, strict=True):
                yield dict(zip(table.column_names, row, strict=True))


def filled(stream: Stream, names: Sequence[str], always: Sequence[str]) -> list[str]:
    """Those of the columns that are named in `always` or hold a value in some row."""
    out = []
    for name in names:
        if name not in stream.types:
            continue
        if name in always or any(
            b.column(0).null_count < b.num_rows for b in stream.in_any_order([name]).batches([name])
        ):
            out.append(name)
    return out
