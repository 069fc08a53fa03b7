"""Exact duplicates: rows whose texts are equal, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alchemist_runtime.operators import words
from alchemist_runtime.operators.dedup._groups import Duplicates
from alchemist_runtime.schema.registry import dedup

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_BATCH = 4096


@dedup()
def exact(texts: list[pa.ChunkedArray | pa.Array], ids: np.ndarray) -> Duplicates:
    """Rows whose texts are equal to the byte.

    A null equals an empty text. Rows whose texts are all empty are nobody's duplicates: nothing in them says that they
    are the same sample.
    """
    import numpy as np

    labels = np.arange(len(ids), dtype=np.int64)
    first: dict[bytes, int] = {}
    for row, digest in _digests(texts, _suspects(texts)):
        labels[row] = first.setdefault(digest, row)
    return Duplicates(labels, lambda i, j: np.ones(len(i), np.float64))


def _suspects(texts: list[Any]) -> np.ndarray:
    """Rows that have some text and share the length of every text with another row: only they are worth reading."""
    import numpy as np

    lengths = np.stack([words.byte_lengths(t) for t in texts], axis=1)
    kinds = np.zeros(len(lengths), np.int64)
    for column in lengths.T:
        kinds = kinds * len(kinds) + np.unique(column, return_inverse=True)[1]
        kinds = np.unique(kinds, return_inverse=True)[1]
    twice = np.bincount(kinds, minlength=1)[kinds] > 1
    return np.flatnonzero(twice & lengths.any(axis=1))


def _digests(texts: list[Any], rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """A 128-bit digest of the texts of each row, each text with its length before it."""
    from hashlib import blake2b

    import pyarrow as pa

    for at in range(0, len(rows), _BATCH):
        some = rows[at : at + _BATCH]
        low, high = int(some[0]), int(some[-1]) + 1
        take = pa.array(some - low)
        columns = [t.slice(low, high - low).cast(pa.large_binary()).take(take).to_pylist() for t in texts]
        for row, values in zip(some.tolist(), zip(*columns, strict=True), strict=True):
            digest = blake2b(digest_size=16)
            for value in values:
                digest.update(len(value or b"").to_bytes(8, "little"))
                digest.update(value or b"")
            yield row, digest.digest()
