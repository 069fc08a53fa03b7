"""Near duplicates: MinHash signatures in bands propose pairs of rows, the exact Jaccard similarity of their word
n-grams decides.

Signatures are made with numpy, not with a library: results then depend on no library's version, and it is as fast
(a signature of 128 values takes about as long as reading one back from a library's own matrix).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from alchemist_runtime.operators import words as _words
from alchemist_runtime.operators.dedup._groups import Components, Duplicates
from alchemist_runtime.schema.registry import Range, dedup

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]
    Indices = np.ndarray[Any, np.dtype[np.int64]]
    Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Of pairs this far above the threshold, at most one in 200 is missed.
MARGIN, MISSED = 0.05, 1 / 200
#: In a bucket of at most this many rows all pairs are compared, in a larger one each row with the first.
ALL_PAIRS = 32
#: Bytes of text whose n-grams are held at once while pairs are compared.
HELD_BYTES = 1 << 26
#: Pairs that wait for their comparison at most, but for those of one band.
MANY_PAIRS = 4_000_000


@dedup(version=2)
def minhash(
    texts: list[pa.ChunkedArray | pa.Array],
    ids: np.ndarray,
    *,
    ngram: Annotated[int, Range(1, 32)] = 5,
    permutations: Annotated[int, Range(16, 1024)] = 128,
    threshold: Annotated[float, Range(0.1, 1)] = 0.8,
) -> Duplicates:
    """Rows whose word n-grams overlap by at least `threshold` (Jaccard), found by MinHash, each pair verified.

    The texts of a row are compared together, joined by a line break. The letters of scripts without spaces are words of
    their own; operators of code belong to the words before them. A row without words resembles rows of the very same
    signs, and a row of blanks none.
    """
    import numpy as np

    size = sum((_words.byte_lengths(t) for t in texts), np.zeros(len(ids), np.int64))
    rows = _Rows(_words.blocks(texts), size, ngram)
    keys, filled = _band_keys(rows, len(ids), *bands(permutations, threshold))
    rank = np.empty(len(ids), np.int64)
    rank[np.lexsort((ids[:, 1], ids[:, 0]))] = np.arange(len(ids))
    buckets = [_buckets(band, filled, rank) for band in keys]
    labels = _linked(rows, buckets, len(ids), threshold).labels()
    return Duplicates(labels, rows.jaccard, lambda order: _stars(rows, buckets, labels, order, threshold))


def bands(permutations: int, threshold: float) -> tuple[int, int]:
    """Bands and values per band: the longest bands that still find a pair just above the threshold.

    Just above is threshold + 0.05, near 1 half-way to 1. With too few permutations for that, bands of one value.
    """
    similar = min(threshold + MARGIN, (threshold + 1) / 2)
    for width in range(permutations, 1, -1):
        if (1 - similar**width) ** (permutations // width) <= MISSED:
            return permutations // width, width
    return permutations, 1


# --- signatures -------------------------------------------------------------------------------------------------------


@cache
def _constants(count: int) -> tuple[tuple[int, int], ...]:
    """Two 32-bit constants for each value of a signature: what is added by exclusive or, and an odd factor."""
    from hashlib import blake2b

    result = [blake2b(b"alchemist/minhash/%d" % k, digest_size=8).digest() for k in range(count)]
    return tuple((int.from_bytes(m[:4], "little"), int.from_bytes(m[4:], "little") | 1) for m in result)


def signatures(hashes: Hashes, starts: Indices, count: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """MinHash values (count x rows) of the shingles `hashes[starts[r] : starts[r + 1]]`; every row has one at least."""
    import numpy as np

    half = (hashes >> np.uint64(32)).astype(np.uint32)
    moved, out = np.empty_like(half), np.empty((count, len(starts) - 1), np.uint32)
    for k, (mask, factor) in enumerate(_constants(count)):
        np.bitwise_xor(half, np.uint32(mask), out=moved)
        np.multiply(moved, np.uint32(factor), out=moved)
        np.minimum.reduceat(moved, starts[:-1], out=out[k])
    return out


def _band_keys(rows: _Rows, total: int, count: int, width: int) -> tuple[Hashes, np.ndarray[Any, Any]]:
    """One 64-bit key for each band and row, and which rows have words at all."""
    import numpy as np

    keys, filled = np.zeros((count, total), np.uint64), np.zeros(total, bool)

    def work(block: _words.Block) -> None:
        hashes, starts = rows.shingles(block.texts())
        some = np.flatnonzero(np.diff(starts))
        if not len(some):
            return
        made = signatures(hashes, np.append(starts[some], len(hashes)), count * width)
        at = block.first + some
        filled[at] = True
        for band in range(count):
            keys[band, at] = _key(made[band * width : (band + 1) * width])

    for _ in _words.in_threads(work, rows.blocks):
        pass
    return keys, filled


def _key(values: np.ndarray[Any, np.dtype[np.uint32]]) -> Hashes:
    import numpy as np

    key = np.zeros(values.shape[1], np.uint64)
    for value in values:
        key = (key ^ value) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return key


# --- pairs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Buckets:
    """Rows of one band that share a key with another row, bucket by bucket, by id in each."""

    rows: Indices
    first: Indices  # where each bucket begins


def _buckets(keys: Hashes, filled: np.ndarray[Any, Any], rank: Indices) -> _Buckets:
    import numpy as np

    rows = np.flatnonzero(filled)
    order = rows[np.argsort(keys[rows])]
    same = keys[order][1:] == keys[order][:-1]
    rows = order[np.append(same, False) | np.append(False, same)] if len(order) else order
    rows = rows[np.lexsort((rank[rows], keys[rows]))]
    start = np.ones(len(rows), bool)
    start[1:] = keys[rows][1:] != keys[rows][:-1]
    return _Buckets(rows, np.flatnonzero(start))


def _with_first(buckets: _Buckets, leader: int = 0) -> tuple[Indices, Indices]:
    """The first row of each bucket, or another leader, with every row that comes after it."""
    import numpy as np

    end = np.append(buckets.first[1:], len(buckets.rows))
    left = np.maximum(end - buckets.first - leader - 1, 0)
    rest = np.arange(left.sum()) + np.repeat(end - np.cumsum(left), left)
    return np.repeat(buckets.rows[np.minimum(buckets.first + leader, end - 1)], left), buckets.rows[rest]


def _all_others(buckets: _Buckets) -> tuple[Indices, Indices]:
    """All other pairs of the small buckets."""
    import numpy as np

    size = np.diff(np.append(buckets.first, len(buckets.rows)))
    small = (size > 2) & (size <= ALL_PAIRS)
    first, end = buckets.first[small], (buckets.first + size)[small]
    left, right = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for a in range(1, ALL_PAIRS):
        for b in range(a + 1, ALL_PAIRS):
            some = first[first + b < end]
            if not len(some):
                break
            left.append(buckets.rows[some + a])
            right.append(buckets.rows[some + b])
    return np.concatenate(left), np.concatenate(right)


def _linked(rows: _Rows, bands: list[_Buckets], total: int, threshold: float) -> Components:
    """Verify the proposed pairs and join those that hold; pairs that are joined already need no look."""
    import numpy as np

    groups, refuted = Components(total), np.zeros(0, np.uint64)
    for propose in (_with_first, _all_others):
        waiting: list[Hashes] = []
        for k, buckets in enumerate(bands, 1):
            waiting.append(_open(*propose(buckets), groups, refuted))
            if k < len(bands) and sum(map(len, waiting)) < MANY_PAIRS:
                continue
            codes = np.unique(np.concatenate(waiting))
            low = (codes >> np.uint64(32)).astype(np.int64)
            high = (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)
            same = rows.jaccard(low, high) >= threshold
            groups.join(low[same], high[same])
            refuted, waiting = np.union1d(refuted, codes[~same]), []
    return groups


def _open(a: Indices, b: Indices, groups: Components, refuted: Hashes) -> Hashes:
    """Codes (lower row, higher row) of the pairs that are neither joined nor refuted."""
    import numpy as np

    labels = groups.labels()
    apart = labels[a] != labels[b]
    low, high = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
    codes = np.unique((low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64))
    return codes[~np.isin(codes, refuted)]


def _stars(rows: _Rows, bands: list[_Buckets], labels: Indices, order: Indices, threshold: float) -> Indices:
    """For each row the one that stays for it: itself, or the first in `order` that stays and that it resembles.

    Every row of a group is compared with the group's first; those that do not resemble it, with one another, bucket by
    bucket.
    """
    import numpy as np

    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    best = np.full(len(order), len(order), np.int64)
    np.minimum.at(best, labels, rank)
    stays = order[best[labels]]
    rest = np.flatnonzero(stays != np.arange(len(order)))
    rest = rest[np.bincount(labels)[labels[rest]] > 2]  # the two of a pair were compared already
    rest = rest[rows.jaccard(rest, stays[rest]) < threshold]
    stays[rest] = rest
    undecided = np.zeros(len(order), bool)
    undecided[rest] = True
    codes = np.zeros(0, np.uint64)
    for buckets in bands:
        left = _left(buckets, undecided, rank)
        for leader in range(ALL_PAIRS):
            a, b = _with_first(left, leader)
            if not len(a):
                break
            near = labels[a] == labels[b]
            code = (rank[a[near]].astype(np.uint64) << np.uint64(32)) | rank[b[near]].astype(np.uint64)
            codes = np.union1d(codes, code)
    first = order[(codes >> np.uint64(32)).astype(np.int64)]
    second = order[(codes & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    same = rows.jaccard(first, second) >= threshold
    # by the rank of the first: when its turn comes, whether it stays is known
    for a, b in zip(first[same].tolist(), second[same].tolist(), strict=True):
        if stays[a] == a and stays[b] == b:
            stays[b] = a
    return stays


def _left(buckets: _Buckets, some: np.ndarray[Any, Any], rank: Indices) -> _Buckets:
    """The buckets of some rows alone, each by rank."""
    import numpy as np

    number = np.zeros(len(buckets.rows), np.int64)
    number[buckets.first] = 1
    number = np.cumsum(number)
    keep = some[buckets.rows]
    rows, number = buckets.rows[keep], number[keep]
    order = np.lexsort((rank[rows], number))
    return _Buckets(rows[order], np.flatnonzero(np.diff(number[order], prepend=0)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows' texts, whose n-grams are made anew when they are needed: they would be as large as the texts."""

    blocks: list[_words.Block]
    size: Indices  # bytes of each row's texts
    ngram: int

    def shingles(self, texts: pa.Array) -> tuple[Hashes, Indices]:
        words = _words.split(texts)
        words = replace(words, hashes=_words.with_operators(words))
        return _words.with_wordless(words, *_words.shingles(words, self.ngram))

    def jaccard(self, first: Indices, second: Indices) -> Floats:
        """Jaccard similarity of the sets of n-grams of each pair of rows; 0 where a row has none."""
        import numpy as np

        out = np.zeros(len(first), np.float64)
        for low, high in self._spans(first, second):
            sets = self._sets(np.unique(np.concatenate((first[low:high], second[low:high]))))
            for k in range(low, high):
                out[k] = _jaccard(sets[int(first[k])], sets[int(second[k])])
        return out

    def _spans(self, first: Indices, second: Indices) -> Iterator[tuple[int, int]]:
        """Cut the pairs so that the n-grams of each part fit into memory."""
        import numpy as np

        if not len(first):
            return
        part = np.cumsum(self.size[first] + self.size[second]) // HELD_BYTES
        cuts = np.flatnonzero(np.diff(part)) + 1
        yield from pairwise([0, *cuts.tolist(), len(first)])

    def _sets(self, rows: Indices) -> dict[int, Hashes]:
        """The distinct n-grams of these rows (sorted, each once), in order."""
        import numpy as np

        firsts = np.array([b.first for b in self.blocks], np.int64)
        parts = np.split(rows, np.searchsorted(rows, firsts[1:]))

        def work(job: tuple[_words.Block, Indices]) -> dict[int, Hashes]:
            block, some = job
            hashes, starts = self.shingles(block.texts(some))
            for a, b in pairwise(starts.tolist()):
                hashes[a:b].sort()
            new = np.ones(len(hashes), bool)
            new[1:] = hashes[1:] != hashes[:-1]
            new[starts[:-1][np.diff(starts) > 0]] = True
            ends = np.append(0, np.cumsum(new))[starts[1:]]
            return dict(zip(some.tolist(), np.split(hashes[new], ends[:-1]), strict=True))

        jobs = [job for job in zip(self.blocks, parts, strict=True) if len(job[1])]
        return {row: found for part in _words.in_threads(work, jobs) for row, found in part.items()}


def _jaccard(a: Hashes, b: Hashes) -> float:
    import numpy as np

    both = np.concatenate((a, b))
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared) if len(both) else 0.0
