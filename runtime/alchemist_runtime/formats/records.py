"""What a reader of a source gives: records as they stand in the data, each with its place, and what could not be
read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from alchemist_runtime.schema.sealed import dumps

#: Records that a reader hands over at a time.
CHUNK = 8_192


@dataclass(frozen=True, slots=True)
class Where:
    """What a reader is asked for. `files`: path (relative to `root`), digest and format of each."""

    root: Path
    files: tuple[dict[str, str], ...] = ()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that could not be read: where, why, and the raw text of it."""

    place: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that was read over: a key that an object has twice (the last value counts), a member of a file that is
    none of its records."""

    kind: Literal["key-twice", "unread-member"]
    place: str
    name: str


@dataclass(frozen=True, slots=True)
class Unheld:
    """A value that JSON data cannot hold: why, and how it looks."""

    reason: str
    shown: str


@dataclass(slots=True)
class Chunk:
    """Some records in order. `numbers` are lines or items of the file `path`, one for each record."""

    path: str
    unit: str  # line | item | row | object
    records: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    canonical: list[bytes] = field(default_factory=list)  # canonical JSON of each record
    bad: list[Bad] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def place(self, i: int) -> str:
        return place(self.path, self.unit, self.numbers[i])


def place(path: str, unit: str, number: int) -> str:
    """`data/a.jsonl:17`, or `data/a.json item 17` where lines mean nothing."""
    return f"{path}:{number}" if unit == "line" else f"{path} {unit} {number}"


# --- identity --------------------------------------------------------------------------------------------------------


def canonical(record: Any) -> bytes:
    """Canonical JSON of a record: sorted keys, no spaces, UTF-8. ValueError for what is nested too deep."""
    return dumps(record, sort=True)


class Identities:
    """Gives ids in order of reading: BLAKE2b-128 of salt and canonical record; a repeat adds its number among its
    equals.
    """

    def __init__(self, salt: str) -> None:
        self._start = hashlib.blake2b(salt.encode() + b"\0", digest_size=16)
        self._seen: dict[bytes, int] = {}

    def of(self, records: Sequence[bytes]) -> list[bytes]:
        """The ids of records in canonical JSON."""
        out = []
        seen, start = self._seen, self._start
        for data in records:
            h = start.copy()
            h.update(data)
            id_ = h.digest()
            number = seen.get(id_)
            if number is None:
                seen[id_] = 1
            else:
                seen[id_] = number + 1
                id_ = hashlib.blake2b(id_ + number.to_bytes(8, "big"), digest_size=16).digest()
            out.append(id_)
        return out
