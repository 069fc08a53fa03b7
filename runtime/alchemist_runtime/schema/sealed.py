"""What is kept on disk says itself whether it is whole: JSON and arrays that carry their checksum, digests of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

#: Levels of lists and objects in JSON that somebody else may have written; nothing of ours comes near.
DEEPEST: Final = 400
KEY: Final = re.compile(r"b2:[0-9a-f]{64}")
_CHECK: Final = re.compile(rb'\{"check": "([0-9a-f]{32})", ')
_ARRAY_SUM: Final = 16  # bytes behind an array
#: A file that was written to less than that before it was read may be written to again under the same stamp.
SETTLED_NS: Final = 2_000_000_000


def read_json(data: bytes | str) -> Any:
    """A JSON value. ValueError where it is none, and where it is nested deeper than anything that reads it could
    follow.
    """
    try:
        found = json.loads(data)
    except RecursionError as e:
        raise ValueError("it is nested too deep") from e
    if _deeper(data):
        raise ValueError("it is nested too deep")
    return found


def _deeper(data: bytes | str) -> bool:
    """Whether valid JSON is nested deeper than `DEEPEST`."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = 0
    for found in _STRUCTURE.finditer(text):
        mark = found[0]
        depth += mark in "[{"
        depth -= mark in "]}"
        if depth > DEEPEST:
            return True
    return False


_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def _sum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def seal(data: Mapping[str, Any]) -> bytes:
    """An object as one line of JSON, sorted, that begins with the checksum of the rest."""
    rest = json.dumps(data, sort_keys=True).encode()[1:]
    return b'{"check": "' + _sum(rest).encode() + b'", ' + rest


def unseal(data: bytes) -> tuple[Any, bool]:
    """A sealed object, and whether it has a seal: what an earlier version wrote has none. ValueError where it does not
    fit.
    """
    head = _CHECK.match(data)
    if head is None:
        return read_json(data), False
    rest = data[head.end() :].rstrip(b"\n")
    if _sum(rest) != head[1].decode():
        raise ValueError("its bytes are not those that were written: the checksum differs")
    return json.loads(b"{" + rest), True


def sealed_array(data: bytes) -> bytes:
    """The bytes of a numpy file with their checksum behind them, where numpy does not look."""
    return data + hashlib.blake2b(data, digest_size=_ARRAY_SUM).digest()


def read_array(path: Path) -> Any:
    """A numpy array. OSError where there is none, ValueError where its bytes are not those that were written."""
    import io

    import numpy as np

    data = path.read_bytes()
    whole, end = data[:-_ARRAY_SUM], data[-_ARRAY_SUM:]
    if hashlib.blake2b(whole, digest_size=_ARRAY_SUM).digest() == end:
        return np.load(io.BytesIO(whole), allow_pickle=False)
    file = io.BytesIO(data)  # an earlier version wrote none
    try:
        array = np.load(file, allow_pickle=False)
    except Exception as e:  # numpy reads the head of a file as Python
        raise ValueError("it is no array") from e
    if file.tell() != len(data):
        raise ValueError("its bytes are not those that were written: the checksum differs")
    return array


def stamp(path: Path) -> list[int]:
    """What changes with every write to a file, and with another file in its place. OSError as it comes."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def file_digest(path: Path) -> str:
    """`b2:` and the BLAKE2b-256 of a file's bytes, in hex. OSError as it comes."""
    with path.open("rb") as raw:
        found = hashlib.file_digest(raw, lambda: hashlib.blake2b(digest_size=32))
    return "b2:" + found.hexdigest()


def footer_digest(path: Path) -> str:
    """The same of the footer of a Parquet file: its pages have checksums of their own, the footer has none.

    ValueError where the file has no footer."""
    with path.open("rb") as raw:
        size = raw.seek(0, 2)
        raw.seek(max(0, size - 8))
        tail = raw.read()
        length = int.from_bytes(tail[:4], "little") + 8
        if tail[4:] != b"PAR1" or length > size:
            raise ValueError("it does not end as a Parquet file does")
        raw.seek(size - length)
        return "b2:" + hashlib.blake2b(raw.read(), digest_size=32).hexdigest()


# --- exact json ------------------------------------------------------------------------------------------------------

#: How deep the lists and objects of a record may hold each other.
LEVELS: Final = 200
TOO_DEEP: Final = f"nested more than {LEVELS} levels deep"


def loads(data: bytes | str) -> Any:
    """JSON read with whole numbers of any size. ValueError for what is none, infinities and NaN among it."""
    import orjson

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as first:  # Python's own reader takes half a surrogate pair too
        try:
            return _whole(data)
        except json.JSONDecodeError as e:
            raise ValueError(f"not JSON: {first}") from e
    return _whole(data) if _vast(value) else value  # a float now, but maybe a whole number there


def twice(data: bytes, canonical: bytes) -> list[str]:
    """The keys that an object of a JSON text has more than once. `canonical`: the text as it was read and written
    again, which has fewer quotes then; only such texts are looked at."""
    # \u0022 is a quote too
    same = data.count(b'"') == canonical.count(b'"') and b"\\u00" not in data
    if same or _quotes(data) <= _quotes(canonical):
        return []
    found: dict[str, None] = {}

    def members(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            found.update(dict.fromkeys(n for n in names if names.count(n) > 1))

    json.loads(data, object_pairs_hook=members)
    return list(found)


def _quotes(data: bytes) -> int:
    return data.count(b'"') - data.count(b'\\"')


def dumps(value: Any, *, sort: bool = False) -> bytes:
    """JSON without spaces, in UTF-8; `sort`: with the keys of every object in order, so that equal values are equal
    bytes. Bytes are written in hex, other things of Python as text. ValueError for what is nested too deep."""
    import orjson

    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS if sort else None)
    except (TypeError, orjson.JSONEncodeError):  # whole numbers beyond 64 bits, deep nesting
        try:
            text = json.dumps(
                value, sort_keys=sort, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
            )
        except RecursionError as e:
            raise ValueError(TOO_DEEP) from e
        return text.encode("utf-8", "surrogatepass")


def as_json(value: Any) -> str:
    """`dumps` as text."""
    return dumps(value).decode("utf-8", "surrogatepass")


def _whole(data: bytes | str) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as e:
        raise ValueError(TOO_DEEP) from e
    except ValueError as e:
        if "int_max_str_digits" not in str(e):
            raise
        raise ValueError("a whole number has more than 4,300 digits") from e


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _vast(value: Any) -> bool:
    """Whether a number beyond 64 bits is among the values."""
    todo: list[Iterable[Any]] = [[value]]
    while todo:
        inner = todo.pop()
        for v in inner:
            kind = type(v)
            if kind is str:
                continue
            if kind is float:
                if abs(v) >= 2**63:
                    return True
            elif kind is dict:
                todo.append(v.values())
            elif kind is list:
                todo.append(v)
    return False


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
