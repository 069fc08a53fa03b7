"""The steps source and suite: records become rows with an identity; what cannot be read is kept with its place and
reason.

First pass: records are read, identified and written as they are to spill files, column by column. Second pass, when
every column's type is known: assignments, the row schema, and the rows in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.context import Context
from alchemist_runtime.engine.filter_map import assign
from alchemist_runtime.engine.row_functions import INT64, json_text, real_of, turns
from alchemist_runtime.engine.select import draw_order, u64_to_ids
from alchemist_runtime.engine.streams import arrow_type, column_type
from alchemist_runtime.engine.turns import TURN_TYPES, split_columns
from alchemist_runtime.engine.views import Part, port
from alchemist_runtime.formats.records import Bad, Chunk, Identities, Remark, Where
from alchemist_runtime.schema import catalog
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.expressions import columns_read
from alchemist_runtime.schema.plan import Node, SourceSpec, SuiteSpec
from alchemist_runtime.schema.rows import DROPPED_COLUMNS, IDENTITY, IDENTITY_TYPES, MESSAGES, SFT, nullable, required
from alchemist_runtime.schema.sealed import loads
from alchemist_runtime.storage.store import Output

#: Bad records whose places a message names.
SHOWN = 3


@dataclass
class Raw:
    """What the first pass found. `types`: Arrow type of each column over all records."""

    folder: Path
    files: list[tuple[Path, int]] = field(default_factory=list)
    types: dict[str, pa.DataType] = field(default_factory=dict)
    ids: list[bytes] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    #: columns with whole numbers that no real holds exactly
    wide: set[str] = field(default_factory=set)

    def column(self, name: str, array: pa.Array) -> None:
        """Note the type of a column in some more records."""
        if pa.types.is_int64(array.type) and _is_wide(array):
            self.wide.add(name)
        type_ = merged(self.types.get(name), array.type)
        self.types[name] = JSON if pa.types.is_float64(type_) and name in self.wide else type_


#: Whole numbers up to this are reals without loss.
EXACT = 2**53


def _is_wide(array: pa.Array) -> bool:
    ends = pc.min_max(array).as_py()
    return ends["max"] is not None and (ends["max"] > EXACT or ends["min"] < -EXACT)


def run_source(ctx: Context, node: Node, out: Output) -> None:
    spec: SourceSpec = node.spec  # type: ignore[assignment]
    raw = _read(ctx, node, spec, out)
    chosen = _limited(ctx, spec, raw)
    rows = _Rows(ctx, node, spec, raw, out)
    rows.write(chosen)
    total = len(raw.ids) + sum(b.reason.startswith(_UNREAD) for b in raw.bad)
    if raw.bad and spec.on_bad_row == "error":
        raise RunError(_bad_rows(node, raw.bad, total))
    if spec.max_bad is not None and len(raw.bad) > spec.max_bad:
        raise RunError(_bad_rows(node, raw.bad, total, spec.max_bad))
    if not rows.count and spec.reader.name != "missing":
        raise RunError(_empty(node, spec))
    port(ctx, node, out, "rows", [Part(stored=rows.description)], rows.types)
    _write_dropped(ctx, node, spec, raw.bad, out)
    out.figures["rows_in"] = total
    out.figures["dropped"] = {"bad_row": len(raw.bad)} if raw.bad else {}
    if chosen is not None:
        out.figures["not_chosen"] = len(raw.ids) - len(chosen)
    for path, _ in raw.files:
        path.unlink()


#: Columns of a source, over all of its records.
COLUMNS = 2_000
_UNREAD = "cannot be read: "


def _read(ctx: Context, node: Node, spec: SourceSpec | SuiteSpec, out: Output) -> Raw:
    component = catalog.find("sources", spec.reader.name)
    assert component is not None, spec.reader.name
    where = Where(ctx.project, tuple(spec.files), node.id)
    if spec.reader.name == "hub" and "revision" not in spec.reader.args:
        raise RunError(
            Problem(
                "A307",
                f"the plan does not say which commit of `{spec.reader.args['repo']}` to read",
                node=node.id,
                help="`alchemist lock` asks the hub for it; then compile the recipe again",
            )
        )
    raw = Raw(out.folder)
    salt = spec.salt if isinstance(spec, SourceSpec) else f"suite {spec.name}"
    identities = Identities(salt)
    id_column = spec.id_column if isinstance(spec, SourceSpec) else None
    remarks: list[Remark] = []
    for chunk in component.function(where, **spec.reader.args):
        remarks += chunk.remarks
        raw.bad += [Bad(b.place, _UNREAD + b.reason, b.raw) for b in chunk.bad]
        if not chunk.records:
            continue
        keys = chunk.canonical if id_column is None else _keys(chunk, id_column, node)
        raw.ids += identities.of(keys)
        _spill(raw, chunk, node)
        ctx.progress.advance(node.id, len(raw.ids), None, "rows", chunk.path)
    _tell(ctx, node, remarks)
    return raw


def _tell(ctx: Context, node: Node, remarks: list[Remark]) -> None:
    """Warn of what was read over."""
    for kind, (code, said, help_) in _REMARKS.items():
        found = [r for r in remarks if r.kind == kind]
        if found:
            displayed = "; ".join(f"{r.place}: `{r.name}`" for r in found[:SHOWN])
            more = f"; and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
            ctx.progress.warn(
                Problem(
                    code,
                    f"`{node.id}` {said}: {displayed}{more}",
                    node=node.id,
                    place=found[0].place,
                    help=help_,
                    severity="warning",
                )
            )


_REMARKS: Mapping[str, tuple[str, str, str]] = {
    "key-twice": (
        "A316",
        "has objects with a key twice, of which only the last value is read",
        "give each key of an object another name",
    ),
    "unread-member": (
        "A317",
        "reads one list of an object, and not the other members beside it",
        "put what belongs to the records into them, or delete it",
    ),
}


def _keys(chunk: Chunk, column: str, node: Node) -> list[bytes]:
    from alchemist_runtime.formats.records import canonical

    missing = next((i for i, r in enumerate(chunk.records) if r.get(column) is None), None)
    if missing is not None:
        raise RunError(
            Problem(
                "A304",
                f"`{node.id}` takes its identity from `{column}`, which a record does not have",
                node=node.id,
                place=chunk.place(missing),
                note="its columns: " + ", ".join(sorted(chunk.records[missing])),
            )
        )
    return [canonical(r[column]) for r in chunk.records]


def _spill(raw: Raw, chunk: Chunk, node: Node) -> None:
    """Write a chunk's records column by column, with their places."""
    names: dict[str, None] = {}
    for record in chunk.records:
        names.update(dict.fromkeys(record))
    if len(names | raw.types) > COLUMNS:
        raise RunError(
            Problem(
                "A322",
                f"the records of `{node.id}` have more than {COLUMNS:,} columns",
                node=node.id,
                place=chunk.place(0),
                help="keep what varies from record to record in one column that holds an object",
            )
        )
    arrays = {}
    for name in names:
        array = to_arrow([r.get(name) for r in chunk.records])
        arrays[name] = array
        raw.column(name, array)
    arrays[" place"] = pa.array([chunk.place(i) for i in range(len(chunk.records))], pa.string())
    path = raw.folder / f"raw-{len(raw.files):05d}.arrow"
    table = pa.table(arrays)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    raw.files.append((path, len(chunk.records)))


