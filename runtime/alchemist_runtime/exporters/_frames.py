"""The rows of an export as they are written: turn columns, ids as hex digits, no column that is empty in every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alchemist_runtime.message import message
from alchemist_runtime.rows import HISTORY, TAIL

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from alchemist_runtime.engine.streams import Stream

ROWS, BATCH = 65_536, 16_384


def hex_ids(array: pa.Array) -> pa.Array:
    """Ids as 32 hex digits."""
    import numpy as np
    import pyarrow as pa

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


def turns(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Turns as `{role, content}`, with the further keys of each (tool calls, names) only where one has them."""
    import orjson
    import pyarrow as pa

    rows = array.to_pylist()
    plain = all(t["extra"] is None for r in rows for t in r or ())
    if plain:
        kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
        return pa.array(
            [r and [{"role": t["role"], "content": t["content"]} for t in r] for r in rows], kind
        )
    made = [r and [_whole(t, orjson.loads) for t in r] for r in rows]
    return pa.array([None if r is None else orjson.dumps(r).decode() for r in made], pa.string())


def _whole(turn: Mapping[str, Any], loads: Any) -> dict[str, Any]:
    more = loads(turn["extra"]) if turn["extra"] else {}
    return message(turn["role"], turn["content"], more)


def tables(stream: Stream, columns: Sequence[str], scratch: Path) -> Iterator[pa.Table]:
    """The stream in tables of at most 65,536 rows, ready to be written; `scratch` holds files meanwhile."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    for batch in stream.spooled(columns, BATCH, scratch):
        waiting.append(batch)
        del batch
        if sum(b.num_rows for b in waiting) >= ROWS:
            table = pa.Table.from_batches(waiting)
            waiting = []
            yield _shown(table)
            del table
    if waiting:
        yield _shown(pa.Table.from_batches(waiting))


def _shown(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.type == pa.binary(16):
            column = hex_ids(column.combine_chunks())
        elif name in (HISTORY, TAIL):
            column = turns(column)
        columns[name] = column
    return pa.table(columns)


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
