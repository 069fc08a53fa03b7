"""File formats: jsonl, json, csv, parquet, arrow, each also compressed with gzip or zstd, as chunks of records with
places.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from alchemist_runtime.formats.records import CHUNK, Bad, Chunk, Remark, Unheld, canonical, place
from alchemist_runtime.schema.codes import Problem, RunError
from alchemist_runtime.schema.sealed import LEVELS, TOO_DEEP, dumps, loads, twice

ENDINGS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
PACKED: Mapping[str, str] = {".gz": "gzip", ".zst": "zstd"}
#: How many times its size a compressed file may have, beyond what is free; text has 3 to 20 times.
RATIO = 500
FREE = 64 << 20
#: Bytes of one line.
LINE = 64 << 20


def format_of(path: str) -> str | None:
    """The format that a file's name tells, without its compression; None if it tells none."""
    name = path.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return next((f for e, f in ENDINGS.items() if name.endswith(e)), None)


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed."""
    import pyarrow as pa

    packed = PACKED.get(path.suffix.lower())
    if packed == "gzip":
        import gzip

        return io.BufferedReader(_Unpacked(gzip.open(path, "rb"), path.stat().st_size))
    if packed:
        stream = pa.CompressedInputStream(pa.OSFile(str(path)), packed)
        return io.BufferedReader(_Unpacked(stream, path.stat().st_size))
    return path.open("rb")


class _Unpacked(io.RawIOBase):
    """A decompressing stream as a plain raw stream. OSError where it becomes so many times larger that it was made
    to.
    """

    def __init__(self, stream: Any, size: int) -> None:
        self._stream = stream
        self._left = FREE + RATIO * size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise OSError(0, f"decompressed, it is more than {RATIO} times as large")
        buffer[: len(data)] = data
        return len(data)


def read(path: Path, shown: str, format_: str) -> Iterator[Chunk]:
    """The records of one file. RunError A312 where it cannot be opened or decompressed."""
    try:
        yield from _READERS[format_](path, shown)
    except (OSError, EOFError) as e:
        raise unreadable(shown, e) from e
    except ImportError as e:
        raise unreadable(shown, e) from e


def unreadable(shown: str, error: Exception) -> RunError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return RunError(
        Problem(
            "A312",
            f"`{shown}` cannot be read: {reason}",
            place=shown,
            help="check that the file is complete (an interrupted download?) and readable",
        )
    )


# --- JSON -------------------------------------------------------------------------------------------------------------


def parse_record(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A record and its canonical JSON. ValueError with the reason where it is not one."""
    try:
        record = loads(data)
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8 at byte {e.start + 1} of the record") from e
    if not isinstance(record, dict):
        raise ValueError(f"a {_json_type(record)}, not an object with named columns")
    return record, checked(record)


def checked(record: dict[str, Any]) -> bytes:
    """The canonical JSON of a record. ValueError for values that no column can hold: infinities, half a surrogate pair,
    lists and objects that hold each other more than `LEVELS` deep."""
    data = canonical(record)
    if data.count(b"{") + data.count(b"[") > LEVELS:
        _check_depth(record)
    try:
        if b"\xed" in data:  # the first byte of halves
            data.decode()
    except UnicodeDecodeError as e:
        raise ValueError("a text holds half of a surrogate pair, which is no character") from e
    if b"null" in data and _infinite(record):  # as which an infinity is written
        raise ValueError("a number is too large (beyond 1.8e308)")
    return data


def _check_depth(record: dict[str, Any]) -> None:
    row: list[Any] = [record]
    for _ in range(LEVELS):
        inner = [v.values() if isinstance(v, dict) else v for v in row if isinstance(v, dict | list)]
        row = [v for values in inner for v in values]
    if any(isinstance(v, dict | list) for v in row):
        raise ValueError(TOO_DEEP)


def _infinite(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return not math.isfinite(value)
    if kind is dict:
        return any(map(_infinite, value.values()))
    return kind is list and any(map(_infinite, value))


def _json_type(value: Any) -> str:
    names = {list: "list", str: "text", bool: "bool", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), "value")


def _lines(path: Path, shown: str) -> Iterator[Chunk]:
    chunk = Chunk(shown, "line")
    with open_bytes(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE + 1), b""), 1):
            if len(line) > LINE:
                raise OSError(0, f"line {number} is longer than {LINE >> 20} MiB; is it JSON lines?")
            text = line.strip()
            if number == 1 and text.startswith(b"\xef\xbb\xbf"):
                text = text[3:]
            if not text:
                continue
            try:
                record, data = parse_record(text)
            except ValueError as e:
                chunk.bad.append(Bad(place(shown, "line", number), str(e), text.decode("utf-8", "replace")))
                continue
            chunk.records.append(record)
            chunk.canonical.append(data)
            chunk.numbers.append(number)
            for key in twice(text, data):
                chunk.remarks.append(Remark("key-twice", place(shown, "line", number), key))
            if len(chunk.records) >= CHUNK:
                yield chunk
                chunk = Chunk(shown, "line")
    if chunk.records or chunk.bad:
        yield chunk


