"""The rows of an export as they are written: turn columns, ids as hex digits, no column that is empty in every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.streams import TURN, Stream, arrow_type
from alchemist_runtime.engine.values import python_values, record_types
from alchemist_runtime.schema.exact_json import as_json, loads
from alchemist_runtime.schema.message import message
from alchemist_runtime.schema.rows import EXTRA, HISTORY, INSTRUCTION, MESSAGES, RESPONSE, SYSTEM, TAIL, required

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
    """The column types of an export, the same for all its files: ids are text, and turns JSON where one has further
    keys.
    """
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


#: A text that the JSON reader of `datasets` takes for a moment, and gives back in another spelling where text is
#: declared.
_DATED = r"^\d{4}-\d\d-\d\d([ T]\d\d(:?\d\d(:?\d\d(\.\d+)?)?)?)?(Z|[+-]\d\d(:?\d\d)?)?$"
DATED_BYTES = 40


def dated(stream: Stream, types: Mapping[str, str]) -> list[str]:
    """The columns among whose texts are such."""
    names = [n for n in types if n in stream.types and "text" in stream.types[n]]
    found: dict[str, None] = {}
    for batch in stream.in_any_order(names).batches(names) if names else ():
        for name in names:
            if name not in found and _is_dated(batch.column(name)):
                found[name] = None
    return list(found)


def _is_dated(array: pa.Array) -> bool:
    if pa.types.is_list(array.type):
        return _is_dated(array.flatten())
    if pa.types.is_struct(array.type):
        return any(map(_is_dated, array.flatten()))
    if not pa.types.is_string(array.type):
        return False
    short = array.filter(pc.less_equal(pc.binary_length(array), DATED_BYTES))
    return bool(pc.any(pc.match_substring_regex(short, _DATED)).as_py())


def features(types: Mapping[str, str], format_: str, stream: Stream) -> list[dict[str, Any]]:
    """The columns of the files as a dataset card declares them. JSON is text in parquet. In JSON lines it is values,
    which `datasets` reads from 4.7 on; so are texts that look like dates, which keep their spelling so alone."""
    json = "string" if format_ == "parquet" else "json"
    columns = dict(types)
    if format_ != "parquet":
        columns |= dict.fromkeys(dated(stream, types), "json")
    if format_ == "messages":
        turns = (SYSTEM, HISTORY, INSTRUCTION, TAIL, RESPONSE, EXTRA)
        more = EXTRA in types or any(required(types.get(n, "")) == "json" for n in (HISTORY, TAIL))
        others = {n: t for n, t in types.items() if n not in turns}
        columns = {MESSAGES: "list<json>" if more else "messages", **others}
    return [_feature(name, arrow_of(type_), type_, json) for name, type_ in columns.items()]


def _feature(name: str, arrow: pa.DataType, type_: str, json: str) -> dict[str, Any]:
    return {"name": name, **_declared(arrow, required(type_), json)}


def _declared(arrow: pa.DataType, type_: str, json: str) -> dict[str, Any]:
    """`dtype`, `list` or `struct` of a card, with what stands behind it."""
    if pa.types.is_list(arrow):
        element = required(type_.removeprefix("list<").removesuffix(">"))
        inner = _declared(arrow.value_type, element, json)
        return {"list": inner if "list" in inner else next(iter(inner.values()))}
    if pa.types.is_struct(arrow):
        inside = record_types(type_)
        return {"struct": [_feature(f.name, f.type, inside.get(f.name, ""), json) for f in arrow]}
    return {"dtype": json if type_ == "json" else _DTYPES.get(arrow, "string")}


#: How cards call the types of columns that are no text.
_DTYPES = {pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


def tables(stream: Stream, types: Mapping[str, str], scratch: Path) -> Iterator[pa.Table]:
    """The stream in tables of at most 65,536 rows, ready to be written; `scratch` holds files meanwhile. At least one
    table, so that data without a row has its columns all the same."""
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
