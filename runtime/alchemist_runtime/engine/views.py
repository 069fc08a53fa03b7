"""The description of a port in a manifest, and the stream that it opens to.

A port is a list of parts, one after the other: `{"stored": TABLE}` holds its rows; `{"view": [edges], …}` looks at the
inputs of the step (those edges, one after the other) through `select` (an array of positions), `set` (a table of new
columns, one row for each selected row), `patch` (`at`: an array as long as the selection, -1 or a row of `table`) and
`constant` columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.row_functions import python_values, record_types
from alchemist_runtime.engine.streams import TURN, Segment, Stream, arrow_type
from alchemist_runtime.schema.plan import Node
from alchemist_runtime.schema.rows import (
    EXTRA,
    HISTORY,
    INSTRUCTION,
    MADE_BY,
    MESSAGES,
    RESPONSE,
    SYSTEM,
    TAIL,
    TURN_COLUMNS,
    message,
    required,
)
from alchemist_runtime.schema.sealed import as_json, loads, read_array
from alchemist_runtime.storage.columns import Column, Constant, Shards, Stored
from alchemist_runtime.storage.store import MANIFEST, Manifest, Output, damaged, looked_at

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context

Table = Mapping[str, Any]  # {"table": name, "rows": [...]}
Sums = Mapping[str, Mapping[str, Any]]  # file -> size, digest, footer


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a port, as a step describes it; files are named as they stand in the step's folder."""

    edges: tuple[int, ...] = ()
    stored: Table | None = None
    select: str | None = None
    set: Table | None = None
    at: str | None = None
    patch: Table | None = None
    constant: Mapping[str, str] | None = None

    def data(self) -> dict[str, Any]:
        if self.stored is not None:
            return {"stored": dict(self.stored)}
        out: dict[str, Any] = {"view": list(self.edges)}
        if self.select:
            out["select"] = self.select
        if self.set is not None:
            out["set"] = dict(self.set)
        if self.patch is not None:
            out["patch"] = {"at": self.at, "table": dict(self.patch)}
        if self.constant:
            out["constant"] = dict(self.constant)
        return out


def open_port(ctx: Context, node: Node, port: str) -> Stream:
    """The stream of a port of a finished step."""
    manifest = ctx.manifest(node.id)
    if stale(ctx, node, manifest):
        changed = ValueError("it looks at rows of another step that have changed since")
        raise damaged(manifest.path, MANIFEST, changed)
    return build(ctx, node, manifest.path, manifest.port(port), manifest.files)


def stale(ctx: Context, node: Node, manifest: Manifest) -> bool:
    """Whether a result looks at rows that were made again since, and differ."""
    known = manifest.data.get("inputs")
    return known is not None and any(
        known[i] != ctx.manifest(node.inputs[i].node).port(node.inputs[i].port)["digest"] for i in looked_at(manifest)
    )


def build(ctx: Context, node: Node, folder: Path, port: Mapping[str, Any], sums: Sums | None = None) -> Stream:
    """The stream of a port's description, its files in `folder`; `sums` as a finished step's manifest has them."""
    types: Mapping[str, str] = port["columns"]
    streams = [_part(ctx, node, folder, part, types, sums) for part in port["parts"]]
    if len(streams) == 1:
        return replace(streams[0], types=types)
    return Stream(tuple(s for x in streams for s in x.segments if s.n), types)


def _part(
    ctx: Context, node: Node, folder: Path, part: Mapping[str, Any], types: Mapping[str, str], sums: Sums | None
) -> Stream:
    if "stored" in part:
        columns = _columns(folder, part["stored"], sums)
        return Stream((Segment(sum(part["stored"]["rows"]), columns),), types)
    stream = Stream.concat([ctx.edge(node.inputs[i]) for i in part["view"]])
    if "select" in part:
        stream = stream.select(_array(folder / part["select"]))
    if "patch" in part:
        at = _array(folder / part["patch"]["at"])
        columns = _columns(folder, part["patch"]["table"], sums)
        wrote = not columns.keys().isdisjoint(TURN_COLUMNS) and MADE_BY in types
        if wrote and node.kind in ("relabel", "generate"):
            maker = pa.scalar(node.id, arrow_type(types[MADE_BY]))
            columns[MADE_BY] = Constant(maker, sum(part["patch"]["table"]["rows"]))
        stream = stream.patched(at, columns, {})
    if "set" in part:
        stream = stream.with_columns(_columns(folder, part["set"], sums), {})
    for name, value in part.get("constant", {}).items():
        column = Constant(pa.scalar(value, arrow_type(types[name])), stream.n)
        stream = stream.with_columns({name: column}, {})
    return stream


