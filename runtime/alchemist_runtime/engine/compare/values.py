"""Which values of two arrays differ: two nulls are equal, two NaNs are equal, lists and records by what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def unequal(a: pa.Array, b: pa.Array) -> Mask:
    """For each place whether the two values differ. Both arrays are as long, of one type, or both of numbers."""
    if pa.types.is_dictionary(a.type):
        a = a.dictionary_decode()
    if pa.types.is_dictionary(b.type):
        b = b.dictionary_decode()
    null_a, null_b = _nulls(a), _nulls(b)
    differ: Mask = null_a != null_b
    if pa.types.is_null(a.type) or pa.types.is_null(b.type):
        return differ
    if pa.types.is_struct(a.type):
        differ |= _records(a, b)
    elif _is_list(a.type):
        differ |= _lists(a, b, ~(null_a | null_b))
    else:
        differ |= _plain(a, b)
    return differ


def _plain(a: pa.Array, b: pa.Array) -> Mask:
    differ = _truth(pc.not_equal(a, b))
    if pa.types.is_floating(a.type) and pa.types.is_floating(b.type):
        differ &= ~(_truth(pc.is_nan(a)) & _truth(pc.is_nan(b)))
    return differ


def _nulls(array: pa.Array) -> Mask:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _truth(array: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _records(a: pa.Array, b: pa.Array) -> Mask:
    differ = np.zeros(len(a), bool)
    for one, other in zip(a.flatten(), b.flatten(), strict=True):  # null where the record is null
        differ |= unequal(one, other)
    return differ


def _lists(a: pa.Array, b: pa.Array, both: Mask) -> Mask:
    lengths_a = pc.fill_null(pc.list_value_length(a), 0).to_numpy(zero_copy_only=False)
    lengths_b = pc.fill_null(pc.list_value_length(b), 0).to_numpy(zero_copy_only=False)
    differ: Mask = both & (lengths_a != lengths_b)
    rows = np.flatnonzero(both & ~differ & (lengths_a > 0))
    if len(rows):
        take = pa.array(rows)
        inside = unequal(a.take(take).flatten(), b.take(take).flatten())
        starts = np.cumsum(np.r_[0, lengths_a[rows][:-1]]).astype(np.int64)
        differ[rows] = np.logical_or.reduceat(inside, starts)
    return differ
