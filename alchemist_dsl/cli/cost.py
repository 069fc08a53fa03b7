"""`alchemist cost`: what the teachers of a recipe cost: from scratch, paid so far, by the next run, and as the last run
measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from alchemist_runtime.schema.plan import to_json

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.engine.prompt_calls import Ahead
    from alchemist_runtime.schema.plan import Estimate, Node, Plan, Teacher

    from alchemist_dsl.comparison.impact import CallForecast
    from alchemist_dsl.project.workspace import Compiled


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@format_option()
@recipe_options("upto")
def cost(recipe: Path | None, format_: str, options: RecipeOptions) -> None:
    """Say what the teacher steps of RECIPE cost: what is paid, what a run now would pay, what all costs from scratch;
    and what the last run measured beside what was expected. Nothing is sent or built.

    RECIPE may be left out where the folder holds only one."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code, only_recipe

    found = recipe or only_recipe(Path())
    if found is None:
        raise click.UsageError("this folder does not hold exactly one recipe; name it: `alchemist cost RECIPE`")
    result = compiled_or_exit(found, warnings=False, **options.arguments())
    if result.plan is None:
        sys.exit(exit_code(result))
    steps = list(_steps(result, result.plan))
    if format_ == "json":
        import json

        click.echo(json.dumps(_data(result.plan, steps), indent=2))
    else:
        for line in _lines(result.plan, steps):
            click.echo(line)


# --- figures ----------------------------------------------------------------------------------------------------------

#: Figures that a run measures and an estimate has too.
_BOTH: Final = ("calls", "tokens_in", "tokens_out", "usd")
#: Answers from which on their mean says more than characters / 4, and how far the tokens of the others may lie from it.
_ENOUGH, _DRIFT = 20, Fraction(1, 4)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step costs. `cached`, `paid`: answers of its questions that are there, and their tokens at the price of
    today; None where what it reads is not built. `now`: what a run would ask and spend. `expected`: the figures that no
    run has measured; `actual`: those of its last run, of all answers, and `spent` in that run; `sampled`: answers in
    the call cache whose tokens the figures rest on."""

    node: Node
    teacher: Teacher
    cached: int | None
    paid: Estimate | None
    now: CallForecast
    expected: dict[str, Estimate]
    actual: dict[str, Estimate] | None
    spent: Estimate | None
    sampled: int

    @property
    def scratch(self) -> dict[str, Estimate]:
        return {n: self.node.estimate[n] for n in _BOTH if n in self.node.estimate}


def _steps(result: Compiled, plan: Plan) -> Iterator[Step]:
    """The steps of a plan that ask a teacher, in its order."""
    from alchemist_runtime.schema.plan import TeacherStepSpec

    from alchemist_dsl.estimate.figures import cost as cost_of
    from alchemist_dsl.estimate.figures import figures
    from alchemist_dsl.estimate.ranges import estimate, exactly

    nodes = [n for n, _ in plan.of(TeacherStepSpec)]
    keys = {n.key for n in nodes}

    def measured(key: str) -> Any:
        return None if key in keys or result.resources is None else result.resources.measured(key)

    unmeasured = figures(plan, measured, result.places) if nodes else {}
    plan, sampled = _sampled(result, plan, nodes)
    nodes = [plan.node(n.id) for n in nodes]
    looked = _looked_at(result, plan, nodes)
    for node in nodes:
        teacher = plan.teachers[node.spec.teacher]  # type: ignore[union-attr]
        ahead = looked.get(node.id)
        paid = None
        if ahead is not None:
            tokens = exactly(ahead.tokens_in), exactly(ahead.tokens_out)
            paid = estimate(cost_of(teacher, *tokens), whole=False)
        expected = {n: estimate(getattr(unmeasured[node.id], n), whole=n != "usd") for n in _BOTH}
        cached = None if ahead is None else ahead.cached
        actual, spent = _measured(result, node, teacher)
        n = sampled.get(node.id, 0)
        now = _now(plan, node, ahead, sampled=n > 0)
        yield Step(node, teacher, cached, paid, now, expected, actual, spent, n)


def _sampled(result: Compiled, plan: Plan, nodes: Sequence[Node]) -> tuple[Plan, dict[str, int]]:
    """The plan with the tokens of a call as they were in the answers that steps which no complete run has measured got
    already, for example by a run with `--limit`; and how many answers that is, by step."""
    from alchemist_runtime.calls.cache import CallCache
    from alchemist_runtime.schema.codes import RunError

    from alchemist_dsl.estimate.figures import Figures, cost, figures, with_estimates
    from alchemist_dsl.estimate.ranges import Range, between

    path, requested = result.project.state / "calls.sqlite", {n.id for n in nodes}
    if result.resources is None or not requested or not path.exists():
        return plan, {}
    store, used = CallCache(path, read_only=True), dict[str, int]()

    def guess(node: Node, found: Figures, _: Mapping[str, Figures]) -> Figures:
        if node.id not in requested:
            return found
        teacher = plan.teachers[node.spec.teacher]  # type: ignore[union-attr]
        n, *tokens = store.tokens_of(str(plan.recipe.get("path") or ""), node.id, teacher)
        if n < _ENOUGH:
            return found
        used[node.id] = n
        sent, got = (found.calls.times(about(Fraction(t, n))) for t in tokens)
        return replace(found, tokens_in=sent, tokens_out=got, usd=cost(teacher, sent, got))

    def about(mean: Fraction) -> Range:
        return between(mean * (1 - _DRIFT), mean, mean * (1 + _DRIFT), "scaled")

    try:
        known = figures(plan, result.resources.measured, result.places, guess)
    except RunError:  # a damaged file; what is looked up next tells of it
        return plan, {}
    finally:
        store.close()
    return with_estimates(plan, known), used


def _looked_at(result: Compiled, plan: Plan, nodes: Sequence[Node]) -> dict[str, Ahead]:
    """What lies in the store and the call cache of the steps' questions, for those whose inputs are built."""
    from alchemist_runtime.engine.prompt_calls import ahead
    from alchemist_runtime.schema.codes import RunError

    try:
        return ahead(plan, result.project.root, result.project.state, nodes) if nodes else {}
    except (RunError, OSError) as error:
        text = error.problem.headline if isinstance(error, RunError) else str(error)
        click.echo(f"note: the store cannot be looked at ({text}); new calls are estimates", err=True)
        return {}


