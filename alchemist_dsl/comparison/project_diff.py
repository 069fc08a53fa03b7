"""Whole comparisons: several recipes together, recipes that came or went, and sides that do not compile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alchemist_runtime.schema.plan import Estimate

from alchemist_dsl.comparison import impact
from alchemist_dsl.comparison.compare import compare
from alchemist_dsl.comparison.model import Diff, Pair, RecipeDiff, Totals
from alchemist_dsl.comparison.side import Side
from alchemist_dsl.diagnostics.model import Diagnostic


def whole(before: str, after: str, recipes: Sequence[RecipeDiff], same: int) -> Diff:
    """All recipes together; those that turned out the same are counted."""
    shown = [r for r in recipes if r.status != "same"]
    readable = [r for r in shown if r.status != "unreadable"]
    return Diff(
        before=before,
        after=after,
        changed=bool(shown),
        recipes=shown,
        same=same + len(recipes) - len(shown),
        totals=_sum_totals([r.totals for r in readable], complete=len(readable) == len(shown)),
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
    made = compare(before or empty, after or empty)
    status = "removed" if after is None else "added"
    return made.model_copy(
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
            "nothing" if before is None else before.called,
            "nothing" if after is None else after.called,
            lineterm="",
            n=1,
        )
    )
    problems = [
        {"side": side.called, **problem}
        for side in (before, after)
        if side is not None and side.plan is None
        for problem in json.loads(render(_errors(side), side.sources, "json"))
    ]
    return RecipeDiff(
        path=some.path,
        before=None if before is None else before.called,
        after=None if after is None else after.called,
        status="unreadable",
        category="breaking",
        diagnostics=problems,
        messages=[
            line
            for side in (before, after)
            if side is not None and side.plan is None
            for line in (f"{side.called} does not compile:", *render(_errors(side), side.sources).rstrip().splitlines())
        ],
        lines=lines,
    )


def _errors(side: Side) -> list[Diagnostic]:
    """What keeps a side from compiling; warnings belong to `check`."""
    from alchemist_dsl.diagnostics.model import severity

    return [d for d in side.diagnostics if severity(d) == "error"]
