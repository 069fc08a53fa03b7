"""The arithmetic of a mixture: sums are exact, nothing gives more than it has, a larger mixture keeps the rows of a
smaller one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from alchemist_runtime.engine.mixture_rows import (
    EntrySize,
    MixtureCounts,
    apportion,
    draw,
    occurrences,
    plan_counts,
    realised,
)
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import MixtureSpec, Take
from hypothesis import given
from hypothesis import strategies as st


def ids(n: int, salt: str = "") -> np.ndarray:
    raw = b"".join(hashlib.blake2b(f"{salt}{i}".encode(), digest_size=16).digest() for i in range(n))
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def take(name: str, text: str, *, missing: bool = False) -> Take:
    """`60%`, `14 parts`, `20 rows`, `50 tokens`, `3x`, `all`, `rest`."""
    number, _, unit = text.partition(" ")
    if text in ("all", "rest"):
        amount, value = text, None
    elif text.endswith("%"):
        amount, value = "share", str(Fraction(text[:-1]) / 100)
    elif text.endswith("x"):
        amount, value = "multiplier", str(Fraction(text[:-1]))
    else:
        amount, value = unit, str(Fraction(number))
    return Take(name=name, edge=0, amount=amount, value=value, missing=missing)  # type: ignore[arg-type]


def spec(unit: str = "rows", total: int | None = None, **entries: str) -> MixtureSpec:
    takes = [take(k, v.removesuffix(" missing"), missing=v.endswith(" missing")) for k, v in entries.items()]
    return MixtureSpec(unit=unit, total=total, take=takes)  # type: ignore[arg-type]


def rows(counts: MixtureCounts) -> list[int]:
    return [e.rows for e in counts.entries]


def size(n: int, tokens: int | None = None) -> EntrySize:
    return EntrySize(n, tokens)


def problem(mixture: MixtureSpec, *sizes: EntrySize) -> tuple[str, str, str]:
    with pytest.raises(RunError) as caught:
        plan_counts(mixture, sizes)
    found = caught.value.problem
    return found.code, found.headline, found.help or ""


def test_shares_of_a_total_add_up_by_the_largest_remainder() -> None:
    counts = plan_counts(spec(total=10, a="33.3%", b="33.3%", c="33.4%"), [size(99)] * 3)
    assert rows(counts) == [3, 3, 4]
    assert counts.covered == 1


def test_fixed_entries_come_first_and_rest_takes_what_is_left() -> None:
    counts = plan_counts(
        spec(total=1000, a="20%", b="150 rows", c="all", d="1.5x", e="rest"),
        [size(900), size(200), size(30), size(40), size(5000)],
    )
    assert rows(counts) == [200, 150, 30, 60, 560]
    assert counts.entries[3].copies == 1
    assert counts.entries[3].remainder == 20
    assert counts.entries[3].epochs == Fraction(3, 2)


def test_parts_are_relative_to_what_the_others_leave() -> None:
    counts = plan_counts(spec(total=100, a="50%", b="14.3 parts", c="5.7 parts"), [size(999)] * 3)
    assert rows(counts) == [50, 36, 14]  # 35.75 and 14.25


def test_without_total_the_other_entries_fix_it() -> None:
    counts = plan_counts(
        spec(final="all", evolution="5%", filtering="5%", review="all"), [size(800), size(99), size(99), size(100)]
    )
    assert rows(counts) == [800, 50, 50, 100]
    assert counts.shares() == (Fraction(8, 10), Fraction(1, 20), Fraction(1, 20), Fraction(1, 10))


def test_all_shares_without_total_repeat_nothing() -> None:
    counts = plan_counts(spec(a="60%", b="40%"), [size(100), size(1000)])
    assert rows(counts) == [100, 66]  # 166 * 0.6 = 99.6, 66.4


def test_only_whole_entries() -> None:
    assert rows(plan_counts(spec(a="all", b="3x", c="0.5x"), [size(5), size(4), size(3)])) == [5, 12, 2]


def test_tokens_to_within_one_row() -> None:
    lengths = np.array([10, 30, 20, 40, 25, 5])
    counts = plan_counts(
        spec("tokens", total=100, a="70%", b="30%"), [EntrySize.counted(lengths), EntrySize.counted(lengths)]
    )
    assert rows(counts) == [3, 2]  # 60 is nearer to 70 than 100, 40 nearer to 30 than 10
    assert [e.gives for e in counts.entries] == [60, 40]


def test_tokens_of_estimated_entries_go_by_the_average() -> None:
    counts = plan_counts(spec("tokens", total=1000, a="60%", b="rest"), [size(100, 1000), size(50, 2000)])
    assert rows(counts) == [60, 10]


def test_rows_in_a_mixture_of_tokens_and_tokens_in_one_of_rows() -> None:
    lengths = EntrySize.counted(np.array([10] * 20))
    counts = plan_counts(spec("tokens", total=200, a="3 rows", b="rest"), [lengths, lengths])
    assert rows(counts) == [3, 17]
    counts = plan_counts(spec("rows", total=10, a="42 tokens", b="rest"), [lengths, lengths])
    assert rows(counts) == [4, 6]


def test_too_little_is_an_error_that_says_how_to_go_on() -> None:
    code, headline, help_ = problem(spec(total=200_000, review="6%", rest="94%"), size(3_100), size(400_000))
    assert (code, headline) == ("A602", "`review` should give 12,000 rows but has 3,100")
    assert help_ == "lower it to 1.5%, lower `total`, `on_short = repeat(max = 4x)` or `on_short = shrink`"
    code, headline, help_ = problem(spec(a="500 rows"), size(3))
    assert headline == "`a` should give 500 rows but has 3"
    assert "lower it to 3 rows, or write `all`" in help_


def test_following_the_advice_helps() -> None:
    short = spec(total=200_000, review="1.5%", rest="98.5%")
    assert rows(plan_counts(short, [size(3_100), size(400_000)])) == [3_000, 197_000]
    repeat = replace(spec(total=200_000, review="6%", rest="94%"), on_short="repeat", repeat_max="4")
    counts = plan_counts(repeat, [size(3_100), size(400_000)])
    assert rows(counts) == [12_000, 188_000]
    assert (counts.entries[0].copies, counts.entries[0].remainder) == (3, 2_700)


def test_repeat_has_an_end() -> None:
    repeat = replace(spec(total=100, a="50%", b="50%"), on_short="repeat", repeat_max="2")
    _, headline, help_ = problem(repeat, size(10), size(99))
    assert headline == "`a` should give 50 rows but has 10, 2x of it 20"
    assert help_.startswith("lower it to 20%, "), "with the repeats that are allowed, not without"
    lower = replace(repeat, take=spec(total=100, a="20%", b="80%").take)
    assert rows(plan_counts(lower, [size(10), size(99)])) == [20, 80]


def test_shrink_lowers_the_total_and_keeps_the_shares() -> None:
    shrink = replace(spec(total=1000, a="60%", b="rest"), on_short="shrink")
    counts = plan_counts(shrink, [size(300), size(999)])
    assert rows(counts) == [300, 200]
    assert counts.entries[0].short
    gone = replace(spec(final="all", a="50%"), on_short="shrink")
    assert rows(plan_counts(gone, [size(100), size(7)])) == [100, 7]


def test_shares_that_do_not_add_up() -> None:
    assert problem(spec(total=100, a="60%", b="24%"), size(99), size(99))[:2] == ("A601", "the shares add up to 84%")
    assert problem(spec(total=100, a="60%", b="64%"), size(99), size(99))[1] == "the shares add up to 124%"
    assert (
        problem(spec(total=100, a="all", b="rest"), size(200), size(9))[1]
        == "the entries add up to 200 rows, `total` is 100"
    )
    assert problem(spec(a="all", b="rest"), size(2), size(9))[0] == "A603"
    assert problem(spec(a="all"), size(0))[0] == "A608"


def test_missing_entries_are_left_out_and_the_others_grow() -> None:
    counts = plan_counts(spec(total=100, a="50%", b="30%", c="20% missing"), [size(999)] * 3)
    assert rows(counts) == [63, 37, 0]  # 62.5 and 37.5: the earlier of equal remainders
    assert counts.covered == Fraction(4, 5)
    counts = plan_counts(spec(total=100, a="20 rows", b="20%", c="rest", d="40 rows missing"), [size(999)] * 4)
    assert rows(counts) == [20, 40, 40, 0]
    assert counts.covered == Fraction(3, 5)
    counts = plan_counts(spec(final="all", a="10%", b="50% missing"), [size(80), size(99), size(0)])
    assert rows(counts) == [80, 20, 0]  # 40 : 10 as before
    counts = plan_counts(spec(final="all missing", a="10%", b="30%"), [size(0), size(99), size(99)])
    assert rows(counts) == [0, 33, 99]
    assert problem(spec(a="100% missing"), size(0))[0] == "A608"


@st.composite
def mixtures(draw_: st.DrawFn) -> tuple[MixtureSpec, list[EntrySize]]:
    n = draw_(st.integers(1, 5))
    cuts = sorted(draw_(st.lists(st.integers(0, 1000), min_size=n - 1, max_size=n - 1)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 1000], strict=True)]
    missing = [draw_(st.integers(0, 9)) == 0 for _ in range(n)]
    takes = [
        Take(name=f"e{i}", edge=i, amount="share", value=str(Fraction(s, 1000)), missing=m)
        for i, (s, m) in enumerate(zip(shares, missing, strict=True))
    ]
    if draw_(st.booleans()):
        last = takes[-1]
        takes[-1] = Take(name=last.name, edge=last.edge, amount="rest", missing=last.missing)
    sizes = [EntrySize(draw_(st.integers(0, 500))) for _ in range(n)]
    how = draw_(st.sampled_from(["error", "repeat", "shrink"]))
    total = draw_(st.one_of(st.none(), st.integers(1, 1000)))
    return MixtureSpec(unit="rows", total=total, take=takes, on_short=how, repeat_max="3"), sizes


@given(mixtures())
def test_sums_are_exact_and_nothing_gives_more_than_it_may(case: tuple[MixtureSpec, list[EntrySize]]) -> None:
    mixture, sizes = case
    try:
        counts = plan_counts(mixture, sizes)
    except RunError as e:
        assert e.problem.code in ("A602", "A608")
        return
    for entry, had, t in zip(counts.entries, sizes, mixture.take, strict=True):
        assert 0 <= entry.remainder < max(had.rows, 1)
        assert entry.rows <= had.rows * (3 if mixture.on_short == "repeat" and mixture.total else 1)
        assert not (t.missing and entry.rows)
        assert entry.short or t.missing or abs(entry.rows - entry.wanted) < 1
    if mixture.total is not None and not any(e.short for e in counts.entries):
        present = [t for t in mixture.take if not t.missing and (t.amount == "rest" or t.value != "0")]
        if any(e.wanted for e in counts.entries):
            assert counts.rows == mixture.total, present
    assert 0 <= counts.covered <= 1


@given(st.lists(st.fractions(0, 50, max_denominator=99), min_size=1, max_size=8))
def test_apportion_adds_up_and_stays_within_one(targets: list[Fraction]) -> None:
    whole = round(sum(targets))
    got = apportion(targets, whole)
    assert sum(got) == max(whole, sum(int(t) for t in targets))
    assert all(abs(g - t) < 1 for g, t in zip(got, targets, strict=True))


def drawn_ids(mixture: MixtureSpec, pools: list[np.ndarray], seed: int = 7) -> list[tuple[int, int, int]]:
    counts = plan_counts(mixture, [EntrySize(len(p)) for p in pools])
    d = draw(counts, pools, seed, "sft")
    assert [int((d.entry == i).sum()) for i in range(len(pools))] == [e.rows for e in counts.entries]
    return [(int(e), int(pools[e][p][1]), int(c)) for e, p, c in zip(d.entry, d.position, d.copy, strict=True)]


def test_a_larger_mixture_keeps_the_rows_of_a_smaller_one() -> None:
    pools = [ids(300, "a"), ids(300, "b")]
    small = drawn_ids(spec(total=100, a="60%", b="40%"), pools)
    large = drawn_ids(spec(total=200, a="60%", b="40%"), pools)
    assert set(small) < set(large)
    assert small != sorted(small)  # shuffled over entries
    assert [x for x in large if x in set(small)] == small  # and the order of those stays


def test_repeats_are_numbered_and_every_row_comes_equally_often() -> None:
    pools = [ids(10, "a"), ids(10, "a")]
    got = drawn_ids(spec(a="2.5x", b="all"), pools)
    assert len({(i, c) for _, i, c in got}) == len(got) == 35
    times = np.unique([i for e, i, _ in got if e == 0], return_counts=True)[1]
    assert sorted(times) == [2] * 5 + [3] * 5


def test_draws_do_not_depend_on_the_order_of_rows() -> None:
    pools = [ids(50, "a"), ids(80, "b")]
    mixed = [p[np.random.default_rng(1).permutation(len(p))] for p in pools]
    mixture = spec(total=60, a="1.5x missing", b="rest")
    assert drawn_ids(mixture, pools) == drawn_ids(mixture, mixed)


def test_occurrences() -> None:
    a, b = ids(2)
    assert list(occurrences(np.array([a, b, a, a, b]))) == [0, 0, 1, 2, 1]


def test_realised_shares_are_counted_by_entry_and_origin() -> None:
    pools = [ids(4, "a"), ids(6, "b")]
    counts = plan_counts(spec(a="2x", b="all"), [EntrySize(4), EntrySize(6)])
    d = draw(counts, pools, 0, "m")
    origins = [np.array(["x", "x", "y", "y"]), np.array(["y"] * 6)]
    tokens = [np.array([1, 2, 3, 4]), np.array([10] * 6)]
    got = realised(counts, d, origins, tokens)
    assert [(r.entry, r.origin, r.rows, r.tokens, r.epochs) for r in got] == [
        ("a", "x", 4, 6, 2.0),
        ("a", "y", 4, 14, 2.0),
        ("b", "y", 6, 60, 1.0),
    ]
    assert sum(r.share_rows for r in got) == pytest.approx(1)
    assert sum(r.share_tokens or 0 for r in got) == pytest.approx(1)
