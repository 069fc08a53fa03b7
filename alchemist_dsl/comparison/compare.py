"""The way of a comparison on one screen: two sides, matched steps, changes, effects, figures, safeguards, sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alchemist_runtime.schema.plan import Check, Estimate, Plan

from alchemist_dsl.comparison import impact
from alchemist_dsl.comparison.effects import relaxed, worst
from alchemist_dsl.comparison.flows import Ports
from alchemist_dsl.comparison.impact import scaled
from alchemist_dsl.comparison.model import Category, CheckDiff, Diff, NodeDiff, Pair, RecipeDiff, Totals
from alchemist_dsl.comparison.resources import changes, declaration_changes, resources_between
from alchemist_dsl.comparison.side import Side
from alchemist_dsl.comparison.steps import Steps, match_steps
from alchemist_dsl.diagnostics.model import Diagnostic
from alchemist_dsl.explain.description import Fact, Facts


def compare(before: Side, after: Side) -> RecipeDiff:
    """Two sides that compile, by meaning."""
    old, new = before.plan, after.plan
    assert old is not None and new is not None
    pairs = match_steps(old, new)
    names = {m.after.id: m.before.id for m in pairs if m.before and m.after}
    new = scaled(before, after, names, flows(before, after))
    fresh = {n.id: n for n in new.nodes}
    pairs = [replace(m, after=fresh[m.after.id]) if m.after else m for m in pairs]
    work = Steps(before, after, old, new, pairs)
    nodes = list(work.nodes())
    blocks = declaration_changes(before, after, {n.id for n in (*old.nodes, *new.nodes)})
    resources = list(resources_between(old, new))
    recipe = changes(_recipe(old), _recipe(new))
    params = changes(_params(old), _params(new))
    safeguards = relaxed(old, new, pairs, work.found)
    found = [n.category for n in nodes] + [d.category for d in blocks]
    checks = _checks(old, new)
    found += [r.category for r in resources] + ["metadata" for _ in (*recipe, *filter(_promised, checks))]
    category = _overall(found, before, after)
    return RecipeDiff(
        path=after.path,
        before_path=before.path if before.path != after.path else None,
        before=before.label,
        after=after.label,
        status="same" if category == "same" else "changed",
        category=category,
        relaxed=safeguards,
        params=params,
        recipe=recipe,
        nodes=nodes,
        resources=resources,
        declarations=blocks,
        mixtures=list(work.mixtures()),
        checks=checks,
        unchanged=len(pairs) - len(nodes),
        totals=_totals(work, nodes),
        now="base" if after.ahead is None else "here",
        assumed=sorted({*before.assumed, *after.assumed}),
    )


def flows(before: Side, after: Side) -> Mapping[str, Ports]:
    """What is proved of the rows of every step of the new plan that the old one has too, by its name after."""
    assert before.plan is not None and after.plan is not None
    pairs = match_steps(before.plan, after.plan)
    work = Steps(before, after, before.plan, after.plan, pairs)
    for _ in work.nodes():
        pass
    return {m.after.id: work.ports[m.after.id] for m in pairs if m.before and m.after}


def _overall(found: Sequence[Category], before: Side, after: Side) -> Category:
    """The worst of all; texts that differ in nothing else are cosmetic."""
    category = worst([c for c in found if c != "same"])
    if category == "same" and before.text is not None and before.text != after.text:
        return "cosmetic"
    if "extending" in found and "narrowing" in found:
        return "breaking"
    return category


# --- the recipe as a whole --------------------------------------------------------------------------------------------


def _recipe(plan: Plan) -> Facts:
    found = {
        "title": (plan.title, "doc"),
        "license": (plan.license, "doc"),
        "seed": (plan.seed, "data"),
        "tokenizer": (plan.tokenizer, "data"),
        "edition": (plan.edition, "data"),
    }
    return {
        name: Fact(value, str(value), "doc" if affects == "doc" else "data")
        for name, (value, affects) in found.items()
        if value is not None
    }


def _params(plan: Plan) -> Facts:
    return {p.name: Fact(p.value, p.value) for p in plan.params}


def _checks(old: Plan, new: Plan) -> list[CheckDiff]:
    """Promises whose text or verdict differs, and those that are not kept."""
    before, after = ({c.id: c for c in p.checks} for p in (old, new))
    out = []
    for name in dict.fromkeys((*after, *before)):
        b, a = before.get(name), after.get(name)
        if _shown(b) != _shown(a) or (a is not None and a.verdict == "fail"):
            out.append(CheckDiff(id=name, before=_shown(b), after=_shown(a)))
    return out


def _promised(check: CheckDiff) -> bool:
    """Whether the promise itself is another one, not only what becomes of it."""
    sides = [None if s is None else (s["text"], s["severity"]) for s in (check.before, check.after)]
    return sides[0] != sides[1]


def _shown(check: Check | None) -> dict[str, str] | None:
    if check is None:
        return None
    found = {"text": check.text, "verdict": check.verdict, "severity": check.severity}
    return found if check.value is None else {**found, "value": check.value}


def _totals(work: Steps, nodes: Sequence[NodeDiff]) -> Totals:
    old, new = work.old, work.new
    sides = [(m.before, m.after) for m in work.pairs]

    def both(*names: str, kind: str | None = None, whole: bool = True) -> Pair:
        some = [(b, a) for b, a in sides if kind is None or kind in {n.kind for n in (b, a) if n is not None}]
        return Pair(
            before=impact.of_plan(old, *names, kind=kind),
            after=impact.of_plan(new, *names, kind=kind),
            delta=impact.totals_between(some, *names, whole=whole),
        )

    also = list(work.unbuilt())
    return Totals(
        usd_scratch=both("usd", whole=False),
        calls=both("calls"),
        tokens=both("tokens_in", "tokens_out"),
        training_tokens=both("tokens", kind="train"),
        gpu_hours=both("gpu_hours", kind="train", whole=False),
        calls_new=impact.summed([*(n.calls_new for n in nodes), *(x.new for _, x in also)]),
        calls_cached=impact.summed([*(n.calls_cached for n in nodes), *(x.cached for _, x in also)]),
        usd_now=impact.summed([*(n.usd_now for n in nodes), *(x.usd for _, x in also)], whole=False),
        unbuilt=[a.id for a, _ in also],
        retrains=[n.id for n in nodes if n.trains and n.action == "build"],
    )


# --- project diff ----------------------------------------------------------------------------------------------------


def combine(before: str, after: str, recipes: Sequence[RecipeDiff], same: int) -> Diff:
    """All recipes together; those that turned out the same are counted."""
    displayed = [r for r in recipes if r.status != "same"]
    readable = [r for r in displayed if r.status != "unreadable"]
    return Diff(
        before=before,
        after=after,
        changed=bool(displayed),
        recipes=displayed,
        same=same + len(recipes) - len(displayed),
        totals=_sum_totals([r.totals for r in readable], complete=len(readable) == len(displayed)),
    )


def _sum_totals(found: Sequence[Totals], *, complete: bool) -> Totals:
    def both(name: str, *, whole: bool = True) -> Pair:
        pairs = [getattr(t, name) for t in found]
        deltas = [p.delta for p in pairs]
        known = complete and all(d is not None for d in deltas)
        return Pair(
            before=impact.summed((p.before for p in pairs), whole=whole),
            after=impact.summed((p.after for p in pairs), whole=whole),
            delta=impact.summed_signed(deltas, whole=whole) if known else None,
        )

    def now(name: str, *, whole: bool = True) -> Estimate:
        return impact.summed((getattr(t, name) for t in found), whole=whole) if complete else Estimate()

    return Totals(
        usd_scratch=both("usd_scratch", whole=False),
        calls=both("calls"),
        tokens=both("tokens"),
        training_tokens=both("training_tokens"),
        gpu_hours=both("gpu_hours", whole=False),
        calls_new=now("calls_new"),
        calls_cached=now("calls_cached"),
        usd_now=now("usd_now", whole=False),
        retrains=[name for t in found for name in t.retrains],
        unbuilt=[name for t in found for name in t.unbuilt],
    )


def one_sided(before: Side | None, after: Side | None) -> RecipeDiff:
    """A recipe that is new, or gone: compared with a recipe of no steps."""
    some = after or before
    assert some is not None and some.plan is not None
    nothing = replace(some.plan, nodes=[], checks=[], teachers={}, prompts={}, totals={}, params=[], now=None)
    empty = Side("nothing", some.path, nothing)
    result = compare(before or empty, after or empty)
    status = "removed" if after is None else "added"
    return result.model_copy(
        update={"status": status, "category": "breaking" if after is None else "extending", "recipe": []}
    )


def unreadable(before: Side | None, after: Side | None) -> RecipeDiff:
    """A side does not compile: its messages, and the lines that differ. Never "no change"."""
    import difflib
    import json

    from alchemist_dsl.diagnostics.render import render

    some = after or before
    assert some is not None
    old, new = (None if s is None else s.text for s in (before, after))
    lines = list(
        difflib.unified_diff(
            (old or "").splitlines(),
            (new or "").splitlines(),
            "nothing" if before is None else before.label,
            "nothing" if after is None else after.label,
            lineterm="",
            n=1,
        )
    )
    problems = [
        {"side": side.label, **problem}
        for side in (before, after)
        if side is not None and side.plan is None
        for problem in json.loads(render(_errors(side), side.sources, "json"))
    ]
    return RecipeDiff(
        path=some.path,
        before=None if before is None else before.label,
        after=None if after is None else after.label,
        status="unreadable",
        category="breaking",
        diagnostics=problems,
        messages=[
            line
            for side in (before, after)
            if side is not None and side.plan is None
            for line in (f"{side.label} does not compile:", *render(_errors(side), side.sources).rstrip().splitlines())
        ],
        lines=lines,
    )


def _errors(side: Side) -> list[Diagnostic]:
    """What keeps a side from compiling; warnings belong to `check`."""
    from alchemist_dsl.diagnostics.model import severity

    return [d for d in side.diagnostics if severity(d) == "error"]
