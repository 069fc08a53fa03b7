"""What every packing promises, and that the fast first-fit decreasing is the plain one."""

from __future__ import annotations

import numpy as np
import pytest
from alchemist_runtime.train.prepare import ffd, pieces
from hypothesis import given
from hypothesis import strategies as st

CASES = st.integers(1, 60).flatmap(lambda cap: st.tuples(st.just(cap), st.lists(st.integers(1, cap), max_size=80)))


def plain(lengths: list[int], capacity: int) -> list[list[int]]:
    """First-fit decreasing, one document at a time."""
    bins: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for place, left in enumerate(room):
            if left >= lengths[number]:
                bins[place].append(number)
                room[place] -= lengths[number]
                break
        else:
            bins.append([number])
            room.append(capacity - lengths[number])
    return [sorted(b) for b in bins]


@given(CASES)
def test_ffd_is_first_fit_decreasing(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    assert [p.tolist() for p in ffd(np.array(lengths, dtype=np.int64), capacity)] == plain(lengths, capacity)


@given(CASES, st.sampled_from(["none", "ffd", "wrapped"]))
def test_every_token_once_in_order_and_no_pack_too_long(case: tuple[int, list[int]], packing: str) -> None:
    capacity, lengths = case
    packs = pieces(np.array(lengths, dtype=np.int64), capacity, packing)
    seen = [[False] * n for n in lengths]
    for pack in packs:
        assert sum(b - a for _, a, b in pack) <= capacity
        assert [d for d, _, _ in pack] == sorted(d for d, _, _ in pack)
        for doc, start, stop in pack:
            assert start < stop
            assert not any(seen[doc][start:stop])
            seen[doc][start:stop] = [True] * (stop - start)
    assert all(map(all, seen))
    if packing == "wrapped":
        flat = [(d, a) for pack in packs for d, a, _ in pack]
        assert flat == sorted(flat)
        assert all(sum(b - a for _, a, b in pack) == capacity for pack in packs[:-1])
    if packing != "wrapped":
        assert all((a, b) == (0, lengths[d]) for pack in packs for d, a, b in pack)


@pytest.mark.parametrize(("capacity", "median"), [(2048, 300), (8192, 700)])
def test_packs_are_full(capacity: int, median: int) -> None:
    """At least 99% on lengths like those of chat data (log-normal)."""
    draws = np.random.default_rng(5).lognormal(np.log(median), 0.8, 20_000)
    lengths = np.clip(draws.astype(np.int64), 1, capacity)
    packs = ffd(lengths, capacity)
    assert lengths.sum() / (len(packs) * capacity) >= 0.99


def test_a_document_that_cannot_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="between 1 and 4"):
        ffd(np.array([5]), 4)
