"""Figures of two plans -> figures before, after and between; and what a run of the new one would ask and pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.catalog import offline
from alchemist_runtime.schema.kinds import KINDS
from alchemist_runtime.schema.plan import Estimate, Node, Plan, Take, Teacher, TeacherStepSpec, TrainSpec

from alchemist_dsl.comparison.flows import Flow, Ports
from alchemist_dsl.comparison.model import Entry, MixtureDiff, MixtureRow, Pair
from alchemist_dsl.comparison.side import Ahead, Side
from alchemist_dsl.estimate import ranges
from alchemist_dsl.estimate.checks import with_verdicts
from alchemist_dsl.estimate.figures import Figures, cost, figures, joined_rows, with_estimates
from alchemist_dsl.estimate.ranges import NOTHING, UNKNOWN, Range, estimate, exactly, total
from alchemist_dsl.estimate.training import gpu_hours
from alchemist_dsl.explain.description import Names, stream
from alchemist_dsl.explain.wording import amount


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
class CallForecast:
    new: Estimate
    cached: Estimate
    usd: Estimate


NO_CALLS: Final = CallForecast(estimate(NOTHING), estimate(NOTHING), estimate(NOTHING, whole=False))


def no_new_calls(node: Node) -> CallForecast:
    """A step whose result is there asks nothing."""
    calls = node.estimate.get("calls", Estimate())
    return CallForecast(estimate(NOTHING), calls, estimate(NOTHING, whole=False))


def calls_from_store(node: Node, ahead: Ahead) -> CallForecast:
    """By a look at the store: exact, but for what others ask before and for further draws."""
    new = Range(Fraction(ahead.least), Fraction(ahead.new), Fraction(ahead.most), "exact")
    every = exactly(ahead.new + ahead.cached)
    most = ahead.cached + (ahead.new - ahead.least) + (ahead.most - ahead.new)
    cached = Range(Fraction(ahead.cached), Fraction(ahead.cached), Fraction(most), "exact")
    return CallForecast(estimate(new), estimate(cached), _money(node, new, every))


def calls_from_base(before: Node | None, after: Node, questions: Flow, *, drifts: bool = False) -> CallForecast:
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
    return CallForecast(estimate(new), estimate(cached), _money(after, new, whole))


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
    found = {stream(node.inputs[t.edge], names): (t, node.estimate.get(f"take.{t.name}")) for t in takes(node)}
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
    """Return whether a step calls a teacher."""
    return KINDS[node.kind].asks


def takes(node: Node) -> list[Take]:
    """Return the entries of a mixture; of any other step none."""
    found: list[Take] = getattr(node.spec, "take", [])
    return found


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
    result = total(ranges)
    lows = [r.low for r in ranges]
    low = sum((x for x in lows if x is not None), Fraction(0)) if None not in lows else None
    return Range(low, result.value, result.high, result.basis)


# --- scaled estimates ------------------------------------------------------------------------------------------------

_TRAIN: Final = ("base", "revision", "init", "chat_template", "max_length", "on_long")
#: What of a training decides how many tokens it learns from a row, and how fast it goes.
_TOKENS: Final = (*_TRAIN, "epochs", "steps", "batch", "eval_share", "eval_rows")
_SPEED: Final = ("method", "precision", "packing", "parallel", "processes", "gpus", "nodes", "micro_batch", "optimizer")
#: Steps that keep a share of the rows that they read.
_SIEVES: Final = frozenset({"filter", "dedup", "decontaminate", "map", "task"})
_DRIFT: Final = Fraction(1, 4)  # how far the tokens of a call may lie from what they were


def scaled(before: Side, after: Side, pairs: Mapping[str, str], proved: Mapping[str, Ports]) -> Plan:
    """The plan of `after` with better figures, where `before` was measured. `pairs`: names of steps after -> before;
    `proved`: how their rows differ, by the name after: no figure says the opposite."""
    plan, old, measured = after.plan, before.plan, before.measured
    assert plan is not None and old is not None
    if measured is None or after.measured is None:
        return plan
    facts = {n.id: f for n in old.nodes if (f := measured(n.key)) is not None}
    was = figures(old, measured, before.places)
    declared = figures(old, lambda _: None, before.places)
    nodes = {n.id: n for n in old.nodes}

    def guess(node: Node, made: Figures, known: Mapping[str, Figures]) -> Figures:
        base = nodes.get(pairs.get(node.id, ""))
        fact = None if base is None else facts.get(base.id)
        ahead = (after.ahead or {}).get(node.id)
        if ahead is not None and ahead.exact:  # the store has been looked at
            made = replace(made, calls=exactly(ahead.new + ahead.cached))
        if base is None or fact is None:
            return made
        rows_in = joined_rows(base, was), joined_rows(node, known)
        made = _guess(node, base, fact, made, rows_in, plan)
        if node.kind in _SIEVES and node.own_key != base.own_key and "rows" in fact:
            share = _share(declared[base.id].rows, joined_rows(base, declared))
            made = _other_share(made, fact, rows_in, share)
        return _within(made, was[base.id], proved.get(node.id))

    found = figures(plan, after.measured, after.places, guess)
    better = with_verdicts(with_estimates(plan, found), found)
    return replace(better, digest=plan.digest, now=plan.now)


def _guess(
    node: Node, base: Node, fact: Mapping[str, Any], result: Figures, rows_in: tuple[Range, Range], plan: Plan
) -> Figures:
    old_in, new_in = rows_in
    if isinstance(node.spec, TeacherStepSpec):
        drawn = _drawn if node.spec.accept is None else _until_enough
        result = replace(result, calls=drawn(node.spec, base.spec, fact, result.calls, rows_in))
        return _taught(node.spec, base, fact, result, plan)
    if not old_in.value or new_in.value is None:
        return result
    grown = new_in.value / old_in.value
    if isinstance(node.spec, TrainSpec) and isinstance(fact.get("tokens"), int):
        counted = _TOKENS if node.spec.steps is None else (*_TOKENS, "packing")
        if not _alike(node.spec, base.spec, counted):
            return result
        # so many steps see so many packs, however many rows there are
        times = grown if node.spec.steps is None else Fraction(1)
        learnt = _near(Fraction(fact["tokens"]) * times, result.learnt)
        speed = fact if _alike(node.spec, base.spec, _SPEED) else None
        return replace(result, learnt=learnt, gpu_hours=gpu_hours(node.spec, learnt, speed))
    if node.kind not in _SIEVES or node.own_key != base.own_key or "rows" not in fact:
        return result
    rows = _near(Fraction(fact["rows"]) * grown, result.rows)
    ports = {**result.ports, "rows": rows}
    if "dropped" in result.ports and isinstance(fact.get("dropped"), Mapping):
        lost = Fraction(sum(fact["dropped"].values())) * grown
        ports["dropped"] = _near(lost, result.ports["dropped"])
    return replace(result, ports=ports, origins=_origins(fact, grown, result))


def _share(rows: Range, of: Range) -> Fraction | None:
    return None if not of.value or rows.value is None else rows.value / of.value


def _other_share(
    result: Figures, fact: Mapping[str, Any], rows_in: tuple[Range, Range], share: Fraction | None
) -> Figures:
    """Rows of a step that says something else now: those of the last run, by how much the declared shares differ.
    `share`: of the rows that it read, what the old step was expected to keep before any run."""
    old_in, new_in = rows_in
    now = _share(result.rows, new_in)
    certain = result.rows.low == result.rows.high
    if certain or not share or now is None or not old_in.value or new_in.value is None:
        return result
    value = Fraction(fact["rows"]) * (new_in.value / old_in.value) * (now / share)
    bounds = Range(Fraction(0), result.rows.value, result.rows.high, result.rows.basis)
    return replace(result, ports={**result.ports, "rows": _near(value, bounds)})


def _within(result: Figures, was: Figures, proved: Ports | None) -> Figures:
    """Figures that say nothing against what is proved: of fewer rows never more, of more rows never fewer."""
    if proved is None:
        return result
    ports = dict(result.ports)
    for name in ("rows", "dropped", "trace"):
        if name in ports and name in was.ports:
            ports[name] = _bounded(ports[name], was.ports[name], getattr(proved, name).kind)
    return replace(result, ports=ports, calls=_bounded(result.calls, was.calls, proved.asked.kind))


def _bounded(new: Range, old: Range, kind: str) -> Range:
    if old.value is None or kind == "other":
        return new
    if kind in ("same", "content"):
        return old
    choose = min if kind == "shrink" else max
    pairs = zip(new.ends(), old.ends(), strict=True)
    low, value, high = (b if a is None else a if b is None else choose(a, b) for a, b in pairs)
    if kind == "shrink":
        low = Fraction(0) if new.low is None else low
    elif new.high is None:
        high = None
    return Range(low, value, high, new.basis if new.value == value else "scaled")


def _alike(spec: TrainSpec, base: Any, names: tuple[str, ...]) -> bool:
    return all(getattr(spec, name) == getattr(base, name, None) for name in names)


def _origins(fact: Mapping[str, Any], grown: Fraction, result: Figures) -> Mapping[str, Range]:
    known = fact.get("origins", {})
    return {name: _near(Fraction(known[name]) * grown, r) if name in known else r for name, r in result.origins.items()}


def _drawn(
    spec: TeacherStepSpec, base: Any, fact: Mapping[str, Any], calls: Range, rows_in: tuple[Range, Range]
) -> Range:
    """Calls of a draw by share over the same rows: those of the last run, and of the others the part that is drawn
    now.
    """
    old_in, new_in = rows_in
    requested, n = fact.get("calls"), new_in.value
    if calls.basis == "exact" or not requested or n is None or old_in.value != n:
        return calls
    old, new = (s.select.fraction if s.select is not None else "1" for s in (base, spec))
    if old is None or new is None or spec.samples != 1 or base.samples != 1:
        return calls
    p, q, taken = Fraction(old), Fraction(new), Fraction(requested)
    if not 0 < p < 1 or q > 1:
        return calls
    value = taken + (q - p) / (1 - p) * (n - taken) if q >= p else taken * q / p
    return _near(value, calls)


def _until_enough(
    spec: TeacherStepSpec, base: Any, fact: Mapping[str, Any], calls: Range, rows_in: tuple[Range, Range]
) -> Range:
    """Calls until so many answers are accepted: by the share that was accepted in the last run."""
    requested, accepted = fact.get("calls"), fact.get("trace")
    if not requested or not accepted or spec.accept is None or not _judges_alike(spec, base):
        return calls
    return _near(Fraction(spec.accept * requested, accepted), calls)


def _taught(spec: TeacherStepSpec, base: Node, fact: Mapping[str, Any], result: Figures, plan: Plan) -> Figures:
    """The share of answers that was accepted, and the tokens of a call, as they were."""
    calls, requested = result.calls, fact.get("calls")
    if not requested or calls.value is None or not _judges_alike(spec, base.spec):
        return result
    each = calls.value / requested
    accepted = _near(Fraction(fact.get("trace", 0)) * each, result.ports["trace"])
    sent, got = _tokens(fact, result, plan.teachers.get(spec.teacher))
    rows = {"only": accepted, "replace": result.rows}.get(spec.mode)
    if rows is None:  # add: the rows that came in, and the copies
        came = result.rows.minus(result.ports["trace"])
        rows = _near((came.value or Fraction(0)) + (accepted.value or 0), result.rows)
    usd = cost(plan.teachers.get(spec.teacher), sent, got)
    ports = {**result.ports, "rows": rows, "trace": accepted}
    return replace(result, ports=ports, tokens_in=sent, tokens_out=got, usd=usd)


def _tokens(fact: Mapping[str, Any], result: Figures, teacher: Teacher | None) -> tuple[Range, Range]:
    """Tokens sent and received: a call has as many as it had, also where that is far from characters / 4, as in
    Chinese.
    """
    sent, got = (Fraction(fact.get(name, 0), fact["calls"]) for name in ("tokens_in", "tokens_out"))
    if teacher is None or (not sent and not offline(teacher.provider)):
        return result.tokens_in, result.tokens_out  # who answered then counts no tokens
    most = teacher.sampling.get("max_tokens", 1024)
    return result.calls.times(_about(sent)), result.calls.times(_about(got).at_most(most))


def _about(tokens: Fraction) -> Range:
    return ranges.between(tokens * (1 - _DRIFT), tokens, tokens * (1 + _DRIFT), "scaled")


def _judges_alike(spec: TeacherStepSpec, base: Any) -> bool:
    """Whether only how much is asked differs; the teacher and the prompt may, since nobody knows better."""
    rules = [[r.verb, r.expr] for r in spec.rules if r.verb != "expect"]
    old = [[r.verb, r.expr] for r in base.rules if r.verb != "expect"]
    again = (spec.retries_on_reject, spec.repair) == (base.retries_on_reject, base.repair)
    return rules == old and again


def _near(value: Fraction, bounds: Range) -> Range:
    """A value as it is expected, inside what is possible."""
    low = Fraction(0) if bounds.low is None else min(bounds.low, value)
    high = None if bounds.high is None else bounds.high
    kept = value if high is None else min(value, high)
    if bounds.low is not None:
        kept = max(kept, bounds.low)
    return Range(low, kept, high, "scaled")
