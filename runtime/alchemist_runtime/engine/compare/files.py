"""Exported folders, parquet files and JSON lines as streams of rows: what is compared where there is no store."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alchemist_runtime.engine.export_marker import MARKER
from alchemist_runtime.engine.streams import Segment, Stream, arrow_type, column_type
from alchemist_runtime.formats import files
from alchemist_runtime.formats.records import Chunk
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.exact_json import as_json
from alchemist_runtime.schema.rows import optional, required
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
    return _unreadable(path, f"it cannot be read ({why})", "see that the file is whole, and that you may read it")


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
