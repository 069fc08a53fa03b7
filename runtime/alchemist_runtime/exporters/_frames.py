"""The rows of an export as they are written: turn columns, ids as hex digits, no column that is empty in every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alchemist_runtime.rows import HISTORY, TAIL

if TYPE_CHECKING:
    import pyarrow as pa

    from alchemist_runtime.engine.streams import Stream

ROWS = 65_536


def hex_ids(array: pa.Array) -> pa.Array:
    """Ids as 32 hex digits."""
    import pyarrow as pa

    return pa.array([None if v is None else v.hex() for v in array.to_pylist()], pa.string())


def turns(array: pa.Array) -> pa.Array:
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
    return {"role": turn["role"], "content": turn["content"], **more}


def tables(stream: Stream, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The stream in tables of at most 65,536 rows, ready to be written."""
    import pyarrow as pa

    for batch in stream.batches(columns, size=ROWS):
        arrays = []
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if array.type == pa.binary(16):
                array = hex_ids(array)
            elif name in (HISTORY, TAIL):
                array = turns(array)
            arrays.append(array)
        yield pa.table(dict(zip(batch.schema.names, arrays, strict=True)))


def filled(stream: Stream, names: Sequence[str], always: Sequence[str]) -> list[str]:
    """Those of the columns that are named in `always` or hold a value in some row."""
    out = []
    for name in names:
        if name not in stream.types:
            continue
        if name in always or any(
            b.column(0).null_count < b.num_rows for b in stream.batches([name])
        ):
            out.append(name)
    return out
