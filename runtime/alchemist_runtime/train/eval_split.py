"""Which rows are held out of a training: drawn by source row, so that rows of one origin stay on one side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import pyarrow as pa

from alchemist_runtime.schema import rows

Batches = Callable[[], Iterator[pa.RecordBatch]]


def draws(roots: Iterable[bytes], seed: int) -> list[int]:
    """A 64-bit draw for each source row: the same for all rows that came from it."""
    key = seed.to_bytes(8, "big")
    return [int.from_bytes(hashlib.blake2b(r, digest_size=8, key=key, person=b"alc eval").digest()) for r in roots]


def roots_of(batch: pa.RecordBatch) -> list[bytes]:
    """Source rows; a row without one is its own."""
    ids: list[bytes] = batch.column(rows.ID).to_pylist()
    if rows.ROOT not in batch.schema.names:
        return ids
    own = batch.column(rows.ROOT).to_pylist()
    return [r if r is not None else i for r, i in zip(own, ids, strict=True)]


def held_out(batches: Batches, share: Fraction, count: int | None, seed: int) -> Callable[[list[bytes]], list[bool]]:
    """Which rows are held out, as a function of their roots."""
    if count:
        chosen = _by_count(batches, count, seed)
        return lambda roots: [r in chosen for r in roots]
    below = int(share * 2**64)
    if not below:
        return lambda roots: [False] * len(roots)
    return lambda roots: [d < below for d in draws(roots, seed)]


def _by_count(batches: Batches, count: int, seed: int) -> frozenset[bytes]:
    """Source rows in the order of their draws, each taken with all its rows if they still fit."""
    sizes = Counter(r for b in batches() for r in roots_of(b))
    ordered = sorted(zip(draws(sizes, seed), sizes, strict=True))
    left, chosen = count, set()
    for _, root in ordered:
        if sizes[root] <= left:
            chosen.add(root)
            left -= sizes[root]
        if not left:
            break
    return frozenset(chosen)
