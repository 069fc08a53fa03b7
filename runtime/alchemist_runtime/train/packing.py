"""Which documents share a sequence: lengths in, packs out. Deterministic: equal lengths give equal packs on every
machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]

#: Bins looked at in one go while one length is placed.
_BLOCK = 4_096


def _runs(lengths: Ints) -> tuple[Ints, list[tuple[int, int, int]]]:
    """Documents by falling length (ties: by number), and (length, first, count) of each run of equal ones."""
    order = np.argsort(-lengths, kind="stable")
    values, starts, counts = np.unique(-lengths[order], return_index=True, return_counts=True)
    return order, [(-int(v), int(s), int(c)) for v, s, c in zip(values, starts, counts, strict=True)]


def ffd(lengths: Ints, capacity: int) -> list[Ints]:
    """First-fit decreasing: the packs as document numbers, each ascending. No length may exceed `capacity`.

    A run of documents of one length goes into the open bins from the first on, as many as fit in each, which is what
    placing them one by one does; so the work is one pass over the bins per distinct length, not per document.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if not len(lengths):
        return []
    if lengths.max() > capacity or lengths.min() < 1:
        raise ValueError(f"lengths must lie between 1 and {capacity}")
    order, runs = _runs(lengths)
    room = np.zeros(len(lengths), dtype=np.int64)
    bins = 0
    placed = np.empty(len(lengths), dtype=np.int64)  # bin of order[i]
    for length, first, count in runs:
        done = 0
        for block in range(0, bins, _BLOCK):
            if done == count:
                break
            fits = room[block : min(block + _BLOCK, bins)] // length
            filled = np.minimum(np.cumsum(fits), count - done)
            take = np.diff(filled, prepend=0)
            used = np.flatnonzero(take)
            placed[first + done : first + done + int(filled[-1])] = np.repeat(used, take[used]) + block
            room[used + block] -= take[used] * length
            done += int(filled[-1])
        if done < count:
            each = capacity // length
            rest = np.arange(count - done)
            placed[first + done : first + count] = bins + rest // each
            new = -(-(count - done) // each)
            room[bins : bins + new] = capacity - length * np.bincount(rest // each, minlength=new)
            bins += new
    by_bin = np.lexsort((order, placed))
    cuts = np.cumsum(np.bincount(placed, minlength=bins))[:-1]
    return np.split(order[by_bin], cuts)


def wrapped(lengths: Ints, capacity: int) -> list[list[tuple[int, int, int]]]:
    """One stream of documents cut every `capacity` tokens: packs of (document, start, stop); only the last is
    shorter.
    """
    packs: list[list[tuple[int, int, int]]] = []
    room = 0
    for number, length in enumerate(lengths.tolist()):
        at = 0
        while at < length:
            if not room:
                packs.append([])
                room = capacity
            stop = min(length, at + room)
            packs[-1].append((number, at, stop))
            room -= stop - at
            at = stop
    return packs


def pieces(lengths: Ints, capacity: int, packing: str) -> list[list[tuple[int, int, int]]]:
    """The packs of a method (none, ffd, wrapped) as lists of (document, start, stop)."""
    if packing == "wrapped":
        return wrapped(lengths, capacity)
    if packing == "ffd":
        return [[(d, 0, int(lengths[d])) for d in pack.tolist()] for pack in ffd(lengths, capacity)]
    return [[(d, 0, n)] for d, n in enumerate(lengths.tolist())]
