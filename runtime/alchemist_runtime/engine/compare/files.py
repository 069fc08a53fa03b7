"""Exported folders, parquet files and JSON lines as streams of rows: what is compared where there is no store."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alchemist_runtime.engine.compare.reading import stored_order
from alchemist_runtime.engine.export_step import MARKER
from alchemist_runtime.engine.select import U64, Ids, splitmix64
from alchemist_runtime.engine.streams import Segment, Stream, arrow_type, column_type, ids_to_u64
from alchemist_runtime.formats import files
from alchemist_runtime.formats.records import Chunk
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.rows import COPY, ID, optional, required
from alchemist_runtime.schema.sealed import as_json
from alchemist_runtime.storage.columns import Column, Index, Shards, Stored

#: What stands behind a split's name in that of a file: a digest, the number of a part.
_SPLIT = re.compile(r"(-[0-9a-f]{12})?(-\d{5,})?$")
READ = {".parquet": "parquet", ".jsonl": "jsonl"}


@contextlib.contextmanager
def opened(path: Path, scratch: Path) -> Iterator[dict[str, Stream]]:
    """An exported folder as its splits, or one file as `rows`. RunError A312 where it is neither or cannot be read."""
    if path.is_dir():
        if not (path / MARKER).is_file():
            raise _unreadable(
                path,
                "it is a folder that no `export` wrote (it holds no `.alchemist-export.json`)",
                "name two folders that exports wrote, or two parquet or jsonl files",
            )
        with opened_files(path, scratch) as found:
            yield found
        return
    if not path.exists():
        raise _unreadable(path, "there is no such file", _FILES)
    if path.suffix not in READ:
        raise _unreadable(path, "it is neither parquet nor jsonl", _FILES)
    with _scratch(scratch) as folder:
        yield {"rows": _stream([path], folder)}


_FILES = "name two folders that exports wrote, or two files that end in `.parquet` or `.jsonl`"


@contextlib.contextmanager
def opened_files(folder: Path, scratch: Path) -> Iterator[dict[str, Stream]]:
    """The data files of an export as a stream for each split."""
    splits: dict[str, list[Path]] = {}
    for path in sorted((folder / "data").glob("*")):
        if path.suffix in READ:
            splits.setdefault(_SPLIT.sub("", path.stem), []).append(path)
    if not splits:
        raise _unreadable(folder, "it holds no data files", "run the recipe again: it makes them")
    with _scratch(scratch) as place:
        yield {name: _stream(paths, place) for name, paths in splits.items()}


@contextlib.contextmanager
def _scratch(scratch: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="files-", dir=scratch) as folder:
        yield Path(folder)


def _stream(paths: list[Path], scratch: Path) -> Stream:
    return Stream.concat([_parquet(p) if p.suffix == ".parquet" else _lines(p, scratch) for p in paths])


def _unreadable(path: Path, why: str, help_: str) -> RunError:
    return RunError(Problem("A312", f"`{path}` cannot be compared: {why}", place=str(path), help=help_))


def _broken(path: Path, error: Exception) -> RunError:
    why = getattr(error, "strerror", None) or " ".join(str(error).split())
    return _unreadable(path, f"it cannot be read ({why})", "check that the file is complete and readable")


def alike(before: Stream, after: Stream) -> tuple[Stream, Stream]:
    """Both so that a column that holds JSON on one side holds it on the other too."""
    return _as_json(before, after), _as_json(after, before)


def _as_json(stream: Stream, like: Stream) -> Stream:
    wanted = {
        n
        for n, t in stream.types.items()
        if required(like.types.get(n, "")) == "json" and required(t) not in ("json", "null")
    }
    segments = tuple(
        s.replace({n: AsJson(c) for n, c in s.columns.items() if n in wanted and _plain(c)}) for s in stream.segments
    )
    return Stream(segments, {n: "json?" if n in wanted else t for n, t in stream.types.items()})


def _plain(column: Column) -> bool:
    """Whether a column holds values and no JSON as text, as an exported parquet file may."""
    return isinstance(column, Line) or column.type != pa.string()


# --- parquet ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Stream:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    shards = Foreign((path,), (file.metadata.num_rows,))
    types = {f.name: _type_of(f.type) for f in file.schema_arrow}
    columns: dict[str, Column] = {name: Stored(shards, name) for name in types}
    return Stream((Segment(shards.n, columns),), types)


def _type_of(arrow: pa.DataType) -> str:
    """The column type that holds all values of an Arrow type without loss; text where no other does."""
    if pa.types.is_dictionary(arrow):
        arrow = arrow.value_type
    if pa.types.is_uint64(arrow) or pa.types.is_decimal(arrow):
        return "text?"
    return optional(column_type(arrow))


@dataclass
class Foreign(Shards):
    """Parquet files that are not the store's: what is broken in them is their owner's matter."""

    def group(self, name: str, number: int) -> pa.Array:
        try:
            return super().group(name, number)
        except RunError as error:
            path = self.paths[self.bounds()[number][2]]
            raise _broken(path, error.__cause__ or error) from error  # type: ignore[arg-type]


# --- JSON lines -------------------------------------------------------------------------------------------------------


class Line(Stored):
    """A column of JSON lines: what is text in it is text."""


@dataclass
class _Table:
    """Some records as columns on disk, each with the kind of its values."""

    path: Path
    rows: int
    kinds: Mapping[str, str]  # text | int | real | bool | json


def _lines(path: Path, scratch: Path) -> Stream:
    """JSON lines, laid out in columns in `scratch`. A column of mixed values is JSON, so that 5 and "5" differ."""
    tables: list[_Table] = []
    try:
        for chunk in files.read(path, str(path), "jsonl"):
            if chunk.bad:
                bad = chunk.bad[0]
                raise _unreadable(path, f"`{bad.place}` is no record ({bad.reason})", "mend that line")
            tables.append(_laid_out(chunk, scratch / f"{path.stem}-{len(tables):05d}.parquet"))
    except RunError as error:
        if error.problem.headline.startswith(f"`{path}` cannot be compared"):
            raise
        raise _broken(path, error.__cause__ or error) from error  # type: ignore[arg-type]
    kinds: dict[str, str] = {}
    for table in tables:
        for name, kind in table.kinds.items():
            kinds[name] = _joint(kinds.get(name), kind)
    types = {n: optional(k) for n, k in kinds.items()}
    return Stream(tuple(_segment(t, kinds) for t in tables), types)


def _segment(table: _Table, kinds: Mapping[str, str]) -> Segment:
    shards = Shards((table.path,), (table.rows,))
    columns: dict[str, Column] = {}
    for name, kind in table.kinds.items():
        stored = Line(shards, name)
        quote = kinds[name] == "json" and kind not in ("json", "null")
        columns[name] = AsJson(stored) if quote else stored
    return Segment(table.rows, columns)


def _joint(one: str | None, other: str) -> str:
    """The kind that holds the values of both."""
    kinds = {one or other, other} - {"null"}
    if len(kinds) <= 1:
        return kinds.pop() if kinds else "null"
    return "real" if kinds == {"int", "real"} else "json"


_KINDS: Mapping[type, str] = {str: "text", bool: "bool", int: "int", float: "real", type(None): "null"}


def _laid_out(chunk: Chunk, path: Path) -> _Table:
    names = dict.fromkeys(n for record in chunk.records for n in record)
    columns, kinds = [], {}
    for name in names:
        values = [record.get(name) for record in chunk.records]
        kind = _kind(values)
        kinds[name] = kind
        if kind == "json":
            values = [None if v is None else as_json(v) for v in values]
        columns.append(pa.array(values, arrow_type("text" if kind == "json" else kind)))
    pq.write_table(pa.table(columns, names=list(names)), path, compression="zstd")
    return _Table(path, len(chunk.records), kinds)


def _kind(values: Sequence[Any]) -> str:
    """The kind that holds all of the values exactly."""
    kind = "null"
    for type_ in {type(v) for v in values}:
        kind = _joint(kind, _KINDS.get(type_, "json"))
    bound = {"int": 2**63, "real": 2**53 + 1}.get(kind)
    if bound and any(type(v) is int and abs(v) >= bound for v in values):
        return "json"
    return kind


@dataclass(frozen=True)
class AsJson:
    """A column of plain values, each as JSON."""

    column: Column
    type: pa.DataType = field(default_factory=pa.string)

    @property
    def n(self) -> int:
        return self.column.n

    def read(self, start: int, stop: int) -> pa.Array:
        found = self.column.read(start, stop).to_pylist()
        return pa.array([None if v is None else as_json(v) for v in found], self.type)

    def select(self, index: Index) -> Column:
        return AsJson(self.column.select(index))

    def forget(self) -> None:
        self.column.forget()


# --- matching --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keys:
    """What names each row of a result. `draw` orders samples: it follows from the id alone, whatever else is in the
    data.
    """

    ids: Ids
    copy: np.ndarray[Any, np.dtype[np.int64]]
    draw: U64
    foreign: pa.ChunkedArray | None = None  # ids that alchemist did not make, as texts

    def take(self, rows: Index) -> Keys:
        """The keys of these rows, without the texts of foreign ids."""
        return Keys(self.ids[rows], self.copy[rows], self.draw[rows])

    def shown(self, row: int) -> str:
        """The id of a row for people."""
        if self.foreign is not None:
            return str(self.foreign[row].as_py())
        return f"{int(self.ids[row, 0]):016x}{int(self.ids[row, 1]):016x}"

    def first(self, rows: Index, count: int) -> Index:
        """Those of the rows that come first in the order of samples."""
        if len(rows) > count > 0:
            bound = np.partition(self.draw[rows], count - 1)[count - 1]
            rows = rows[self.draw[rows] <= bound]
        return rows[np.argsort(self.draw[rows], kind="stable")][:count]


@dataclass(frozen=True, slots=True)
class Matched:
    """Rows of both sides in pairs, and those that one side alone has; every list ascends but `after`."""

    before: Index
    after: Index
    removed: Index
    added: Index


def keys(before: Stream, after: Stream, names: Sequence[str]) -> tuple[Keys, Keys]:
    """The keys of two results, called `names` in messages. RunError A304 where a side has rows without ids."""
    streams = (before, after)
    foreign: list[pa.ChunkedArray | None] = [None, None]
    if all(required(s.types.get(ID, "")) == "id" for s in streams):
        ids = [_halves(s) for s in streams]
    else:
        texts = [_texts(s, name) for s, name in zip(streams, names, strict=True)]
        hexed = [_of_hex(t) for t in texts]
        if hexed[0] is not None and hexed[1] is not None:
            ids = [hexed[0], hexed[1]]
        else:
            foreign = list(texts)
            ids = _numbered(texts)
    out = []
    for stream, halves, text in zip(streams, ids, foreign, strict=True):
        copy = _copies(stream)
        draw = splitmix64(halves[:, 0]) ^ halves[:, 1] if text is None else _hashed(text)
        out.append(Keys(halves, copy, splitmix64(draw ^ copy.astype(np.uint64)), text))
    return out[0], out[1]


def match(before: Keys, after: Keys, *, copies: bool = True) -> Matched:
    """Pair the rows: the first with the same id and copy on one side with the first on the other, and so on."""
    n = len(before.ids)
    ids = np.concatenate([before.ids, after.ids])
    sort = [ids[:, 1], ids[:, 0]]
    new = np.ones(len(ids), bool)
    if copies:
        copy = np.concatenate([before.copy, after.copy])
        sort = [copy, *sort]
    order = np.lexsort(sort)
    differ = np.zeros(max(len(ids) - 1, 0), bool)
    for key in sort:
        ranked = key[order]
        differ |= ranked[1:] != ranked[:-1]
    new[1:] = differ
    starts = np.flatnonzero(new)
    sizes = np.diff(np.r_[starts, len(ids)])
    first = order < n  # stable: in each group the rows of `before` stand first
    old = np.add.reduceat(first, starts) if len(starts) else starts
    rank = np.arange(len(ids)) - np.repeat(starts, sizes)
    of_old = np.repeat(old, sizes)
    rank = np.where(first, rank, rank - of_old)
    paired = rank < np.repeat(np.minimum(old, sizes - old), sizes)
    a, b = order[first & paired], order[~first & paired] - n
    by_place = np.argsort(a, kind="stable")
    return Matched(a[by_place], b[by_place], np.sort(order[first & ~paired]), np.sort(order[~first & ~paired]) - n)


# --- ids --------------------------------------------------------------------------------------------------------------


def _halves(stream: Stream) -> Ids:
    out = np.empty((stream.n, 2), np.uint64)
    for rows, array in stored_order(stream, ID):
        out[rows] = ids_to_u64(array)
    return out


def _copies(stream: Stream) -> np.ndarray[Any, np.dtype[np.int64]]:
    out = np.zeros(stream.n, np.int64)
    if required(stream.types.get(COPY, "")) == "int":
        for rows, array in stored_order(stream, COPY):
            out[rows] = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return out


def _texts(stream: Stream, called: str) -> pa.ChunkedArray:
    if not stream.n:
        return pa.chunked_array([], pa.string())
    if ID not in stream.types:
        raise RunError(_no_ids(f"`{called}` has no column `_id`", called))
    if required(stream.types[ID]) == "id":
        from alchemist_runtime.engine.views import hex_ids

        return pa.chunked_array([hex_ids(b.column(0)) for b in stream.batches([ID])], pa.string())
    kind = Stream(stream.segments, {ID: "text?"})
    found = pa.chunked_array([b.column(0) for b in kind.batches([ID])], pa.string())
    if found.null_count:
        raise RunError(_no_ids(f"`{called}` has {found.null_count:,} rows whose `_id` is null", called))
    return found


def _no_ids(what: str, place: str) -> Problem:
    return Problem(
        "A304",
        f"{what}: rows are matched by their ids",
        place=place,
        help="compare what `alchemist run` stored or exported, or give both files an `_id` for every row",
    )


def _of_hex(texts: pa.ChunkedArray) -> Ids | None:
    """Ids that are written as 32 hex digits; None where one is not."""
    parts = [np.empty((0, 2), np.uint64)]
    for chunk in texts.chunks:
        if not len(chunk):
            continue
        if pc.min(pc.binary_length(chunk)).as_py() != 32 or pc.max(pc.binary_length(chunk)).as_py() != 32:
            return None
        digits = _DIGITS[_bytes(chunk)]
        if digits.max(initial=0) > 15:
            return None
        raw = (digits[0::2] << 4 | digits[1::2]).view(">u8")
        parts.append(raw.reshape(-1, 2).astype(np.uint64))
    return np.concatenate(parts)


_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


def _bytes(texts: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of all texts, one after the other."""
    offsets = _offsets(texts)
    data = texts.buffers()[2]
    if data is None:
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]