def to_arrow(values: Sequence[Any]) -> pa.Array:
    """Values of one column: text, whole numbers, numbers, truth values. Lists and records as JSON text, and so are
    values of several kinds, and numbers whose digits no column of numbers holds."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {str}:
        return pa.array(values, pa.string() if kinds else pa.null())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(v is None or v in INT64 for v in values):
        return pa.array(values, pa.int64())
    if float in kinds and kinds <= {int, float} and all(type(v) is not int or abs(v) <= EXACT for v in values):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.array([json_text(v) for v in values], JSON)


#: JSON text while types are merged; stored as plain text afterwards, with the column type `json`.
JSON = pa.large_string()


def merged(a: pa.DataType | None, b: pa.DataType) -> pa.DataType:
    """The type that holds the values of both."""
    if a is None or a == b or pa.types.is_null(a):
        return b
    if pa.types.is_null(b):
        return a
    if {a, b} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return JSON


def _as_type(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array.cast(pa.string()) if wanted == JSON else array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string() if wanted == JSON else wanted)
    if wanted == JSON:  # what was plain here is JSON elsewhere: write it so
        return pa.array([json_text(v) for v in array.to_pylist()], pa.string())
    return array.cast(wanted)


def _limited(ctx: Context, spec: SourceSpec, raw: Raw) -> np.ndarray[Any, Any] | None:
    """Positions of the rows of lowest hash that `limit` and `--limit` leave; None where they leave all."""
    bounds = [b for b in (spec.limit, spec.run_limit) if b is not None]
    if not bounds or min(bounds) >= len(raw.ids):
        return None
    halves = np.frombuffer(b"".join(raw.ids), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return np.sort(draw_order(halves, ctx.plan.seed, spec.salt)[: min(bounds)])


class _Rows:
    """The second pass: writes the table of rows."""

    def __init__(self, ctx: Context, node: Node, spec: SourceSpec, raw: Raw, out: Output) -> None:
        self.ctx, self.node, self.spec, self.raw, self.out = ctx, node, spec, raw, out
        self.count = 0
        self.description: Mapping[str, Any] = {}
        schema = dict(spec.schema_columns or SFT)
        self.plain = plain_types(spec, raw, schema)
        self.loose = {
            n
            for n, t in raw.types.items()
            if t == JSON and n not in self.plain and required(spec.columns.get(n, "")) == "text"
        }
        self.raw_types = {
            **raw.types,
            **{n: arrow_type(t) for n, t in self.plain.items()},
            **dict.fromkeys(self.loose, pa.string()),
        }
        provided = {_renamed(n): _column_type(t) for n, t in self.raw_types.items()}
        provided.update({s.column: s.type for s in spec.sets})
        if MESSAGES in provided and MESSAGES not in schema:
            del provided[MESSAGES]
            provided.update(TURN_TYPES)
        for name, type_ in schema.items():
            if name in provided and name not in TURN_TYPES:
                provided[name] = type_
        for name in ("system", "instruction", "response"):
            if name in provided:
                provided[name] = schema.get(name, "text?")
        if "history" in provided:
            provided["history"] = "messages?"
        absent = [n for n, t in schema.items() if not nullable(t) and n not in provided]
        if absent and raw.files:
            raise RunError(_missing_column(node, absent, raw))
        self.required = [n for n, t in schema.items() if not nullable(t)]
        provided = {**schema, **provided}  # what the schema allows to be absent is null
        self.types = {**{n: t for n, t in provided.items() if n not in IDENTITY}, **IDENTITY_TYPES}

    def write(self, chosen: np.ndarray[Any, Any] | None) -> None:
        schema = pa.schema([(n, arrow_type(t)) for n, t in self.types.items()])
        with self.out.table("rows", schema) as writer:
            for batch, ids, unfit in self._batches(chosen):
                done = self._row_batch(batch, ids, schema, unfit)
                writer.write(done)
                self.count += done.num_rows
        self.description = writer.description()

    def _batches(self, chosen: np.ndarray[Any, Any] | None) -> Iterator[tuple[pa.RecordBatch, list[bytes], Unfit]]:
        at = 0
        for path, n in self.raw.files:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            picked = None if chosen is None else chosen[(chosen >= at) & (chosen < at + n)] - at
            ids = self.raw.ids[at : at + n]
            at += n
            if picked is not None:
                if not len(picked):
                    continue
                table = table.take(pa.array(picked))
                ids = [ids[i] for i in picked]
            batch, unfit = self._typed(table)
            yield batch, ids, unfit

    def _typed(self, table: pa.Table) -> tuple[pa.RecordBatch, Unfit]:
        arrays: dict[str, pa.Array] = {}
        unfit: Unfit = {}
        for name, type_ in self.raw_types.items():
            plain = pa.string() if type_ == JSON or pa.types.is_null(type_) else type_
            if name in self.plain and name in table.column_names:
                column = table.column(name).combine_chunks()
                arrays[_renamed(name)], others = fitting(column, self.plain[name])
                for row, value in others.items():
                    unfit.setdefault(row, {})[name] = value
            elif name in self.loose and name in table.column_names:
                arrays[_renamed(name)] = as_texts(table.column(name).combine_chunks())
            elif name in table.column_names:
                arrays[_renamed(name)] = _as_type(table.column(name).combine_chunks(), type_)
            else:
                arrays[_renamed(name)] = pa.nulls(table.num_rows, plain)
        arrays[" place"] = table.column(" place").combine_chunks()
        return pa.RecordBatch.from_pydict(arrays), unfit

    def _row_batch(self, batch: pa.RecordBatch, ids: list[bytes], schema: pa.Schema, unfit: Unfit) -> pa.RecordBatch:
        origin = pa.repeat(pa.scalar(self.spec.name), batch.num_rows)
        id_array = pa.array(ids, pa.binary(16))
        columns: dict[str, pa.Array] = {n: batch.column(n) for n in batch.schema.names}
        columns |= {"_id": id_array, "_root": id_array, "origin": origin, "made_by": origin}
        columns["_parent"] = pa.nulls(batch.num_rows, pa.binary(16))
        whole = pa.RecordBatch.from_pydict(columns)
        types = {_renamed(n): _column_type(t) for n, t in self.raw_types.items()}
        new = assign(self.ctx.scope(_with_nulls(whole, self.spec), types), self.spec.sets)
        if MESSAGES in columns and MESSAGES not in {s.column for s in self.spec.sets}:
            new = {**split_columns(read_turns(columns[MESSAGES])), **new}
        if "history" in columns and "history" not in new and columns["history"].type != schema.field("history").type:
            new["history"] = read_turns(columns["history"])
        columns.update(new)
        result = pa.RecordBatch.from_arrays([self._column(columns, f, whole.num_rows) for f in schema], schema=schema)
        return self._refuse(result, batch, unfit)

    def _column(self, columns: Mapping[str, pa.Array], wanted: pa.Field, n: int) -> pa.Array:
        array = columns.get(wanted.name)
        if array is None or pa.types.is_null(array.type):
            return pa.nulls(n, wanted.type)
        if array.type == wanted.type:
            return array
        try:
            return array.cast(wanted.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise RunError(
                Problem(
                    "A304",
                    f"`{self.node.id}` must give `{wanted.name}: {column_type(wanted.type)}`, but the column holds"
                    f" {column_type(array.type)}",
                    node=self.node.id,
                    note=str(e),
                    help=f"say how it is made, for example `set {wanted.name} = text({wanted.name})`",
                ),
                exit_code=1,
            ) from e

    def _refuse(self, result: pa.RecordBatch, raw: pa.RecordBatch, unfit: Unfit) -> pa.RecordBatch:
        """Rows without a required column, and with a value of another type than its column, are bad; the others
        stay.
        """
        refused = {row: self._misfit(values) for row, values in unfit.items()}
        for name in self.required:
            if result.column(name).null_count:
                for i in np.flatnonzero(result.column(name).is_null().to_numpy(zero_copy_only=False)):
                    refused.setdefault(int(i), f"`{name}` is null")
        if not refused:
            return result
        places = raw.column(" place")
        for row, why in sorted(refused.items()):
            record = {n: v for n, v in raw.slice(row, 1).to_pylist()[0].items() if n != " place"}
            record |= unfit.get(row, {})
            self.raw.bad.append(Bad(places[row].as_py(), why, json_text(record) or ""))
        keep = np.setdiff1d(np.arange(result.num_rows), np.array(list(refused)))
        return result.take(pa.array(keep))

    def _misfit(self, values: Mapping[str, Any]) -> str:
        name, value = next(iter(values.items()))
        wanted = self.plain[name]
        if wanted == "int" and type(value) is int:
            return f"`{name}` is a whole number beyond 64 bits"
        return f"`{name}` is {_kind_of(value)}, not {_NOUNS[wanted]}"


#: Row of a batch -> column -> a value that is not of the column's type.
Unfit = dict[int, dict[str, Any]]
_PYTHON: Mapping[str, tuple[type, ...]] = {"text": (str,), "int": (int,), "real": (int, float), "bool": (bool,)}
_NOUNS: Mapping[str, str] = {"text": "text", "int": "a whole number", "real": "a number", "bool": "true or false"}


def plain_types(spec: SourceSpec, raw: Raw, schema: Mapping[str, str]) -> dict[str, str]:
    """The type that a column of mixed values was planned with, for those that something reads as plain values.

    The first records of a file decide a column's type; one that comes later and differs is a bad record, not a reason
    to turn all the others into JSON text."""
    own = {s.column for s in spec.sets}
    read = {n for s in spec.sets for n in _read_plainly(s.expr)}
    mixed = [n for n, t in raw.types.items() if t == JSON]
    planned = {n: spec.columns.get(n) for n in mixed if n in read or (n in schema and n not in own)}
    for name in ("system", "instruction", "response"):
        if name in mixed and name not in own and name not in spec.columns:
            planned[name] = schema.get(name, "text")
    return {n: required(t) for n, t in planned.items() if t is not None and required(t) in _PYTHON}


def _read_plainly(tree: Any) -> Iterator[str]:
    """Columns that an expression reads as they are: `text(x)` takes any value."""
    match tree:
        case ["col", name]:
            yield name
        case ["template", _, names]:
            yield from names
        case ["call", "text", *_] | ["lit", *_]:
            return
        case list():
            for part in tree:
                yield from _read_plainly(part)
        case dict():
            for part in tree.values():
                yield from _read_plainly(part)


def fitting(array: pa.Array, wanted: str) -> tuple[pa.Array, dict[int, Any]]:
    """The values of a column as one plain type; those of another kind are null there, and returned by position."""
    values = array.to_pylist()
    if array.type == JSON:
        values = [None if v is None else loads(v) for v in values]
    kinds = _PYTHON[wanted]
    unfit = {
        i: v
        for i, v in enumerate(values)
        if v is not None
        and (
            not isinstance(v, kinds)
            or (isinstance(v, bool) and bool not in kinds)
            or (wanted == "int" and v not in INT64)
        )
    }
    if unfit:
        values = [None if i in unfit else v for i, v in enumerate(values)]
    if wanted == "real":
        values = [None if v is None else real_of(v) for v in values]
    return pa.array(values, arrow_type(wanted)), unfit


def as_texts(array: pa.Array) -> pa.Array:
    """A column of texts with some other values among them: texts as they are, the others as JSON text."""
    values = array.to_pylist()
    if array.type == JSON:
        values = [None if v is None else loads(v) for v in values]
    return pa.array([v if v is None or isinstance(v, str) else json_text(v) for v in values], pa.string())


def _kind_of(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a record"


def _renamed(name: str) -> str:
    """A record's column that is called like an identity column keeps its values under another name."""
    return f"record_{name}" if name in IDENTITY or name.startswith("_") or name == " place" else name