def _json(path: Path, shown: str) -> Iterator[Chunk]:
    with open_bytes(path) as file:
        data = file.read()
    try:
        whole = loads(data)
    except ValueError as e:
        if _looks_like_lines(data):
            yield from _lines(path, shown)
            return
        raise unreadable(shown, ValueError(f"it is not JSON ({e})")) from e
    try:
        keys = twice(data, dumps(whole))
    except (ValueError, RecursionError):
        keys = []  # nested too deep: the item is named below
    remarks = [Remark("key-twice", shown, key) for key in keys]
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if lists:
            remarks += [Remark("unread-member", shown, k) for k, v in whole.items() if v is not lists[0]]
        if len(lists) > 1 or (not lists and b"\n" in data.strip() and _looks_like_lines(data)):
            raise unreadable(
                shown, ValueError("it is one object with several lists; give a list of records or JSON lines")
            )
        whole = lists[0] if lists else [whole]
    for chunk in items(whole if isinstance(whole, list) else [whole], shown, "item"):
        chunk.remarks, remarks = remarks, []
        yield chunk


def _looks_like_lines(data: bytes) -> bool:
    first, _, rest = data.strip().partition(b"\n")
    return first.strip().startswith(b"{") and first.strip().endswith(b"}") and rest.strip().startswith(b"{")


def items(values: Iterable[Any], shown: str, unit: str, first: int = 1) -> Iterator[Chunk]:
    """Values as chunks of records; those that are no records, or cannot be held, are bad ones."""
    chunk = Chunk(shown, unit)
    for number, value in enumerate(values, first):
        if isinstance(value, Unheld):
            chunk.bad.append(Bad(place(shown, unit, number), value.reason, value.shown))
            continue
        if not isinstance(value, dict):
            reason = f"a {_json_type(value)}, not an object with named columns"
            chunk.bad.append(Bad(place(shown, unit, number), reason, json.dumps(value, ensure_ascii=False)))
            continue
        try:
            data = checked(value)
        except ValueError as e:
            raw = "" if str(e) == TOO_DEEP else repr(value)[:2000]
            chunk.bad.append(Bad(place(shown, unit, number), str(e), raw))
            continue
        chunk.records.append(value)
        chunk.canonical.append(data)
        chunk.numbers.append(number)
        if len(chunk.records) >= CHUNK:
            yield chunk
            chunk = Chunk(shown, unit)
    if chunk.records or chunk.bad:
        yield chunk


# --- tables -----------------------------------------------------------------------------------------------------------


def _csv(path: Path, shown: str) -> Iterator[Chunk]:
    csv.field_size_limit(2**31 - 1)
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="strict", newline="") as file:
        reader = csv.reader(file, delimiter=_delimiter(path), strict=True)
        chunk = Chunk(shown, "line")
        try:
            head = next(reader, None) or []
            twice = sorted({n for n in head if head.count(n) > 1})
            if twice:
                raise unreadable(shown, ValueError(f"two columns are called `{twice[0]}`"))
            for row in reader:
                if not row:
                    continue
                if len(row) != len(head):
                    reason = f"{len(row)} fields where the header has {len(head)}"
                    chunk.bad.append(Bad(place(shown, "line", reader.line_num), reason, ",".join(row)))
                    continue
                record = dict(zip(head, row, strict=True))
                chunk.records.append(record)
                chunk.canonical.append(checked(record))
                chunk.numbers.append(reader.line_num)
                if len(chunk.records) >= CHUNK:
                    yield chunk
                    chunk = Chunk(shown, "line")
        except (csv.Error, UnicodeDecodeError) as e:
            raise unreadable(shown, ValueError(f"line {reader.line_num}: {e}")) from e
    if chunk.records or chunk.bad:
        yield chunk


def _delimiter(path: Path) -> str:
    """What stands between the fields: a tab in `.tsv`; else the one of comma, semicolon and tab that cuts the header,
    and the line after it into as many fields."""
    if path.name.lower().removesuffix(".gz").removesuffix(".zst").endswith(".tsv"):
        return "\t"
    with open_bytes(path) as file:
        sample = file.read(1 << 16).decode("utf-8-sig", "ignore")

    def fit(delimiter: str) -> tuple[bool, int]:
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        head, first = next(rows, []), next(rows, None)
        return len(head) > 1 and (first is None or len(first) == len(head)), len(head)

    try:
        return max(",;\t", key=fit)  # the first of equal ones
    except csv.Error:
        return ","