def _offsets(texts: pa.Array) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


def _numbered(texts: list[pa.ChunkedArray]) -> list[Ids]:
    """A number for each distinct id of both sides."""
    both = pa.chunked_array([c for t in texts for c in t.chunks], pa.string())
    codes = both.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    ids = np.zeros((len(codes), 2), np.uint64)
    ids[:, 1] = codes
    return [ids[: len(texts[0])], ids[len(texts[0]) :]]


def _hashed(texts: pa.ChunkedArray) -> U64:
    """A hash of each text: samples are drawn by it, nothing rests on its being without collisions."""
    parts = [np.zeros(0, np.uint64)]
    for chunk in texts.chunks:
        if not len(chunk):
            continue
        offsets = _offsets(chunk).astype(np.int64) - int(_offsets(chunk)[0])
        lengths = np.diff(offsets)
        data = _bytes(chunk).astype(np.uint64)
        place = np.arange(len(data)) - np.repeat(offsets[:-1], lengths)
        weights = splitmix64(np.arange(int(lengths.max(initial=0)) + 1, dtype=np.uint64))
        with np.errstate(over="ignore"):
            sums = np.cumsum((data + np.uint64(1)) * weights[place])
            ends = np.r_[np.uint64(0), sums][offsets]
            parts.append(ends[1:] - ends[:-1])
    return np.concatenate(parts)
