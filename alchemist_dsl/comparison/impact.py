"""Figures of two plans -> figures before, after and between; and what a run of the new one would ask and pay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from alchemist_runtime.schema.plan import Estimate, Node, Plan, TeacherStepSpec

from alchemist_dsl.comparison.flows import Flow
from alchemist_dsl.comparison.model import Entry, MixtureDiff, MixtureRow, Pair
from alchemist_dsl.estimate.ranges import NOTHING, UNKNOWN, Range, estimate, exactly, total
from alchemist_dsl.explain.description import Names, stream
from alchemist_dsl.explain.wording import amount


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a look at the store says of a teacher step that would run: questions without an answer in the call cache,
    and with one. At least `least` are new (a step before may have asked the others), at most `most`, with the draws
    that refusals may lead to. `rows`: what would leave the step, where every answer is there."""

    new: int
    cached: int
    least: int
    most: int
    rows: int | None = None

    @property
    def exact(self) -> bool:
        """Whether nothing can lead to more questions or to fewer."""
        return self.least == self.new == self.most


def as_range(e: Estimate | None) -> Range:
    if e is None:
        return UNKNOWN
    low, value, high = (None if x is None else Fraction(x) for x in (e.low, e.value, e.high))
    return Range(low, value, high, e.basis)


def exact(n: int) -> Estimate:
    """A count that is certain."""
    return estimate(exactly(n))


def between(before: Range, after: Range) -> Range:
    """The difference. What is uncertain about both is uncertain alike: the same texts, the same tokenizer."""
    if before.value is None or after.value is None:
        return UNKNOWN
    ends = [
        a - b
        for a, b in ((after.low, before.low), (after.value, before.value), (after.high, before.high))
        if a is not None and b is not None
    ]
    worse = before.basis if before.value != 0 and after.value == 0 else after.basis
    if before.basis != after.basis and "declared" in (before.basis, after.basis):
        worse = "declared"
    return Range(min(ends), after.value - before.value, max(ends), worse)


def pair(before: Estimate | None, after: Estimate | None, *, whole: bool = True) -> Pair:
    """A figure on both sides; one that has no such step counts as nothing."""
    if before is None and after is None:
        return Pair()
    old = NOTHING if before is None else as_range(before)
    new = NOTHING if after is None else as_range(after)
    delta = between(old, new)
    return Pair(before=before, after=after, delta=None if delta.value is None else estimate(delta, whole=whole))


def figure(node: Node | None, *names: str) -> Estimate | None:
    """A figure of a step; of several names their sum; None where it has none of them."""
    if node is None:
        return None
    found = [node.estimate[n] for n in names if n in node.estimate]
    if not found:
        return None
    return found[0] if len(found) == 1 else estimate(total(map(as_range, found)))


# --- what a run would ask ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    new: Estimate
    cached: Estimate
    usd: Estimate


NO_CALLS: Final = Asked(estimate(NOTHING), estimate(NOTHING), estimate(NOTHING, whole=False))


def all_there(node: Node) -> Asked:
    """A step whose result is there asks nothing."""
    calls = node.estimate.get("calls", Estimate())
    return Asked(estimate(NOTHING), calls, estimate(NOTHING, whole=False))


def asked(node: Node, ahead: Ahead) -> Asked:
    """By a look at the store: exact, but for what others ask before and for further draws."""
    new = Range(Fraction(ahead.least), Fraction(ahead.new), Fraction(ahead.most), "exact")
    every = exactly(ahead.new + ahead.cached)
    most = ahead.cached + (ahead.new - ahead.least) + (ahead.most - ahead.new)
    cached = Range(Fraction(ahead.cached), Fraction(ahead.cached), Fraction(most), "exact")
    return Asked(estimate(new), estimate(cached), _money(node, new, every))


def expected(before: Node | None, after: Node, questions: Flow, *, drifts: bool = False) -> Asked:
    """Without a store: what a complete run of the base has answered is there, everything else is asked.

    `questions`: how the questions differ from those of the base. `drifts`: they are those of a draw by rank over rows
    that only came or went, so that most stay the same, though nobody can say which. An answer may be in the cache in
    any case: where nothing is proved, the low end is none."""
    whole = as_range(after.estimate.get("calls"))
    old = NOTHING if before is None else as_range(before.estimate.get("calls"))
    match questions.kind:
        case _ if before is None:
            new = _from_none(whole)
        case "same" | "shrink" | "content":
            new = NOTHING
        case "grow":
            new = _more(old, whole)
        case _ if drifts:
            most = _more(old, whole)
            new = Range(Fraction(0), most.value, whole.high, most.basis)
        case _:
            new = _from_none(whole)
    cached = _rest(whole, new)
    return Asked(estimate(new), estimate(cached), _money(after, new, whole))


