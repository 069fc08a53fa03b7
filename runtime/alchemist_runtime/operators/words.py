"""Words of many texts at once, as spans of one byte buffer, and 64-bit hashes of words and of runs of words.

A word is a longest run of `\\w` (letters, digits, `_`) of the text in lower case, over code points, with the marks that
stand on them. In scripts that are written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese …) each letter
is a word of its own, so that runs of words are runs of letters there. What is not seen (zero-width characters, soft
hyphens) is not read.

The hashes are part of what decides a data set's bytes: the constants never change, golden values hold them. No Python
object is made per word.
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
#: Scripts without spaces: Thai, Lao, Burmese, Khmer, Tai Le, New Tai Lue, Tai Tham, Han, kana, Bopomofo, and their
#: extensions.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fdf\u3005-\u3007\u3021-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001aff0-\U0001b16f"
    "\U00020000-\U0003ffff"
)
_ALONE = re.compile(rf"(?![\W\d_])[{_UNSPACED}]")
#: Code points that Unicode has ignored by default (Default_Ignorable_Code_Point).
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


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
    """The words of a block: `data[start[w] : start[w] + length[w]]`; row r has the words `rows[r]` to `rows[r + 1] -
    1`.
    """

    data: Bytes  # lower case, UTF-8, zero bytes at the end
    start: Indices
    length: Indices
    hashes: Hashes
    rows: Indices
    offsets: Indices  # first byte of each row in `data`
    changed: Indices  # rows whose bytes are not those of the text but for the case of ASCII letters


def plain(text: str) -> str:
    """NFC and lower case, without what is not seen."""
    return unicodedata.normalize("NFC", _UNSEEN.sub("", text)).lower()


def compatible(text: str) -> str:
    """NFKC and lower case, without what is not seen."""
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).lower()


def words_of(text: str, fold: Callable[[str], str] = plain) -> list[str]:
    """The definition that `split` follows, for one text."""
    return _definition().findall(fold(text))


@cache
def _definition() -> re.Pattern[str]:
    alone, mark = _ALONE.pattern, f"[{''.join(map(chr, _marks()))}]"
    return re.compile(rf"{alone}{mark}*|(?!{alone})\w(?:(?!{alone})\w|{mark})*")


def _marks() -> list[int]:
    """Code points that stand on the letter before them (categories Mn, Mc and Me)."""
    return [p for p in range(0x300, 0x1F000) if unicodedata.category(chr(p))[0] == "M"]


# --- rows in blocks ---------------------------------------------------------------------------------------------------


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


# --- words ------------------------------------------------------------------------------------------------------------


def split(texts: pa.Array, fold: Callable[[str], str] = plain) -> Words:
    """Find and hash the words of a block's texts."""
    import numpy as np

    texts, changed = _folded(texts, fold)
    data, offsets = _lower(texts)
    start, length = _spans(data, wide=len(changed) > 0)
    rows = np.searchsorted(start, offsets)
    return Words(data, start, length, _word_hashes(data, start, length), rows, offsets[:-1], changed)


