"""Draws by hash: which rows a step works on, in which order rows are drawn and shuffled, and the ids of rows that are
made.

The hash of a row is `u = splitmix64(low64(id) xor H64(seed, salt))`. A share p takes the rows with `u < floor(p *
2^64)`, so that a larger share keeps every row of a smaller one; ranks are by (u, id), so that they do not depend on the
rows' order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from alchemist_runtime.engine.streams import ids_to_u64
from alchemist_runtime.schema import plan

__all__ = [
    "choose",
    "derive_ids",
    "draw_order",
    "h64",
    "hashes",
    "ids_to_u64",
    "preference",
    "quota",
    "shuffle_order",
    "splitmix64",
    "threshold",
    "u64_to_ids",
]

#: Ids as (n, 2) unsigned halves, high first.
Ids = np.ndarray[Any, np.dtype[np.uint64]]
U64 = np.ndarray[Any, np.dtype[np.uint64]]
Positions = np.ndarray[Any, np.dtype[np.int64]]

_GAMMA, _MIX1, _MIX2 = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def splitmix64(x: U64) -> U64:
    """The splitmix64 finaliser (Steele, Lea, Flood 2014) of each value: a bijection on 64 bits."""
    with np.errstate(over="ignore"):
        z = np.asarray(x, dtype=np.uint64) + _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
        return z ^ (z >> np.uint64(31))


def h64(seed: int, salt: str) -> int:
    """BLAKE2b-64 of the seed (8 bytes, big-endian) and the salt (UTF-8), as a big-endian number."""
    data = (seed % 2**64).to_bytes(8, "big") + salt.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def hashes(ids: Ids, seed: int, salt: str) -> U64:
    """The hash u of each row: uniform on 64 bits, the same for a row wherever it stands."""
    return splitmix64(ids[:, 1] ^ np.uint64(h64(seed, salt)))


def threshold(fraction: Fraction) -> int:
    """`floor(p * 2^64)`: a row is chosen if its hash is below."""
    return int(fraction * 2**64)


def quota(fraction: Fraction, n: int) -> int:
    """`floor(p * n + 1/2)`: how many of a group of n rows a share takes."""
    return (2 * fraction.numerator * n + fraction.denominator) // (2 * fraction.denominator)


def _order(u: U64, ids: Ids) -> Positions:
    """Positions by (u, id); equal ids keep their order. Ties of u are rare, since splitmix64 is a bijection of half an
    id.
    """
    order = np.argsort(u, kind="stable")
    ranked = u[order]
    if np.any(ranked[1:] == ranked[:-1]):
        order = np.lexsort((ids[:, 1], ids[:, 0], u))
    return order.astype(np.int64, copy=False)


def draw_order(ids: Ids, seed: int, salt: str) -> Positions:
    """All positions in the order in which they are drawn: by (u, id). The first k of them are a draw of k rows."""
    return _order(hashes(ids, seed, salt), ids)


def shuffle_order(ids: Ids, seed: int, salt: str, copy: np.ndarray[Any, Any] | None = None) -> Positions:
    """Positions in the order of a deterministic shuffle: by (splitmix64(u xor copy), id, copy)."""
    number = np.zeros(len(ids), np.uint64) if copy is None else np.asarray(copy).astype(np.uint64)
    key = splitmix64(hashes(ids, seed, salt) ^ number)
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    if np.any(ranked[1:] == ranked[:-1]):
        order = np.lexsort((number, ids[:, 1], ids[:, 0], key))
    return order.astype(np.int64, copy=False)


def preference(order: Positions, scores: Sequence[np.ndarray[Any, Any]]) -> Positions:
    """Positions by descending score; a later score, then the draw breaks ties; null (NaN) comes last."""
    for score in reversed(scores):
        values = np.asarray(score)[order]
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            down = np.where(missing, np.inf, -np.where(missing, 0.0, values))
            # -inf and null must not tie: null is after everything
            order = order[np.lexsort((down, missing))]
        else:
            ascending = np.unique(values, return_inverse=True)[1]
            order = order[np.argsort(-ascending.astype(np.int64), kind="stable")]
    return order


def _first_of_groups(order: Positions, groups: np.ndarray[Any, Any], select: plan.Select) -> Positions:
    """The first rows of each group in the given order, as many as the share or the count says."""
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    in_order = codes[order]
    by_group = np.argsort(in_order, kind="stable")
    sizes = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rank = np.arange(len(order)) - starts[in_order[by_group]]
    amounts = np.array([_amount(select, int(n)) for n in sizes], dtype=np.int64)
    first: Positions = order[by_group[rank < amounts[in_order[by_group]]]]
    return first


def _amount(select: plan.Select, n: int) -> int:
    if select.count is not None:
        return min(select.count, n)
    if select.fraction is not None:
        return min(quota(Fraction(select.fraction), n), n)
    return n


def choose(
    select: plan.Select,
    ids: Ids,
    groups: np.ndarray[Any, Any] | None = None,
    scores: Sequence[np.ndarray[Any, Any]] | None = None,
    where: np.ndarray[Any, Any] | None = None,
    seed: int = 0,
) -> Positions:
    """Positions of the chosen rows, ascending.

    `groups`: a number for each row, equal inside a group of `per`. `scores`: the values of `best`, NaN for null; the
    highest are taken. `where`: the condition, null as false; it comes before everything else.
    """
    n = len(ids)
    if where is not None:
        allowed = np.flatnonzero(where)
        if len(allowed) < n:
            rest = choose(
                select,
                ids[allowed],
                None if groups is None else groups[allowed],
                None if scores is None else [np.asarray(s)[allowed] for s in scores],
                None,
                seed,
            )
            return allowed[rest].astype(np.int64, copy=False)
    if select.fraction is None and select.count is None:
        return np.arange(n, dtype=np.int64)
    u = hashes(ids, seed, select.salt)
    if groups is None and not scores and select.fraction is not None:
        bound = threshold(Fraction(select.fraction))
        chosen = np.ones(n, bool) if bound >= 2**64 else u < np.uint64(bound)
        return np.flatnonzero(chosen).astype(np.int64, copy=False)
    order = _order(u, ids)
    if scores:
        order = preference(order, scores)
    if groups is None:
        first = order[: _amount(select, n)]
    else:
        first = _first_of_groups(order, groups, select)
    return np.sort(first)


def u64_to_ids(halves: Ids) -> pa.FixedSizeBinaryArray:
    """Ids in Arrow form from their unsigned halves."""
    raw = np.ascontiguousarray(halves, dtype=">u8").tobytes()
    return pa.Array.from_buffers(pa.binary(16), len(halves), [None, pa.py_buffer(raw)])


def derive_ids(parents: Ids, salt: str, sample: np.ndarray[Any, Any]) -> pa.FixedSizeBinaryArray:
    """Ids of rows that are made: BLAKE2b-128 of parent id (16 bytes), sample (8 bytes, big-endian) and salt (UTF-8)."""
    head = np.empty((len(parents), 3), dtype=">u8")
    head[:, :2] = parents
    head[:, 2] = np.asarray(sample).astype(np.uint64)
    raw, tail, blake = memoryview(head.tobytes()), salt.encode(), hashlib.blake2b
    out = bytearray(16 * len(parents))
    for i in range(len(parents)):
        out[16 * i : 16 * i + 16] = blake(bytes(raw[24 * i : 24 * i + 24]) + tail, digest_size=16).digest()
    return pa.Array.from_buffers(pa.binary(16), len(parents), [None, pa.py_buffer(bytes(out))])