def _from_none(whole: Range) -> Range:
    return whole if whole.value == 0 else Range(Fraction(0), whole.value, whole.high, whole.basis)


def _more(old: Range, whole: Range) -> Range:
    delta = between(old, whole)
    if delta.value is None:
        return Range(Fraction(0), None, whole.high, whole.basis)
    floor = Fraction(0)
    ends = [None if x is None else max(floor, x) for x in delta.ends()]
    return Range(ends[0], ends[1], ends[2], delta.basis)


def _rest(whole: Range, new: Range) -> Range:
    return whole.minus(new) if new.value is not None else UNKNOWN


def _money(node: Node, new: Range, calls: Range) -> Estimate:
    """The step's money from scratch, by the share of its calls that are new."""
    usd = as_range(node.estimate.get("usd"))
    if (new.value == 0 and new.high == 0) or (usd.value == 0 and usd.high == 0):
        return estimate(NOTHING, whole=False)
    if not calls.value or usd.value is None:
        return Estimate()
    scaled = [
        None if money is None or count is None or whole is None else money * count / whole if whole else Fraction(0)
        for money, count, whole in zip(usd.ends(), new.ends(), calls.ends(), strict=True)
    ]
    return estimate(Range(scaled[0], scaled[1], scaled[2], usd.basis), whole=False)


# --- mixtures ---------------------------------------------------------------------------------------------------------


def mixture(before: tuple[Plan, Node] | None, after: tuple[Plan, Node], names: Names) -> MixtureDiff:
    """The entries of a mixture on both sides, by the common names of their streams."""
    old = {} if before is None else _entries(before[1], names)
    new = _entries(after[1], {})
    order = list(dict.fromkeys((*new, *old)))
    return MixtureDiff(
        id=after[1].id,
        rows=pair(figure(None if before is None else before[1], "rows"), figure(after[1], "rows")),
        entries=[MixtureRow(name=n, before=old.get(n), after=new.get(n)) for n in order],
    )


def _entries(node: Node, names: Names) -> dict[str, Entry]:
    found = {
        stream(node.inputs[t.edge], names): (t, node.estimate.get(f"take.{t.name}"))
        for t in getattr(node.spec, "take", ())
    }
    whole = total(as_range(e) for _, e in found.values())
    out = {}
    for name, (take, rows) in found.items():
        text = amount(take.amount, take.value) + (" (missing)" if take.missing else "")
        share = None
        if rows is not None and rows.value is not None and whole.value:
            share = str(Fraction(rows.value) / whole.value)
        out[name] = Entry(amount=text, rows=rows, share=share)
    return out


# --- sums -------------------------------------------------------------------------------------------------------------


def summed(found: Iterable[Estimate | None], *, whole: bool = True) -> Estimate:
    return estimate(total(as_range(e) for e in found if e is not None), whole=whole)


def of_plan(plan: Plan | None, *names: str, kind: str | None = None) -> Estimate | None:
    """The sum of a figure over a plan's steps; None where there is no plan."""
    if plan is None:
        return None
    nodes = [n for n in plan.nodes if kind is None or n.kind == kind]
    return summed((figure(n, *names) for n in nodes), whole=not {"usd", "gpu_hours"} & {*names})


def asks(node: Node) -> bool:
    return isinstance(node.spec, TeacherStepSpec)


def totals_between(
    nodes: Iterable[tuple[Node | None, Node | None]], *names: str, whole: bool = True
) -> Estimate | None:
    """The sum of the differences of a figure: what both sides have alike says nothing about it."""
    deltas = [
        between(
            NOTHING if b is None or figure(b, *names) is None else as_range(figure(b, *names)),
            NOTHING if a is None or figure(a, *names) is None else as_range(figure(a, *names)),
        )
        for b, a in nodes
        if figure(b, *names) is not None or figure(a, *names) is not None
    ]
    if any(d.value is None for d in deltas):
        return None
    return estimate(_sum_signed(deltas), whole=whole)


def summed_signed(found: Iterable[Estimate | None], *, whole: bool = True) -> Estimate:
    """A sum of differences."""
    return estimate(_sum_signed([as_range(e) for e in found]), whole=whole)


def _sum_signed(ranges: list[Range]) -> Range:
    """A sum of differences, which may be negative."""
    if not ranges:
        return NOTHING
    made = total(ranges)
    lows = [r.low for r in ranges]
    low = sum((x for x in lows if x is not None), Fraction(0)) if None not in lows else None
    return Range(low, made.value, made.high, made.basis)