def _now(plan: Plan, node: Node, found: Ahead | None, *, sampled: bool) -> CallForecast:
    """What a run now would ask of a step's teacher, and spend."""
    from alchemist_runtime.schema.plan import Estimate

    from alchemist_dsl.comparison import impact
    from alchemist_dsl.comparison.side import Ahead

    doing = next((n for n in plan.now.nodes if n.id == node.id), None) if plan.now else None
    if doing is not None and doing.action in ("reuse", "skip"):
        there = impact.no_new_calls(node)
        return there if doing.action == "reuse" else impact.NO_CALLS
    if found is not None:
        known = Ahead(found.new, found.cached, found.least, found.most, found.rows)
        return impact.calls_from_store(node, known)
    new = node.estimate.get("calls", Estimate())
    usd = (doing and not sampled and doing.usd) or node.estimate.get("usd", Estimate())
    return impact.CallForecast(_from_none(new), Estimate(), _from_none(usd))


def _from_none(e: Estimate) -> Estimate:
    """A figure of which a part, nobody knows which, is there already."""
    return e if e.value in (None, "0") else replace(e, low="0")


def _measured(result: Compiled, node: Node, teacher: Teacher) -> tuple[dict[str, Estimate] | None, Estimate | None]:
    """The figures of the run that made a step's result: of all answers, and what was spent on new ones."""
    from alchemist_runtime.schema.codes import RunError

    from alchemist_dsl.estimate.ranges import estimate, exactly

    try:
        manifest = result.project.store.manifest(node.key)
    except RunError:
        return None, None
    figures = {} if manifest is None else manifest.figures
    if not isinstance(figures.get("calls"), int):
        return None, None
    names = {"calls": "calls", "tokens_in": "tokens_in", "tokens_out": "tokens_out", "usd": "usd_scratch"}
    found = {n: figures[key] for n, key in names.items() if figures.get(key) is not None}
    run = {n: estimate(exactly(Fraction(v), "last_run"), whole=n != "usd") for n, v in found.items()}
    usd = figures.get("usd")
    return run, None if usd is None else estimate(exactly(Fraction(usd), "last_run"), whole=False)


# --- what is printed --------------------------------------------------------------------------------------------------


def _lines(plan: Plan, steps: Sequence[Step]) -> Iterator[str]:
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.comparison.impact import summed
    from alchemist_dsl.document.text import format_table
    from alchemist_dsl.explain.wording import count, dollars, dollars_range

    name = plan.recipe.get("path", "") + (f" · variant {plan.variant}" if plan.variant else "")
    if not steps:
        yield f"{name}: no step asks a teacher"
        return
    yield name
    yield ""
    rows = [
        (
            s.node.id,
            s.teacher.name,
            count(s.scratch.get("calls")),
            "?" if s.cached is None else f"{s.cached:,}",
            count(s.now.new),
            "?" if s.paid is None else dollars(s.paid),
            dollars(s.now.usd),
            dollars(s.scratch.get("usd")),
        )
        for s in steps
    ]
    head = ("step", "teacher", "calls", "answered", "to ask", "paid", "a run now", "from scratch")
    yield from format_table(head, rows, terminal_width(), right={2, 3, 4, 5, 6, 7})
    yield ""
    yield (
        f"now      {count(summed(s.now.new for s in steps))} new calls,"
        f" {dollars_range(summed((s.now.usd for s in steps), whole=False))}"
    )
    if all(s.paid is not None for s in steps):
        yield f"paid     {dollars_range(summed((s.paid for s in steps), whole=False))} for answers that are there"
    yield (
        f"in all   {count(summed(s.scratch.get('calls') for s in steps))} calls,"
        f" {dollars_range(summed((s.scratch.get('usd') for s in steps), whole=False))} from scratch"
    )
    yield from _last_run(steps)
    yield ""
    yield from _assumptions(steps)


