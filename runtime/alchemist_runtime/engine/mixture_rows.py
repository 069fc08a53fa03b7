"""The rows of a mixture: which ones each entry gives, how often, and in which order they stand; and what came of the
shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemist_runtime.engine.mixture_counts import MixtureCounts
from alchemist_runtime.engine.select import Ids, Positions, draw_order, shuffle_order


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows of a mixture in their final order: row i is row `position[i]` of entry `entry[i]`.

    `copy[i]` numbers the occurrences of one id in the mixture, over all entries, so that (id, copy) names a row of it.
    """

    entry: np.ndarray[Any, np.dtype[np.int32]]
    position: Positions
    copy: np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True, slots=True)
class Realised:
    """What came in by one entry from one origin; shares are of the whole mixture, epochs are times the entry's own
    rows.
    """

    entry: str
    origin: str
    rows: int
    tokens: int | None
    share_rows: float
    share_tokens: float | None
    epochs: float


def draw(counts: MixtureCounts, ids: Sequence[Ids], seed: int, salt: str) -> Drawn:
    """The rows of every entry, shuffled. `ids[i]`: those of entry i; what its counts say are its first rows in draw
    order.

    All entries draw by the same hash, so a larger amount keeps the rows of a smaller one, and a renamed entry its rows.
    """
    entries, positions = [], []
    for number, (entry, own) in enumerate(zip(counts.entries, ids, strict=True)):
        if entry.missing or not entry.rows:
            continue
        every = np.tile(np.arange(len(own), dtype=np.int64), entry.copies)
        extra = np.sort(draw_order(own, seed, salt)[: entry.remainder]) if entry.remainder else every[:0]
        chosen = np.concatenate([every, extra])
        positions.append(chosen)
        entries.append(np.full(len(chosen), number, np.int32))
    if not positions:
        nothing = np.zeros(0, np.int64)
        return Drawn(nothing.astype(np.int32), nothing, nothing.astype(np.int32))
    entry_of, position = np.concatenate(entries), np.concatenate(positions)
    all_ids = np.concatenate([ids[e][p] for e, p in _runs(entry_of, position)])
    copy = occurrences(all_ids)
    order = shuffle_order(all_ids, seed, salt, copy)
    return Drawn(entry_of[order], position[order], copy[order])


def _runs(entry_of: np.ndarray[Any, Any], position: Positions) -> list[tuple[int, Positions]]:
    """The positions of each entry, in the order in which the entries stand."""
    starts = np.flatnonzero(np.r_[True, entry_of[1:] != entry_of[:-1]])
    ends = np.r_[starts[1:], len(entry_of)]
    return [(int(entry_of[a]), position[a:b]) for a, b in zip(starts, ends, strict=True)]


def occurrences(ids: Ids) -> np.ndarray[Any, np.dtype[np.int32]]:
    """For each row how often its id stood before it."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ranked = ids[order]
    new = np.ones(len(ids), bool)
    new[1:] = np.any(ranked[1:] != ranked[:-1], axis=1)
    starts = np.flatnonzero(new)
    rank = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    out = np.empty(len(ids), np.int32)
    out[order] = rank
    return out


def realised(
    counts: MixtureCounts,
    drawn: Drawn,
    origins: Sequence[np.ndarray[Any, Any]],
    tokens: Sequence[np.ndarray[Any, Any]] | None = None,
) -> tuple[Realised, ...]:
    """Rows and tokens per entry and origin, by entry and then by name. `origins[i]`, `tokens[i]`: of each row of entry
    i.
    """
    total_rows = len(drawn.entry)
    found: list[tuple[str, str, int, int | None, int]] = []
    for number, entry in enumerate(counts.entries):
        mine = drawn.position[drawn.entry == number]
        if not len(mine):
            continue
        names, codes = np.unique(np.asarray(origins[number], dtype=str), return_inverse=True)
        rows = np.bincount(codes[mine], minlength=len(names))
        own = np.bincount(codes, minlength=len(names))
        weights = None if tokens is None else np.asarray(tokens[number], dtype=np.int64)
        for i, name in enumerate(names):
            if rows[i]:
                amount = None if weights is None else int(weights[mine[codes[mine] == i]].sum())
                found.append((entry.name, str(name), int(rows[i]), amount, int(own[i])))
    total_tokens = sum(f[3] or 0 for f in found)
    return tuple(
        Realised(
            entry,
            origin,
            rows,
            amount,
            rows / total_rows,
            None if amount is None or not total_tokens else amount / total_tokens,
            rows / own,
        )
        for entry, origin, rows, amount, own in found
    )
