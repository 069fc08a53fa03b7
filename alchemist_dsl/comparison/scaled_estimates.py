"""Figures of steps that no run has measured, from those of the same steps in another version: by how much there is to
do now.

A step whose rules are the same is expected to keep, accept and answer the same share as it did when it was last run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from alchemist_runtime.schema.catalog import offline
from alchemist_runtime.schema.plan import Node, Plan, Teacher, TeacherStepSpec, TrainSpec

from alchemist_dsl.comparison.flows import Ports
from alchemist_dsl.comparison.side import Side
from alchemist_dsl.estimate.checks import with_verdicts
from alchemist_dsl.estimate.figures import Figures, cost, figures, joined_rows, with_estimates
from alchemist_dsl.estimate.ranges import Range, between, exactly
from alchemist_dsl.estimate.training import gpu_hours

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
    node: Node, base: Node, fact: Mapping[str, Any], made: Figures, rows_in: tuple[Range, Range], plan: Plan
) -> Figures:
    old_in, new_in = rows_in
    if isinstance(node.spec, TeacherStepSpec):
        drawn = _drawn if node.spec.accept is None else _until_enough
        made = replace(made, calls=drawn(node.spec, base.spec, fact, made.calls, rows_in))
        return _taught(node.spec, base, fact, made, plan)
    if not old_in.value or new_in.value is None:
        return made
    grown = new_in.value / old_in.value
    if isinstance(node.spec, TrainSpec) and isinstance(fact.get("tokens"), int):
        counted = _TOKENS if node.spec.steps is None else (*_TOKENS, "packing")
        if not _alike(node.spec, base.spec, counted):
            return made
        # so many steps see so many packs, however many rows there are
        times = grown if node.spec.steps is None else Fraction(1)
        learnt = _near(Fraction(fact["tokens"]) * times, made.learnt)
        speed = fact if _alike(node.spec, base.spec, _SPEED) else None
        return replace(made, learnt=learnt, gpu_hours=gpu_hours(node.spec, learnt, speed))
    if node.kind not in _SIEVES or node.own_key != base.own_key or "rows" not in fact:
        return made
    rows = _near(Fraction(fact["rows"]) * grown, made.rows)
    ports = {**made.ports, "rows": rows}
    if "dropped" in made.ports and isinstance(fact.get("dropped"), Mapping):
        lost = Fraction(sum(fact["dropped"].values())) * grown
        ports["dropped"] = _near(lost, made.ports["dropped"])
    return replace(made, ports=ports, origins=_origins(fact, grown, made))


def _share(rows: Range, of: Range) -> Fraction | None:
    return None if not of.value or rows.value is None else rows.value / of.value


def _other_share(
    made: Figures, fact: Mapping[str, Any], rows_in: tuple[Range, Range], share: Fraction | None
) -> Figures:
    """Rows of a step that says something else now: those of the last run, by how much the declared shares differ.
    `share`: of the rows that it read, what the old step was expected to keep before any run."""
    old_in, new_in = rows_in
    now = _share(made.rows, new_in)
    certain = made.rows.low == made.rows.high
    if certain or not share or now is None or not old_in.value or new_in.value is None:
        return made
    value = Fraction(fact["rows"]) * (new_in.value / old_in.value) * (now / share)
    bounds = Range(Fraction(0), made.rows.value, made.rows.high, made.rows.basis)
    return replace(made, ports={**made.ports, "rows": _near(value, bounds)})


def _within(made: Figures, was: Figures, proved: Ports | None) -> Figures:
    """Figures that say nothing against what is proved: of fewer rows never more, of more rows never fewer."""
    if proved is None:
        return made
    ports = dict(made.ports)
    for name in ("rows", "dropped", "trace"):
        if name in ports and name in was.ports:
            ports[name] = _bounded(ports[name], was.ports[name], getattr(proved, name).kind)
    return replace(made, ports=ports, calls=_bounded(made.calls, was.calls, proved.asked.kind))


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


def _origins(fact: Mapping[str, Any], grown: Fraction, made: Figures) -> Mapping[str, Range]:
    known = fact.get("origins", {})
    return {name: _near(Fraction(known[name]) * grown, r) if name in known else r for name, r in made.origins.items()}


def _drawn(
    spec: TeacherStepSpec, base: Any, fact: Mapping[str, Any], calls: Range, rows_in: tuple[Range, Range]
) -> Range:
    """Calls of a draw by share over the same rows: those of the last run, and of the others the part that is drawn
    now.
    """
    old_in, new_in = rows_in
    asked, n = fact.get("calls"), new_in.value
    if calls.basis == "exact" or not asked or n is None or old_in.value != n:
        return calls
    old, new = (s.select.fraction if s.select is not None else "1" for s in (base, spec))
    if old is None or new is None or spec.samples != 1 or base.samples != 1:
        return calls
    p, q, taken = Fraction(old), Fraction(new), Fraction(asked)
    if not 0 < p < 1 or q > 1:
        return calls
    value = taken + (q - p) / (1 - p) * (n - taken) if q >= p else taken * q / p
    return _near(value, calls)


def _until_enough(
    spec: TeacherStepSpec, base: Any, fact: Mapping[str, Any], calls: Range, rows_in: tuple[Range, Range]
) -> Range:
    """Calls until so many answers are accepted: by the share that was accepted in the last run."""
    asked, accepted = fact.get("calls"), fact.get("trace")
    if not asked or not accepted or spec.accept is None or not _judges_alike(spec, base):
        return calls
    return _near(Fraction(spec.accept * asked, accepted), calls)


def _taught(spec: TeacherStepSpec, base: Node, fact: Mapping[str, Any], made: Figures, plan: Plan) -> Figures:
    """The share of answers that was accepted, and the tokens of a call, as they were."""
    calls, asked = made.calls, fact.get("calls")
    if not asked or calls.value is None or not _judges_alike(spec, base.spec):
        return made
    each = calls.value / asked
    accepted = _near(Fraction(fact.get("trace", 0)) * each, made.ports["trace"])
    sent, got = _tokens(fact, made, plan.teachers.get(spec.teacher))
    rows = {"only": accepted, "replace": made.rows}.get(spec.mode)
    if rows is None:  # add: the rows that came in, and the copies
        came = made.rows.minus(made.ports["trace"])
        rows = _near((came.value or Fraction(0)) + (accepted.value or 0), made.rows)
    usd = cost(plan.teachers.get(spec.teacher), sent, got)
    ports = {**made.ports, "rows": rows, "trace": accepted}
    return replace(made, ports=ports, tokens_in=sent, tokens_out=got, usd=usd)


def _tokens(fact: Mapping[str, Any], made: Figures, teacher: Teacher | None) -> tuple[Range, Range]:
    """Tokens sent and received: a call has as many as it had, also where that is far from characters / 4, as in
    Chinese.
    """
    sent, got = (Fraction(fact.get(name, 0), fact["calls"]) for name in ("tokens_in", "tokens_out"))
    if teacher is None or (not sent and not offline(teacher.provider)):
        return made.tokens_in, made.tokens_out  # who answered then counts no tokens
    most = teacher.sampling.get("max_tokens", 1024)
    return made.calls.times(_about(sent)), made.calls.times(_about(got).at_most(most))


def _about(tokens: Fraction) -> Range:
    return between(tokens * (1 - _DRIFT), tokens, tokens * (1 + _DRIFT), "scaled")


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
