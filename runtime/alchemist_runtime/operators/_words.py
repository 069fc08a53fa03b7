"""Words of many texts at once, as spans of one byte buffer, and 64-bit hashes of words and of runs of words.

A word is a longest run of `\\w` (letters, digits, `_`) of the text in lower case, over code points. The hashes are part of
what decides a data set's bytes: the constants never change, golden values hold them. No Python object is made per word.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Texts: TypeAlias = "pa.Array | pa.ChunkedArray"
    Hashes = np.ndarray[Any, np.dtype[np.uint64]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Indices = np.ndarray[Any, np.dtype[np.int64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

T = TypeVar("T")
R = TypeVar("R")

#: Bytes of text worked on at once: few enough for a core's cache, many enough that threads seldom wait for one another.
BLOCK_BYTES = 1 << 21
#: Words longer than this (base64, hex dumps) are hashed one by one.
LONG_WORD = 256

_SEED, _LANE, _RUN = 0x243F6A8885A308D3, 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows, from row number `first` on."""

    first: int
    columns: tuple[pa.ChunkedArray, ...]

    def texts(self, rows: Indices | None = None) -> pa.Array:
        """One text for each of these rows: its columns, each ended by a line break; a null is an empty text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = self.columns
        if rows is not None:
            columns = tuple(c.take(pa.array(rows - self.first)) for c in columns)
        whole = [c.combine_chunks().cast(pa.large_string()) for c in columns]
        end, line = pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string())
        return pc.binary_join_element_wise(*whole, end, line, null_handling="replace")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a block: `data[start[w] : start[w] + length[w]]`; row r has the words `rows[r]` to `rows[r + 1] - 1`."""

    data: Bytes  # lower case, UTF-8, zero bytes at the end
    start: Indices
    length: Indices
    hashes: Hashes
    rows: Indices
    offsets: Indices  # first byte of each row in `data`
    changed: Indices  # rows whose bytes are not those of the text but for the case of ASCII letters


def plain(text: str) -> str:
    """Lower case."""
    return text.lower()


def compatible(text: str) -> str:
    """NFKC, then lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def words_of(text: str, fold: Callable[[str], str] = plain) -> list[str]:
    """The definition that `split` follows, for one text."""
    return _WORD.findall(fold(text))


# --- rows in blocks ---------------------------------------------------------------------------------------------------------


def blocks(texts: Sequence[Texts], size: int = BLOCK_BYTES) -> list[Block]:
    """Cut rows into blocks of about `size` bytes."""
    import numpy as np

    columns = [_chunked(t) for t in texts]
    length = sum((byte_lengths(c) for c in columns), np.zeros(len(columns[0]), np.int64))
    cuts = _cuts(length + len(columns), size)
    return [Block(int(a), tuple(c.slice(a, b - a) for c in columns)) for a, b in pairwise(cuts)]


def byte_lengths(column: Texts) -> Indices:
    """Bytes of each text; a null has none."""
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.binary_length(_chunked(column)), 0)).astype(np.int64)


def _chunked(column: Texts) -> pa.ChunkedArray:
    import pyarrow as pa

    whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type):
        return whole
    return whole.cast(pa.string())


def _cuts(length: Indices, size: int) -> Indices:
    import numpy as np

    ends = np.cumsum(length)
    if not len(ends):
        return np.zeros(1, np.int64)
    last = np.searchsorted(ends, np.arange(size, ends[-1] + size, size), side="right")
    return np.unique(np.concatenate(([0], np.minimum(last, len(ends)), [len(ends)])))


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Apply `work` in as many threads as there are cores, at most four; results in the order of the items."""
    from concurrent.futures import ThreadPoolExecutor

    if len(items) < 2:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(min(4, _cores()))
    try:
        yield from pool.map(work, items)
    finally:  # an error or an interrupt need not wait for the rest
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


# --- words ------------------------------------------------------------------------------------------------------------------


def split(texts: pa.Array, fold: Callable[[str], str] = plain) -> Words:
    """Find and hash the words of a block's texts."""
    import numpy as np

    texts, changed = _folded(texts, fold)
    data, offsets = _lower(texts)
    start, length = _spans(data, wide=len(changed) > 0)
    rows = np.searchsorted(start, offsets)
    return Words(
        data, start, length, _word_hashes(data, start, length), rows, offsets[:-1], changed
    )