def _column_type(type_: pa.DataType) -> str:
    return "json?" if type_ == JSON else column_type(type_) + "?"


def read_turns(array: pa.Array) -> pa.Array:
    """Conversations from a column in one of the usual layouts; null where a value is none."""
    return pa.array([None if v is None else turns(v) for v in array.to_pylist()], arrow_type("messages"))


def _with_nulls(batch: pa.RecordBatch, spec: SourceSpec) -> pa.RecordBatch:
    """Columns that an assignment reads and no record has are null; the checker has already said what it could."""
    wanted = sorted(set().union(*(columns_read(s.expr) for s in spec.sets)) if spec.sets else ())
    for name in wanted:
        if name not in batch.schema.names:
            type_ = required(spec.columns.get(name, "text"))
            batch = batch.append_column(name, pa.nulls(batch.num_rows, arrow_type(type_)))
    return batch


# --- what was refused -------------------------------------------------------------------------------------------------


def _write_dropped(ctx: Context, node: Node, spec: SourceSpec, bad: list[Bad], out: Output) -> None:
    """The port `dropped` of a source: the raw records that it could not take, with their places."""
    types = {"record": "text", "place": "text", **DROPPED_COLUMNS, **IDENTITY_TYPES}
    ids = Identities(f"{spec.salt} bad").of([f"{b.place}\n{b.raw}".encode("utf-8", "replace") for b in bad])
    n = len(bad)
    name = [spec.name] * n
    data: dict[str, Any] = {
        "record": [b.raw for b in bad],
        "place": [b.place for b in bad],
        "rule": ["bad_row"] * n,
        "reason": [b.reason for b in bad],
        "_id": ids,
        "_parent": [None] * n,
        "_root": ids,
        "origin": name,
        "made_by": name,
    }
    table = pa.table({k: pa.array(v, arrow_type(types[k])) for k, v in data.items()})
    port(ctx, node, out, "dropped", [Part(stored=out.write_table("bad", table))], types)