def _last_run(steps: Sequence[Step]) -> Iterator[str]:
    """What runs measured beside what was expected."""
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.document.text import format_table
    from alchemist_dsl.explain.wording import figure

    rows = []
    for step in steps:
        for name, actual in (step.actual or {}).items():
            expected = step.expected.get(name)
            first = name == "calls"
            displayed = figure(name, actual)
            if name == "usd" and step.spent is not None and step.spent.value != actual.value:
                displayed += f" ({figure('usd', step.spent)} in that run)"
            words = {"usd": "cost", "calls": "calls", "tokens_in": "tokens in", "tokens_out": "tokens out"}
            rows.append(
                (
                    step.node.id if first else "",
                    words[name],
                    "" if expected is None else figure(name, expected),
                    displayed,
                    _off(expected, actual),
                )
            )
    if rows:
        yield ""
        head = ("step", "", "expected", "last run", "off by")
        yield from format_table(head, rows, terminal_width(), right={2, 3, 4})


def _off(expected: Estimate | None, actual: Estimate) -> str:
    """How far what was expected lies from what was measured."""
    if expected is None or expected.value is None or not Fraction(actual.value or 0):
        return ""
    share = Fraction(expected.value) / Fraction(actual.value or 1) - 1
    return f"{float(share):+.0%}"


def _assumptions(steps: Sequence[Step]) -> Iterator[str]:
    """What the figures rest on."""
    from alchemist_dsl.cli.cache import quoted
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.document.text import wrap

    for teacher in {s.teacher.name: s.teacher for s in steps}.values():
        yield f"price    {teacher.name}: {_price(teacher)}"
    priced = [s for s in steps if s.teacher.price is None or not s.teacher.price.free]
    declared = [
        s.node.id
        for s in priced
        if s.scratch and not s.sampled and s.scratch["tokens_in"].basis not in ("exact", "last_run")
    ]
    again = [
        s.node.id
        for s in steps
        if s.now.new.value not in (None, "0") and getattr(s.node.spec, "retries_on_reject", None)
    ]
    unbuilt = [s.node.id for s in steps if s.cached is None]
    notes = []
    if any(s.cached for s in priced):
        notes.append("paid calls are counted at the current price in the recipe")
    if declared:
        notes.append(
            f"tokens of {quoted(declared)} are not measured yet: one stands for 4 characters, and an answer takes up to"
            " `max_tokens`"
        )
    notes += [
        f"tokens of `{s.node.id}` are those of the {s.sampled:,} answers that it got so far"
        for s in priced
        if s.sampled
    ]
    if again:
        notes.append(f"answers to {quoted(again)} that a rule refuses are drawn again: the upper end counts that")
    if unbuilt:
        notes.append(f"what {quoted(unbuilt)} reads is not built, so which of its questions have an answer is unknown")
    for note in notes:
        first, *rest = wrap(note, terminal_width() - 9)
        yield f"note     {first}"
        yield from (f"         {line}" for line in rest)


def _price(teacher: Teacher) -> str:
    from alchemist_dsl.estimate.checks import money

    price = teacher.charged
    if price is None:
        return "unknown; `price { … }` or `price = free` in the recipe says it"
    if price.free:
        return "free"
    each = (money(Fraction(p) * 1_000_000) for p in (price.input, price.output))
    half = ", half by the Batch API" if teacher.batch else ""
    return "${} for 1M tokens in, ${} for 1M tokens out".format(*each) + half


def _data(plan: Plan, steps: Sequence[Step]) -> dict[str, Any]:
    from alchemist_dsl.comparison.impact import summed

    def plain(e: Estimate | None) -> Any:
        return None if e is None else to_json(e, without_none=True)

    def each(found: dict[str, Estimate] | None) -> Any:
        return None if found is None else {n: plain(e) for n, e in found.items()}

    return {
        "recipe": plan.recipe.get("path"),
        "variant": plan.variant,
        "steps": [
            {
                "step": s.node.id,
                "teacher": s.teacher.name,
                "model": s.teacher.model,
                "price": None if s.teacher.charged is None else to_json(s.teacher.charged),
                "scratch": each(s.scratch),
                "answered": s.cached,
                "sampled": s.sampled,
                "paid": plain(s.paid),
                "now": {"calls": plain(s.now.new), "usd": plain(s.now.usd)},
                "expected": each(s.expected),
                "last_run": s.actual and {**each(s.actual), "usd_spent": plain(s.spent)},
            }
            for s in steps
        ],
        "totals": {
            "scratch": {n: plain(summed((s.scratch.get(n) for s in steps), whole=n != "usd")) for n in _BOTH},
            "now": {
                "calls": plain(summed(s.now.new for s in steps)),
                "usd": plain(summed((s.now.usd for s in steps), whole=False)),
            },
            "paid": (
                plain(summed((s.paid for s in steps), whole=False)) if all(s.paid is not None for s in steps) else None
            ),
        },
    }