def _folded(texts: pa.Array, fold: Callable[[str], str]) -> tuple[pa.Array, Indices]:
    """Fold the texts that hold anything but ASCII in Python; the others need only `_lower`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    offsets, raw = _buffers(texts)
    high = np.flatnonzero(raw >= 128)
    if not len(high):
        return texts, high
    rows = np.unique(np.searchsorted(offsets, high + offsets[0], side="right") - 1)
    mask = np.zeros(len(texts), bool)
    mask[rows] = True
    new = [fold(t) for t in texts.take(pa.array(rows)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(new, pa.large_string())), rows


def _buffers(texts: pa.Array) -> tuple[Indices, Bytes]:
    import numpy as np

    _, at, body = texts.buffers()
    offsets = np.frombuffer(at, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if body is None:
        return offsets, np.zeros(0, np.uint8)
    return offsets, np.frombuffer(body, np.uint8)[offsets[0] : offsets[-1]]


def _lower(texts: pa.Array) -> tuple[Bytes, Indices]:
    import numpy as np

    offsets, raw = _buffers(texts)
    data = np.zeros((len(raw) // 8 + 3) * 8, np.uint8)  # room to read two lanes anywhere
    low = data[: len(raw)]
    np.subtract(raw, np.uint8(ord("A")), out=low)
    upper = (low < 26).view(np.uint8)
    upper <<= 5
    np.bitwise_or(raw, upper, out=low)
    return data, offsets - offsets[0]


def _spans(data: Bytes, *, wide: bool) -> tuple[Indices, Indices]:
    """Start and length of the words; every row ends in a byte of no word, and so does `data`."""
    import numpy as np

    inside = np.zeros(len(data) + 1, bool)
    mask = inside[1:]
    np.less(data - np.uint8(ord("a")), 26, out=mask)
    mask |= (data - np.uint8(ord("0"))) < 10
    mask |= data == ord("_")
    if wide:
        _mark_wide(data, mask)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start = edges[0::2].copy()
    return start, edges[1::2] - start


def _mark_wide(data: Bytes, mask: np.ndarray[Any, Any]) -> None:
    """Mark the bytes of `\\w` beyond ASCII, sequence by sequence."""
    import numpy as np

    lead = np.flatnonzero(data >= 0xC0)
    first = data[lead].astype(np.int64)
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    point = first & (0xFF >> (size + 1))
    for k in (1, 2, 3):
        more = data[np.minimum(lead + k, len(data) - 1)].astype(np.int64) & 0x3F
        point = np.where(size > k, (point << 6) | more, point)
    lead, size = (x[_wide_letters()[np.minimum(point, 0x10FFFF)]] for x in (lead, size))
    for k in range(4):
        mask[lead[size > k] + k] = True


@cache
def _wide_letters() -> np.ndarray[Any, Any]:
    """Whether a code point is `\\w`."""
    import numpy as np

    table = np.zeros(0x110000, bool)
    for run in _WORD.finditer("".join(map(chr, range(0x110000)))):
        table[run.start() : run.end()] = True
    return table


# --- hashes -----------------------------------------------------------------------------------------------------------------


def _word_hashes(data: Bytes, start: Indices, length: Indices) -> Hashes:
    """Chain the eight-byte lanes of each word. One lane is hashed one-to-one, so short words never collide."""
    import numpy as np

    hashes = _mixed((_lanes(data, start) & _keep(length)) ^ np.uint64(_SEED))
    rest = np.flatnonzero((length > 8) & (length <= LONG_WORD))
    at, left = start[rest] + 8, length[rest] - 8
    while len(rest):
        hashes[rest] = _mixed(hashes[rest] ^ (_lanes(data, at) & _keep(left)))
        more = np.flatnonzero(left > 8)
        rest, at, left = rest[more], at[more] + 8, left[more] - 8
    for w in np.flatnonzero(length > LONG_WORD):
        hashes[w] = _long(data[start[w] : start[w] + length[w]].tobytes())
    return hashes


def _lanes(data: Bytes, at: Indices) -> Hashes:
    """The eight bytes from each place on, as one number; from two aligned reads, which numpy does without a copy."""
    import numpy as np

    aligned, place = data.view("<u8"), at >> 3
    shift = ((at & 7) << 3).view(np.uint64)
    lanes = aligned.take(place) >> shift
    place += 1
    shift ^= np.uint64(63)
    lanes |= (aligned.take(place) << np.uint64(1)) << shift
    return lanes


def _keep(length: Indices) -> Hashes:
    """Masks that keep the first bytes of a lane."""
    import numpy as np

    masks = np.array([(1 << (8 * k)) - 1 for k in range(9)], np.uint64)
    return masks.take(length, mode="clip")


def _mixed(x: Hashes) -> Hashes:
    import numpy as np

    x *= np.uint64(_LANE)
    x ^= x >> np.uint64(29)
    return x


def _long(word: bytes) -> int:
    from hashlib import blake2b

    return int.from_bytes(blake2b(word, digest_size=8).digest(), "little")


def same(a: Words, i: Indices, b: Words, j: Indices) -> Flags:
    """Whether word i of `a` and word j of `b` are equal to the byte, for each pair of numbers."""
    import numpy as np

    (left, first), (right, second) = (a.data, a.start[i]), (b.data, b.start[j])
    length = a.length[i]
    equal: Flags = np.equal(length, b.length[j])
    some = np.flatnonzero(equal)
    for at in range(0, LONG_WORD, 8):
        if not len(some):
            return equal
        unlike = _lanes(left, first[some] + at) ^ _lanes(right, second[some] + at)
        equal[some] = (unlike & _keep(length[some] - at)) == np.uint64(0)
        some = some[equal[some] & (length[some] > at + 8)]
    for k in some:
        n = length[k]
        equal[k] = np.array_equal(left[first[k] :][:n], right[second[k] :][:n])
    return equal


@cache
def _multipliers(n: int) -> tuple[int, ...]:
    """Odd constants, one for each place in a run of words."""
    from hashlib import blake2b

    return tuple(
        int.from_bytes(blake2b(b"alchemist/run/%d" % k, digest_size=8).digest(), "little") | 1
        for k in range(n)
    )


def runs(hashes: Hashes, n: int) -> Hashes:
    """Hash every run of n consecutive words, whatever row they are in: one value for each first word."""
    import numpy as np

    size = max(len(hashes) - n + 1, 0)
    if not size:
        return np.zeros(0, np.uint64)
    factors = _multipliers(n)
    total = hashes[:size] * np.uint64(factors[0])
    term = np.empty_like(total)
    for k in range(1, n):
        total += np.multiply(hashes[k : k + size], np.uint64(factors[k]), out=term)
    return _finished(total)


def _finished(total: Hashes) -> Hashes:
    import numpy as np

    total ^= total >> np.uint64(32)
    total *= np.uint64(_RUN)
    total ^= total >> np.uint64(29)
    return total


def shingles(words: Words, n: int) -> tuple[Hashes, Indices]:
    """Hash the n-grams of each row, and where each row's begin (rows + 1).

    A row with fewer than n words has one shingle, all its words; a row without words has none.
    """
    import numpy as np

    begin, end = words.rows[:-1], words.rows[1:]
    count = end - begin
    out = np.empty(len(words.hashes), np.uint64)
    whole = runs(words.hashes, n)
    out[: len(whole)] = whole
    real = np.ones(len(out), bool)
    for k in range(1, n):
        real[(end - k)[count >= k]] = False
    short = np.flatnonzero((count > 0) & (count < n))
    if len(short):
        out[begin[short]] = _short(words.hashes, begin[short], count[short])
        real[begin[short]] = True
    starts = np.concatenate(([0], np.cumsum(np.where(count, np.maximum(count - n + 1, 1), 0))))
    return out[real], starts


def _short(hashes: Hashes, begin: Indices, count: Indices) -> Hashes:
    import numpy as np

    total = np.zeros(len(begin), np.uint64)
    for k, factor in enumerate(_multipliers(int(count.max()))):
        on = np.flatnonzero(count > k)
        total[on] += hashes[begin[on] + k] * np.uint64(factor)
    return _finished(total)