def folded(column: pa.ChunkedArray, fold: Callable[[str], str]) -> tuple[Bytes, Indices]:
    """The bytes of a column's folded texts, one after the other, and where each begins and ends; a null is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pc.fill_null(column.combine_chunks().cast(pa.large_string()), "")
    data, offsets = _lower(_folded(whole, fold)[0])
    return data[: offsets[-1]], offsets


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
    seams = _mark_wide(data, mask) if wide else np.zeros(0, np.int64)
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, end = edges[0::2].copy(), edges[1::2]
    if len(seams):
        start, end = np.sort(np.append(start, seams)), np.sort(np.append(end, seams))
    return start, end - start


#: Kinds of code points: part of no word, of a word of several letters, a word of its own, a mark on what stands before
#: it.
_NONE, _LETTER, _WHOLE, _MARK = range(4)


def _mark_wide(data: Bytes, mask: Flags) -> Indices:
    """Mark the bytes of words beyond ASCII; answers where a word begins right behind another one."""
    import numpy as np

    lead = np.flatnonzero(data >= 0xC0)
    point, size = _points(data, lead)
    kind = _kinds()[point]
    after = np.zeros(len(lead), bool)  # right behind another sign beyond ASCII
    after[1:] = lead[:-1] + size[:-1] == lead[1:]
    mark = kind == _MARK
    kind = np.where(mark & ~after, mask[lead - 1], kind)  # before the first byte stands the last, of no word
    known = np.where(mark & after, 0, np.arange(len(lead)))
    kind = kind[np.maximum.accumulate(known)]
    for k in range(4):
        mask[lead[(kind != _NONE) & (size > k)] + k] = True
    whole = kind == _WHOLE
    before = np.zeros(len(lead), bool)  # behind a word of one letter
    before[1:] = whole[:-1]
    seam = ~mark & (kind != _NONE) & mask[lead - 1] & (whole | (before & after))
    end = (lead + size)[whole]
    return np.concatenate((lead[seam], end[mask[end] & (data[end] < 0x80)]))


def _points(data: Bytes, lead: Indices) -> tuple[Indices, Indices]:
    """Code points at these bytes, and how many bytes each has."""
    import numpy as np

    first = data[lead].astype(np.int64)
    size = 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)
    point = np.where(size > 1, first & (0xFF >> (size + 1)), first)
    for k in (1, 2, 3):
        more = data[np.minimum(lead + k, len(data) - 1)].astype(np.int64) & 0x3F
        point = np.where(size > k, (point << 6) | more, point)
    return np.minimum(point, 0x10FFFF), size


@cache
def _kinds() -> np.ndarray[Any, Any]:
    """The kind of every code point."""
    import numpy as np

    every = "".join(map(chr, range(0x110000)))
    table = np.zeros(0x110000, np.uint8)
    for run in _WORD.finditer(every):
        table[run.start() : run.end()] = _LETTER
    for sign in _ALONE.finditer(every):
        table[sign.start()] = _WHOLE
    table[_marks()] = _MARK
    return table


def letters(words: Words) -> Flags:
    """Which words are single letters of a script without spaces."""
    import numpy as np

    alone: Flags = np.equal(_kinds()[_points(words.data, words.start)[0]], _WHOLE)
    return alone


# --- operators --------------------------------------------------------------------------------------------------------

_SIGNS, _FORWARD, _BACK = b"+-*/%=<>!&|^~", b"([{\"'`$@", b")]}\"'`"


@cache
def _members(some: bytes) -> bytes:
    """A table for `bytes.translate`: 1 for these bytes, 0 for all others."""
    return bytes(k in some for k in range(256))


def _among(data: Bytes, some: bytes) -> Flags:
    import numpy as np

    return np.frombuffer(data.tobytes().translate(_members(some)), np.bool_)


def with_operators(words: Words) -> Hashes:
    """The words' hashes, each with the operators of code behind it, so that `a + b` and `a - b` are different words.

    An operator is a run of `+-*/%=<>!&|^~` between two operands, with blanks on both sides or on none, or before one
    (`-x`, `!ok`), or `++` or `--` behind one. No operators are a hyphen within a word, and signs that open a line or a
    word as lists, quotations, emphasis and tags do.
    """
    import numpy as np

    at = np.flatnonzero(_among(words.data, _SIGNS))
    if not len(at) or not len(words.start):
        return words.hashes
    new = np.append(True, np.diff(at) != 1)
    begin = np.flatnonzero(new)
    first, last = at[begin], at[np.append(begin[1:], len(at)) - 1]
    real = np.flatnonzero(_operators(words.data, first, last))
    row = np.repeat(np.arange(len(words.offsets)), np.diff(np.searchsorted(first, words.offsets), append=len(first)))[
        real
    ]
    owner = np.maximum(np.searchsorted(words.start, first[real]) - 1, words.rows[row])
    real, owner = real[owner < words.rows[row + 1]], owner[owner < words.rows[row + 1]]
    if not len(real):
        return words.hashes
    size = (last - first + 1)[real]
    owner = np.repeat(owner, size)
    byte = words.data[np.arange(len(owner)) + np.repeat(first[real] + size - np.cumsum(size), size)]
    place = np.flatnonzero(np.diff(owner, prepend=-1))
    rank = np.arange(len(owner)) - np.repeat(place, np.diff(place, append=len(owner)))
    powers = np.cumprod(np.full(int(rank.max()) + 1, _LANE, np.uint64))
    out = words.hashes.copy()
    out[owner[place]] = _mixed(out[owner[place]] ^ np.add.reduceat(byte * powers[rank], place))
    return out


def _operators(data: Bytes, first: Indices, last: Indices) -> Flags:
    """Which runs of signs, each from its first to its last byte, are operators."""
    import numpy as np

    left, right, sign = data[first - 1], data[last + 1], data[first]
    letter = b"_" + bytes((*range(48, 58), *range(97, 123), *range(128, 256)))
    word, then = _among(left, letter), _among(right, letter)
    ends, begins = word | _among(left, _BACK), then | _among(right, _FORWARD)
    long = last > first
    real: Flags = ends & begins & (long | (sign != ord("-")) | ~word | ~then)
    real |= ~ends & begins & ~_among(sign, b"*/<>") & ~_among(data[last], b"*/<>")
    real |= word & long & (last - first == 1) & (sign == data[last]) & _among(sign, b"+-")
    some = np.flatnonzero(_among(left, b" \t") & _among(right, b" \t"))
    behind = first[some] - 1
    while len(some):  # something must stand before it in its line
        behind -= 1
        blank = _among(data[behind], b" \t")
        real[some[~blank & ~_among(data[behind], b"\0\n\r")]] = True
        some, behind = some[blank], behind[blank]
    return real


# --- hashes -----------------------------------------------------------------------------------------------------------


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
        int.from_bytes(blake2b(b"alchemist/run/%d" % k, digest_size=8).digest(), "little") | 1 for k in range(n)
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
        out[begin[short]] = hashed(words.hashes, begin[short], count[short])
        real[begin[short]] = True
    starts = np.concatenate(([0], np.cumsum(np.where(count, np.maximum(count - n + 1, 1), 0))))
    return out[real], starts


def hashed(hashes: Hashes, begin: Indices, count: Indices) -> Hashes:
    """Hash runs of words of different lengths, as `runs` does."""
    import numpy as np

    total = np.zeros(len(begin), np.uint64)
    for k, factor in enumerate(_multipliers(int(count.max(initial=0)))):
        on = np.flatnonzero(count > k)
        total[on] += hashes[begin[on] + k] * np.uint64(factor)
    return _finished(total)


def with_wordless(words: Words, hashes: Hashes, starts: Indices) -> tuple[Hashes, Indices]:
    """The shingles, and one for each row that has signs but no words: all of them, without blanks at the ends."""
    import numpy as np

    rows = np.flatnonzero(np.diff(words.rows) == 0)
    if not len(rows):
        return hashes, starts
    ends = np.append(words.offsets[1:], len(words.data))
    signs = np.append(0, np.cumsum(words.data > 32))
    rows = rows[signs[ends[rows]] > signs[words.offsets[rows]]]
    spans = zip(words.offsets[rows].tolist(), ends[rows].tolist(), strict=True)
    result = [_long(words.data[a:b].tobytes().strip(b"\0 \t\r\n\v\f")) for a, b in spans]
    more = np.zeros(len(starts), np.int64)
    more[rows + 1] = 1
    return np.insert(hashes, starts[rows], np.array(result, np.uint64)), starts + np.cumsum(more)
