"""Draws by hash: golden values, monotone, independent of the rows' order, exact counts."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from alchemist_runtime.engine import select as s
from alchemist_runtime.schema.plan import Select
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = {  # id number -> u for seed 42, salt "harmonized"; these numbers must never move
    0: 15558173858605039488,
    1: 7282057919154499391,
    2: 14027721942076920345,
    3: 14515586021567956647,
    4: 18207065644692259660,
    5: 18031134825613563981,
    6: 3523354424199348349,
    7: 6111463513183485072,
    8: 17588604800621824239,
    9: 14567765560951238701,
    10: 17571269124897929332,
    11: 13859511575050437525,
    12: 3211451164096178833,
    13: 14492433291559721924,
    14: 740379250257969078,
    15: 16322842597306746732,
    16: 999560258653918807,
    17: 8076897669653189957,
    18: 7689759725584314961,
    19: 5672509311475794128,
}


def ids(n: int, start: int = 0) -> np.ndarray:
    raw = b"".join(hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(start, start + n))
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def slow_u(row: np.ndarray, seed: int, salt: str) -> int:
    """The definition of compiler.md, section 9, in plain integers."""
    mask = 2**64 - 1
    key = hashlib.blake2b(seed.to_bytes(8, "big") + salt.encode(), digest_size=8).digest()
    z = ((int(row[1]) ^ int.from_bytes(key, "big")) + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_golden_values_do_not_move() -> None:
    u = s.hashes(ids(20), 42, "harmonized")
    assert {i: int(v) for i, v in enumerate(u)} == GOLDEN


@given(st.integers(0, 2**64 - 1), st.text(max_size=10), st.integers(0, 10_000))
def test_hash_is_its_definition(seed: int, salt: str, start: int) -> None:
    rows = ids(5, start)
    assert [int(v) for v in s.hashes(rows, seed, salt)] == [slow_u(r, seed, salt) for r in rows]


def test_ids_go_there_and_back() -> None:
    rows = ids(7)
    array = s.u64_to_ids(rows)
    assert array[3].as_py() == hashlib.blake2b(b"3", digest_size=16).digest()
    assert np.array_equal(s.ids_to_u64(array), rows)
    assert np.array_equal(s.ids_to_u64(array[2:5]), rows[2:5])


@given(st.fractions(0, 1, max_denominator=1000), st.fractions(0, 1, max_denominator=1000), st.integers(0, 99))
def test_a_larger_share_keeps_the_smaller(a: Fraction, b: Fraction, seed: int) -> None:
    rows = ids(300)
    low, high = sorted((a, b))
    small = s.choose(Select(fraction=str(low), salt="x"), rows, seed=seed)
    large = s.choose(Select(fraction=str(high), salt="x"), rows, seed=seed)
    assert set(small) <= set(large)
    groups = np.arange(300) % 7
    small = s.choose(Select(fraction=str(low), per=["g"], salt="x"), rows, groups, seed=seed)
    large = s.choose(Select(fraction=str(high), per=["g"], salt="x"), rows, groups, seed=seed)
    assert set(small) <= set(large)


@given(st.permutations(range(60)), st.sampled_from(["1/20", "1/3", "9/10"]), st.booleans(), st.booleans())
def test_the_order_of_rows_does_not_matter(order: list[int], p: str, grouped: bool, scored: bool) -> None:
    rows, groups, scores = ids(60), np.arange(60) % 4, (np.arange(60) % 5).astype(float)
    how = Select(fraction=p, salt="t")
    a = s.choose(how, rows, groups if grouped else None, [scores] if scored else None, seed=3)
    at = np.array(order)
    b = s.choose(how, rows[at], groups[at] if grouped else None, [scores[at]] if scored else None, seed=3)
    assert sorted(at[b]) == sorted(a)
    assert list(b) == sorted(b)


def test_all_and_nothing() -> None:
    rows = ids(50)
    assert list(s.choose(Select(fraction="1"), rows)) == list(range(50))
    assert list(s.choose(Select(fraction="0"), rows)) == []
    assert list(s.choose(Select(count=99), rows)) == list(range(50))
    assert len(s.choose(Select(fraction="1/2"), ids(0))) == 0


def test_a_share_per_group_takes_the_rounded_number_of_each() -> None:
    groups = np.repeat([3, 1, 9], [10, 30, 1])
    rows = ids(41)
    chosen = s.choose(Select(fraction="1/20", per=["g"]), rows, groups, seed=1)
    assert [int((groups[chosen] == g).sum()) for g in (3, 1, 9)] == [1, 2, 0]  # 0.5, 1.5, 0.05 rounded, halves up
    u = s.hashes(rows, 1, "")
    assert chosen[groups[chosen] == 3][0] == min(range(10), key=lambda i: u[i])


def test_counts_are_the_first_by_hash() -> None:
    rows = ids(40)
    u = s.hashes(rows, 5, "k")
    want = sorted(sorted(range(40), key=lambda i: (u[i], tuple(rows[i])))[:7])
    assert list(s.choose(Select(count=7, salt="k"), rows, seed=5)) == want
    groups = np.arange(40) % 3
    per = s.choose(Select(count=1, per=["g"], salt="k"), rows, groups, seed=5)
    assert sorted(groups[per]) == [0, 1, 2]


def test_best_takes_the_highest_and_breaks_ties_by_the_later_score_then_by_hash() -> None:
    rows = ids(6)
    first = np.array([1.0, 5.0, 5.0, np.nan, -np.inf, 5.0])
    second = np.array([9, 1, 2, 9, 9, 2])
    u = s.hashes(rows, 0, "")
    order = [2, 5] if u[2] < u[5] else [5, 2]
    want = [*order, 1, 0, 4, 3]
    for k in range(7):
        got = s.choose(Select(count=k, best=[["lit", "int", 1]]), rows, None, [first, second])
        assert list(got) == sorted(want[:k])


def test_where_comes_first() -> None:
    rows = ids(30)
    where = np.arange(30) % 2 == 0
    assert list(s.choose(Select(where=["lit", "bool", True]), rows, where=where)) == list(range(0, 30, 2))
    assert set(s.choose(Select(count=4), rows, where=where)) <= set(range(0, 30, 2))


def test_shuffle_is_a_permutation_that_depends_on_seed_and_copy() -> None:
    rows = np.concatenate([ids(50), ids(50)])
    copy = np.repeat([0, 1], 50)
    order = s.shuffle_order(rows, 1, "mix", copy)
    assert sorted(order) == list(range(100))
    assert list(order) != list(s.shuffle_order(rows, 2, "mix", copy))
    back = np.random.default_rng(0).permutation(100)
    again = s.shuffle_order(rows[back], 1, "mix", copy[back])
    assert list(back[again]) == list(order)
    assert list(order[:50]) != list(range(50))


def test_equal_halves_are_ordered_by_the_whole_id() -> None:
    rows = np.array([[9, 7], [3, 7], [5, 7]], dtype=np.uint64)
    assert list(s.draw_order(rows, 0, "x")) == [1, 2, 0]
    assert list(s.choose(Select(count=1), rows)) == [1]


def test_derived_ids_are_their_definition_and_differ() -> None:
    rows = ids(4)
    got = s.derive_ids(np.repeat(rows, 2, axis=0), "step", np.tile([0, 1], 4))
    data = rows[1].astype(">u8").tobytes() + (1).to_bytes(8, "big") + b"step"
    assert got[3].as_py() == hashlib.blake2b(data, digest_size=16).digest()
    assert len(set(got.to_pylist())) == 8
    assert s.derive_ids(rows, "a", np.zeros(4)) != s.derive_ids(rows, "b", np.zeros(4))


@pytest.mark.parametrize(
    ("p", "n", "want"), [("1/2", 3, 2), ("1/3", 4, 1), ("1/20", 10, 1), ("1/20", 9, 0), ("1", 7, 7)]
)
def test_quota(p: str, n: int, want: int) -> None:
    assert s.quota(Fraction(p), n) == want
