"""Which rows of two results are the same row: by id and number of the copy, and by occurrence where these repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alchemist_runtime.engine.compare.reading import stored_order
from alchemist_runtime.engine.select import U64, Ids, splitmix64
from alchemist_runtime.engine.streams import Stream, ids_to_u64
from alchemist_runtime.schema.errors import Problem, RunError
from alchemist_runtime.schema.rows import COPY, ID, required
from alchemist_runtime.storage.columns import Index


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
        from alchemist_runtime.engine.frames import hex_ids

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
