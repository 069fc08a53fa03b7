"""Estimates and verdicts: ranges, their basis, and what a check says of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from alchemist_runtime.engine.mixture_rows import EntrySize, plan_counts
from alchemist_runtime.schema.codes import RunError
from alchemist_runtime.schema.plan import Check, Estimate, MixtureSpec, Plan, Take
from hypothesis import assume, given
from hypothesis import strategies as st

from alchemist_dsl.cli.show import node_lines
from alchemist_dsl.estimate.checks import Counts, _holds, money, with_verdicts
from alchemist_dsl.estimate.figures import Figures, _covered, _wanted
from alchemist_dsl.estimate.ranges import UNKNOWN, Range, between, exactly, part, total
from alchemist_dsl.explain.wording import figure

numbers = st.fractions(min_value=0, max_value=10**6, max_denominator=100)
ranges = st.tuples(numbers, numbers, numbers).map(lambda t: between(*sorted(t)))


@given(ranges, ranges)
def test_ranges_stay_ordered(a, b):
    for made in (a.times(b), total([a, b]), a.minus(b), a.at_most(5), part(a, Fraction(1, 20))):
        assert made.low <= made.value <= made.high


@given(st.integers(0, 10**6), st.fractions(0, 1, max_denominator=1000))
def test_a_draw_is_expected_at_its_share(n, share):
    made = part(exactly(n), share)
    assert made.value == n * share and made.low >= 0 and made.high <= n


def test_nothing_is_known_of_a_sum_with_an_unknown_part():
    made = total([exactly(5), UNKNOWN])
    assert (made.low, made.value, made.high, made.basis) == (5, None, None, "unknown")


def mix(total_: int | None = None, unit: str = "rows", **takes: tuple[str, str | None]) -> MixtureSpec:
    listed = [Take(name=n, edge=i, amount=a, value=v) for i, (n, (a, v)) in enumerate(takes.items())]
    return MixtureSpec(unit=unit, total=total_, take=listed)  # type: ignore[arg-type]


def sizes(**counts: int) -> dict[str, Range]:
    return {name: exactly(n) for name, n in counts.items()}


def values(spec: MixtureSpec, there: dict[str, Range]) -> dict[str, Fraction | None]:
    return {name: r.value for name, r in _wanted(spec, there).items()}


def test_shares_of_a_declared_total():
    spec = mix(1000, a=("share", "3/5"), b=("rows", "100"), c=("rest", None))
    assert values(spec, sizes(a=5000, b=5000, c=5000)) == {"a": 600, "b": 100, "c": 300}


def test_without_total_the_other_entries_fix_it():
    spec = mix(a=("all", None), b=("share", "1/10"), c=("share", "1/10"))
    assert values(spec, sizes(a=800, b=500, c=500)) == {"a": 800, "b": 100, "c": 100}


def test_shares_alone_make_the_largest_mixture_without_repeats():
    spec = mix(a=("share", "3/4"), b=("share", "1/4"))
    assert values(spec, sizes(a=300, b=1000)) == {"a": 300, "b": 100}


def test_parts_share_what_is_left():
    spec = mix(1000, a=("parts", "3"), b=("parts", "1"), c=("share", "1/5"))
    assert values(spec, sizes(a=9999, b=9999, c=9999)) == {"a": 600, "b": 200, "c": 200}


def test_a_multiplier_counts_its_own_size():
    assert values(mix(a=("multiplier", "5/2")), sizes(a=100)) == {"a": 250}


# --- from a recipe ----------------------------------------------------------------------------------------------------


def estimates(plan: Plan, node: str) -> dict[str, tuple[str | None, str]]:
    return {name: (e.value, e.basis) for name, e in plan.node(node).estimate.items()}


def test_rows_are_exact_as_far_as_nothing_is_refused(work, full):
    plan = work.plan(full)
    assert estimates(plan, "tagged") == {"rows": ("60", "exact")}
    pool = plan.node("pool").estimate["rows"]
    assert (pool.low, pool.high, pool.basis) == ("0", "60", "declared")


def test_a_paid_step_is_priced(work, full):
    plan = work.plan(full)
    evolved = plan.node("evolved").estimate
    assert evolved["calls"].value == "15"
    assert Fraction(evolved["usd"].low) <= Fraction(evolved["usd"].value) <= Fraction(evolved["usd"].high)
    most = Fraction(evolved["calls"].high) * 1024 / 100_000 + Fraction(evolved["tokens_in"].high) / 400_000
    assert Fraction(evolved["usd"].high) <= most + Fraction(1, 10)
    assert plan.totals["usd"].high == evolved["usd"].high  # rules cost nothing


def test_the_batch_api_costs_half_and_moves_no_key(work, full):
    by_batch = full.replace("teacher paid {\n", "teacher paid {\n  batch = true\n")
    one, other = work.plan(full), work.plan(by_batch)
    for name in ("low", "value", "high"):
        single, half = (Fraction(getattr(p.totals["usd"], name)) for p in (one, other))
        assert half == single / 2
    assert Fraction(one.totals["usd"].value) > 0
    assert {n.id: n.key for n in other.nodes} == {n.id: n.key for n in one.nodes}


def test_retries_and_samples_count_as_calls(work, full):
    text = full.replace("  teacher = paid\n", "  teacher = paid\n  samples = 3\n  retries_on_reject = 2\n")
    one, more = (work.node("evolved", full).estimate["calls"], work.node("evolved", text).estimate["calls"])
    assert int(more.value) == 3 * int(one.value)
    assert int(more.high) == 9 * int(one.high)


def test_an_answer_that_is_sent_back_may_cost_another_call(work, full):
    one = work.node("evolved", full)
    none, two = (
        work.node("evolved", full.replace("  teacher = paid\n", f"  teacher = paid\n  repair = {n}\n")) for n in (0, 2)
    )
    assert two.estimate["calls"].value == one.estimate["calls"].value
    assert int(two.estimate["calls"].high) == 3 * int(one.estimate["calls"].high)
    assert Fraction(two.estimate["usd"].high) > Fraction(one.estimate["usd"].high)
    assert none.estimate == one.estimate and two.key != one.key


def test_a_teacher_without_price_is_unknown_and_a_check_on_it_exits_3(work, full):
    from alchemist_dsl.cli.output import exit_code

    start = full.index("  price {")
    text = full[:start] + full[full.index("  }\n", start) + 4 :]
    made = work.compile(text)
    assert made.plan.totals["usd"].value is None
    (problem,) = [d for d in made.diagnostics if d.code == "A702"]
    (label,) = problem.labels
    assert made.sources[label.span.file].text[label.span.start : label.span.end] == "paid"
    assert "price" in (problem.help or "")
    assert made.plan.checks[0].verdict == "unknown" and exit_code(made) == 3


def test_a_check_that_fails_is_an_error_but_there_is_a_plan(work, full):
    from alchemist_dsl.cli.output import exit_code

    made = work.compile(full.replace("plan.cost <= $5", "plan.cost <= $0.01"))
    (problem,) = [d for d in made.diagnostics if d.code == "A901"]
    assert "plan.cost <= $0.01" in problem.headline and made.plan is not None and exit_code(made) == 1
    assert problem.note is not None and problem.note.startswith("from scratch, at most: `")
    span = problem.span
    assert made.sources[span.file].text[span.start : span.end].startswith("expect plan.cost")


def test_a_check_that_warns_does_not_fail(work, full):
    from alchemist_dsl.cli.output import exit_code

    text = full.replace("  expect plan.cost <= $5", "  severity = warn\n  expect plan.cost <= $0.01")
    made = work.compile(text)
    assert made.plan.checks[0].verdict == "fail" and exit_code(made) == 0


def test_a_promise_on_rows_stays_open_before_the_first_run(work, full):
    made = work.compile(full)
    assert [(c.id, c.verdict) for c in made.plan.checks] == [("promises", "pass"), ("promises.2", "unknown")]
    assert not [d for d in made.diagnostics if d.code in ("A901", "A902")]


# --- verdicts ---------------------------------------------------------------------------------------------------------


def verdict(expr: list, **known: Figures) -> bool | None:
    plan = Plan(edition=2026, recipe={}, nodes=[])
    return _holds(expr, Counts(plan, known))


def rows(node: str) -> list:
    return ["call", "rows", {"x": ["ref", node, "rows", None]}]


def lit(value: object, kind: str = "int") -> list:
    return ["lit", kind, value]


def known(low: int, value: int, high: int) -> Figures:
    return Figures({"rows": between(low, value, high)}, usd=between(low, value, high))


@pytest.mark.parametrize(
    "expr, expected",
    [
        (["cmp", ">=", rows("a"), lit(10)], True),
        (["cmp", ">=", rows("a"), lit(11)], None),
        (["cmp", ">=", rows("a"), lit(21)], False),
        (["cmp", "<", rows("a"), lit(21)], True),
        (["cmp", "<", rows("a"), lit(10)], False),
        (["cmp", "==", rows("a"), lit(15)], None),
        (["cmp", "!=", rows("a"), lit(25)], True),
        (["in", rows("a"), ["interval", lit(5), lit(25)]], True),
        (["in", rows("a"), ["interval", lit(12), lit(25)]], None),
        (["not", ["cmp", ">=", rows("a"), lit(10)]], False),
        (["and", [["cmp", ">=", rows("a"), lit(10)], ["cmp", ">=", rows("a"), lit(11)]]], None),
        (["or", [["cmp", ">=", rows("a"), lit(10)], ["cmp", ">=", rows("a"), lit(11)]]], True),
        (["cmp", ">=", ["num", "*", rows("a"), lit(2)], lit(20)], True),
        (["cmp", "<=", ["call", "cost", {"x": ["ref", "a", "rows", None]}], lit("20", "money")], True),
        (["cmp", "<=", ["call", "cost", {"x": ["ref", "a", "rows", None]}], lit("15", "money")], False),
        (["cmp", ">=", rows("nobody"), lit(1)], None),
    ],
)
def test_what_holds_for_the_whole_range(expr, expected):
    assert verdict(expr, a=known(10, 15, 20)) is expected


def test_a_cost_that_is_too_high_already_fails_whatever_the_rest_comes_to():
    figures = {"a": Figures(usd=exactly(500)), "b": Figures(usd=UNKNOWN)}
    cost = ["cmp", "<=", ["plan", "cost"], lit("300", "money")]
    assert verdict(cost, **figures) is False
    assert verdict(["cmp", "<=", ["plan", "cost"], lit("600", "money")], **figures) is None


def test_shares_of_entries_and_of_sources(work, full):
    text = full.replace(
        "  expect rows(sft) >= 10 rows\n",
        "  expect share(tagged, rows_a) >= 60%\n  expect share(sft, filtering) <= 50%\n",
    )
    checks = {c.text: c for c in work.plan(text).checks}
    assert checks["share(tagged, rows_a) >= 60%"].verdict == "pass"
    assert checks["share(tagged, rows_a) >= 60%"].value == "66.67%"


def test_a_check_keeps_its_text_and_value():
    check = Check(
        id="c",
        at={"file": "r", "line": 1, "column": 1},
        expr=["cmp", "<=", ["plan", "cost"], lit("1", "money")],
        text="plan.cost <= $1",
    )  # type: ignore[arg-type]
    plan = Plan(edition=2026, recipe={}, nodes=[], checks=[check])
    (made,) = with_verdicts(plan, {"a": Figures(usd=exactly(Fraction(1, 2)))}).checks
    assert (made.verdict, made.value) == ("pass", "$0.50")


@pytest.mark.parametrize(
    "value, text",
    [("0", "0.00"), ("1/3", "0.33"), ("1234567/100", "12,345.67"), ("3/10000", "0.0003"), ("1/1000000", "0.000001")],
)
def test_money_for_people(value, text):
    assert money(Fraction(value)) == text


def test_a_short_entry_is_told_what_its_repeats_reach(work):
    """20 rows, twice: 40 of 1,000."""
    made = work.compile(SHORT)
    told = next(d for d in made.diagnostics if d.code == "A602")
    assert told.headline == "`b` should give 500 rows but has 20"
    assert told.help.startswith("lower it to 4%, ")
    followed = work.compile(SHORT.replace("b = 50%", "b = 4%"))
    assert [d for d in followed.diagnostics if "`b`" in d.headline] == []


SHORT = """\
edition 2026
source a {
  files = "data/a.jsonl"
}
source b {
  files = "data/b.jsonl"
  set response = output
}
mixture sft {
  unit = rows
  total = 1_000 rows
  on_short = repeat(max = 2x)
  take {
    b = 50%
    a = rest
  }
}
export dataset {
  data = sft
  path = "out"
}
"""


PIECES = st.lists(
    st.tuples(st.sampled_from(["share", "parts", "rows"]), st.integers(1, 9), st.booleans()), min_size=1, max_size=6
)


@given(PIECES, st.sampled_from([None, 1000, 12_345]))
def test_what_is_missing_is_made_up_for_as_the_run_does_it(pieces, total_):
    """With enough rows of everything, the plan expects of each entry what the run then takes."""
    shares = sum(n for kind, n, _ in pieces if kind == "share")
    if total_ is None or all(kind != "parts" for kind, *_ in pieces):
        whole = Fraction(shares or 1)  # nothing takes the rest, so the shares are all there is
        pieces = [p for p in pieces if p[0] == "share"]
    else:
        whole = Fraction(2 * shares or 1)
    takes = [
        Take(name=f"e{i}", edge=i, amount=kind, value=str(n / whole if kind == "share" else Fraction(n)), missing=gone)
        for i, (kind, n, gone) in enumerate(pieces)
    ]
    assume(any(t.amount != "rows" and not t.missing for t in takes))
    spec = MixtureSpec(unit="rows", total=total_, take=takes)
    there = {t.name: exactly(100_000) for t in takes if not t.missing}
    made = plan_counts(spec, [EntrySize(100_000, None)] * len(takes))
    taken = {e.name: e.rows for e in made.entries if not e.missing}
    expected = {name: r.value for name, r in _wanted(spec, there).items()}
    assert expected.keys() == taken.keys()
    assert all(abs(expected[n] - taken[n]) <= 1 for n in taken), (expected, taken)
    assert _covered(spec, there) == made.covered


def test_show_says_every_step_with_its_figures(work, full):
    made = work.compile(full)
    assert made.plan is not None
    known = {n.id: node_lines(n, made.plan, made.project) for n in made.plan.nodes}
    lines = [x.split()[0] for x in known["tiny"] if x]
    assert {"packs", "steps_per_epoch", "tokens_per_step", "steps", "tokens", "gpu_hours"} < {*lines}
    assert ["batch", "4", "packs"] in [x.split() for x in known["tiny"]]


@pytest.mark.parametrize(
    ("name", "low", "value", "high", "shown"),
    [
        ("gpu_hours", "1/40", "59/1828125", "1/4", "under 0.001 GPU h"),
        ("gpu_hours", "5/2", "61/20", "4", "~3.1 GPU h"),
        ("gpu_hours", "1234.5", "1234.5", "1234.5", "1,235 GPU h"),
        ("gpu_hours", None, None, None, "?"),
        ("covered", None, "3/4", None, "75%"),
        ("usd", "1/3", "1/3", "1/3", "$0.33"),
        ("rows", "0", "7", "9", "~7"),
    ],
)
def test_a_figure_for_people(name, low, value, high, shown):
    assert figure(name, Estimate(low=low, value=value, high=high)) == shown


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["share", "parts", "rows", "all", "multiplier"]),
        st.integers(1, 9),
        st.integers(1, 500),
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=5,
)


@given(ENTRIES, st.sampled_from([None, 1_000, 5_000]), st.data())
def test_a_range_encloses_what_the_run_takes(pieces, total_, data):
    """Whatever the entries turn out to have within their ranges, each gives what was expected of it, to a row."""
    shares = sum(n for kind, n, *_ in pieces if kind == "share")
    tight = all(kind == "share" for kind, *_ in pieces)
    whole = Fraction(shares if tight else 2 * shares or 1)

    def value(kind, n):
        return {"share": n / whole, "all": None, "multiplier": Fraction(n, 4)}.get(kind, Fraction(n))

    takes = [
        Take(name=f"e{i}", edge=i, amount=kind, value=None if kind == "all" else str(value(kind, n)))
        for i, (kind, n, *_) in enumerate(pieces)
    ]
    spec = MixtureSpec(unit="rows", total=total_, take=takes, on_short="repeat", repeat_max="100000")
    there = {t.name: between(low, low, low + more) for t, (*_, low, more) in zip(takes, pieces, strict=True)}
    has = [data.draw(st.integers(int(r.low), int(r.high))) for r in there.values()]
    try:
        made = plan_counts(spec, [EntrySize(n, None) for n in has])
    except RunError as e:
        assume(e.problem.code not in ("A601", "A603", "A608"))
        raise
    for entry in made.entries:
        expected = _wanted(spec, there)[entry.name]
        assert expected.low is not None and expected.high is not None
        # whole rows: a total rounds down, and an entry to its neighbours
        assert expected.low - 1 <= entry.rows <= expected.high + 1, (entry, expected)
