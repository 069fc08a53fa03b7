"""What is kept on disk says itself whether it is whole: JSON and arrays that carry their checksum, digests of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
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