def _array(path: Path) -> np.ndarray[Any, Any]:
    try:
        return read_array(path)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as e:
        raise damaged(path.parent, path.name, e) from e


def _columns(folder: Path, table: Table, sums: Sums | None = None) -> dict[str, Column]:
    paths = tuple(folder / f"{table['table']}-{i:05d}.parquet" for i in range(len(table["rows"])))
    shards = Shards(paths, tuple(table["rows"]), sums or {})
    return {name: Stored(shards, name) for name in shards.schema().names}


def port(ctx: Context, node: Node, out: Output, name: str, parts: Sequence[Part], columns: Mapping[str, str]) -> Stream:
    """Describe a port of the step being built; counts its rows by origin and takes its digest. Returns its stream."""
    description: dict[str, Any] = {"columns": dict(columns), "parts": [p.data() for p in parts]}
    stream = build(ctx, node, out.folder, description)
    description["rows"] = stream.n
    description["per_origin"] = per_origin(stream)
    description["digest"] = _digest(ctx, node, out.folder, description)
    out.ports[name] = description
    return stream


def per_origin(stream: Stream) -> dict[str, int]:
    """Rows by origin, sorted by name."""
    if "origin" not in stream.types:
        return {}
    counts: dict[str, int] = {}
    for batch in stream.in_any_order(["origin"]).batches(["origin"], size=65_536):
        for item in pc.value_counts(batch.column(0)):
            name = item["values"].as_py()
            counts[str(name)] = counts.get(str(name), 0) + item["counts"].as_py()
    return dict(sorted(counts.items()))


def _digest(ctx: Context, node: Node, folder: Path, description: Mapping[str, Any]) -> str:
    """Digest of a port's content, sensitive to order. A view that changes nothing has the digest of what it looks
    at.
    """
    parts = description["parts"]
    if len(parts) == 1 and set(parts[0]) == {"view"}:
        return _inputs_digest(ctx, node, parts[0]["view"])
    h = hashlib.blake2b(digest_size=32)
    for part in parts:
        h.update(b"part")
        if "view" in part:
            h.update(_inputs_digest(ctx, node, part["view"]).encode())
        for field in ("select", "constant"):
            if field in part:
                value = part[field]
                h.update(field.encode())
                h.update(
                    read_array(folder / value).tobytes() if field == "select" else repr(sorted(value.items())).encode()
                )
        if "patch" in part:
            h.update(read_array(folder / part["patch"]["at"]).tobytes())
        for table in (part.get("stored"), part.get("set"), part.get("patch", {}).get("table")):
            if table:
                _hash_table(h, folder, table)
    return "b2:" + h.hexdigest()


def _inputs_digest(ctx: Context, node: Node, numbers: Sequence[int]) -> str:
    found = []
    for i in numbers:
        edge = node.inputs[i]
        own = ctx.manifest(edge.node).port(edge.port)["digest"]
        found.append(own if edge.origin is None else hashlib.blake2b(f"{own}.{edge.origin}".encode()).hexdigest())
    if len(found) == 1:
        return found[0]
    return "b2:" + hashlib.blake2b(" ".join(found).encode(), digest_size=32).hexdigest()


def _hash_table(h: Any, folder: Path, table: Table) -> None:
    columns = _columns(folder, table)
    names = sorted(columns)
    h.update(repr([(n, str(columns[n].type)) for n in names]).encode())
    total = sum(table["rows"])
    for start in range(0, total, 8_192):
        arrays = [columns[n].read(start, min(start + 8_192, total)) for n in names]
        batch = pa.RecordBatch.from_arrays([_plain(a) for a in arrays], names=names)
        h.update(batch.serialize())


def _plain(array: pa.Array) -> pa.Array:
    """The same values at offset 0 in buffers of their own, so that equal values have equal bytes."""
    return array if array.offset == 0 and array.null_count == 0 else array.take(pa.array(np.arange(len(array))))


# --- frames ----------------------------------------------------------------------------------------------------------

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
        result = [r and [{"role": t["role"], "content": t["content"]} for t in r] for r in rows]
        return pa.array(result, pa.list_(SAID))
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