def _bad_rows(node: Node, bad: list[Bad], total: int, most: int | None = None) -> Problem:
    """`total`: records of the source, read or not."""
    displayed = "; ".join(f"{b.place}: {b.reason.removeprefix(_UNREAD)}" for b in bad[:SHOWN])
    allowed = "" if most is None else f", more than the {most:,} that it may skip"
    many = f"{len(bad):,} of its {total:,} records" if total > 1 else "its only record"
    return Problem(
        "A305",
        f"`{node.id}` cannot take {many}{allowed}",
        node=node.id,
        place=bad[0].place,
        note=displayed + (f"; and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""),
        help=f"fix the data, or allow it: `on_bad_row = skip(max = {len(bad)})` keeps them in `{node.id}.dropped`",
    )


def _missing_column(node: Node, absent: list[str], raw: Raw) -> Problem:
    have = ", ".join(f"{n} ({column_type(t) if t != JSON else 'json'})" for n, t in sorted(raw.types.items()))
    return Problem(
        "A304",
        f"`{node.id}` must give `{absent[0]}`, but has no such column",
        node=node.id,
        note=f"its columns: {have}",
        help=f"say where it comes from, for example `set {absent[0]} = {next(iter(sorted(raw.types)), 'column')}`",
    )


def _empty(node: Node, spec: SourceSpec) -> Problem:
    return Problem(
        "A308",
        f"`{node.id}` gives no row",
        node=node.id,
        place=spec.files[0]["path"] if spec.files else None,
        help='check that the files hold records, or declare the source as `missing = "why"`',
    )


# --- suites -----------------------------------------------------------------------------------------------------------


def run_suite(ctx: Context, node: Node, out: Output) -> None:
    """Items of a benchmark as they stand in its files, with an id each."""
    spec: SuiteSpec = node.spec  # type: ignore[assignment]
    raw = _read(ctx, node, spec, out)
    if raw.bad:
        raise RunError(_bad_rows(node, raw.bad, len(raw.ids) + len(raw.bad)))
    if not raw.ids and spec.reader.name != "missing":
        raise RunError(Problem("A308", f"the suite `{node.id}` has no item", node=node.id))
    wanted = [*spec.text, spec.id_column, spec.entry_point]
    result = {s.column for s in spec.sets}
    absent = [c for c in wanted if c and c not in raw.types and c not in result]
    if absent and raw.files:
        raise RunError(_missing_column(node, absent, raw))
    tables = [pa.ipc.open_file(pa.memory_map(str(p))).read_all() for p, _ in raw.files]
    types = {n: _column_type(t) for n, t in raw.types.items() if n not in IDENTITY}
    arrays = {
        name: pa.chunked_array(
            [
                (
                    _as_type(t.column(name).combine_chunks(), raw.types[name])
                    if name in t.column_names
                    else pa.nulls(t.num_rows, arrow_type(type_))
                )
                for t in tables
            ],
            arrow_type(type_),
        )
        for name, type_ in types.items()
    }
    if raw.files:
        whole = pa.table(arrays).combine_chunks().to_batches()[0]
        for name, array in assign(ctx.scope(whole, types), spec.sets).items():
            types[name] = next(s.type for s in spec.sets if s.column == name)
            arrays[name] = pa.chunked_array([array.cast(arrow_type(types[name]))])
    halves = np.frombuffer(b"".join(raw.ids), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    arrays["_id"] = u64_to_ids(halves)
    arrays["origin"] = pa.array([spec.name] * len(raw.ids), pa.string())
    description = out.write_table("rows", pa.table(arrays))
    port(ctx, node, out, "rows", [Part(stored=description)], {**types, "_id": "id", "origin": "text"})
    for path, _ in raw.files:
        path.unlink()