def _parquet(path: Path, shown: str) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from alchemist_runtime.formats.tables import records

    try:
        source: Any = path if path.suffix.lower() not in PACKED else io.BytesIO(open_bytes(path).read())
        at = 1
        for batch in pq.ParquetFile(source).iter_batches(batch_size=CHUNK):
            yield from items(records(batch), shown, "row", at)
            at += batch.num_rows
    except (pa.ArrowException, ValueError) as e:
        raise unreadable(shown, e) from e


def _arrow(path: Path, shown: str) -> Iterator[Chunk]:
    import pyarrow as pa

    from alchemist_runtime.formats.tables import records

    try:
        with pa.memory_map(str(path)) as file:
            try:
                reader: Any = pa.ipc.open_file(file)
                found = (reader.get_batch(i) for i in range(reader.num_record_batches))
            except pa.ArrowInvalid:
                file.seek(0)
                found = iter(pa.ipc.open_stream(file))
            at = 1
            for batch in found:
                yield from items(records(batch), shown, "row", at)
                at += batch.num_rows
    except (pa.ArrowException, ValueError) as e:
        raise unreadable(shown, e) from e


_READERS: Mapping[str, Callable[[Path, str], Iterator[Chunk]]] = {
    "jsonl": _lines,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
}


# --- packages --------------------------------------------------------------------------------------------------------

#: Names the whole standard library in a recipe.
STDLIB = "stdlib"
#: Folders of packages that hold no library code.
_SKIPPED = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "_examples"})
#: Modules of the standard library that are programs, jokes, or copies of other packages.
_NO_LIBRARY = frozenset({"test", "idlelib", "turtledemo", "ensurepip", "lib2to3", "antigravity", "this", "distutils"})


def package_files(name: str) -> list[tuple[str, Path]]:
    """The Python files of a package, module or the standard library: (path inside it, file), sorted; none: not
    installed.
    """
    if name == STDLIB:
        return stdlib_files()
    found: list[tuple[str, Path]] = []
    prefix = Path(*name.split("."))
    for folder in _locations(name):
        if folder.is_file():
            found.append((f"{prefix.as_posix()}.py", folder))
            continue
        found += [((prefix / f.relative_to(folder)).as_posix(), f) for f in _python_files(folder)]
    return sorted(found)


def stdlib_files() -> list[tuple[str, Path]]:
    """The files of the standard library's modules, tests and demonstrations left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for name in sorted(sys.stdlib_module_names - _NO_LIBRARY):
        if name.startswith("_") and not name.startswith("_py"):
            continue
        if (root / f"{name}.py").is_file():
            found.append((f"{name}.py", root / f"{name}.py"))
        elif (root / name / "__init__.py").is_file():
            found += [(f.relative_to(root).as_posix(), f) for f in _python_files(root / name)]
    return sorted(found)


def _python_files(folder: Path) -> list[Path]:
    return [f for f in sorted(folder.rglob("*.py")) if not _is_test(f.relative_to(folder))]


def _is_test(inside: Path) -> bool:
    name = inside.name
    return (
        not _SKIPPED.isdisjoint(inside.parts[:-1])
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def _locations(name: str) -> list[Path]:
    """The folders of a package, or the file of a module; looks only, imports nothing."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    top, *inner = name.split(".")
    try:
        spec = find_spec(top)
        for i in range(1, len(inner) + 1):
            if spec is None:
                return []
            spec = PathFinder.find_spec(".".join([top, *inner[:i]]), spec.submodule_search_locations)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(p) for p in spec.submodule_search_locations]
    ours = spec.origin and spec.has_location and spec.origin.endswith(".py")
    return [Path(spec.origin)] if ours and spec.origin else []


def licence(name: str) -> str | None:
    """The SPDX identifier or the short name of a package's licence, as its metadata gives it."""
    top = name.partition(".")[0]
    if name == STDLIB or top in sys.stdlib_module_names:
        return "PSF-2.0"
    from importlib.metadata import PackageNotFoundError, metadata, packages_distributions

    owners = packages_distributions().get(top, [top])
    try:
        meta = metadata(sorted(owners)[0])
    except PackageNotFoundError:
        return None
    if "License-Expression" in meta:
        return meta["License-Expression"]
    written = (meta["License"] or "").strip() if "License" in meta else ""
    if written and "\n" not in written and len(written) <= 60:
        return written
    named = [c.rpartition(":: ")[2] for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    return named[0] if named else None
