"""`alchemist compile`: from a recipe to its plan, as a table for people or as the plan file."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options
from alchemist_dsl.cli.progress import amount, took
from alchemist_dsl.document.text import format_table
from alchemist_dsl.explain.wording import dollar_amount

if TYPE_CHECKING:
    from alchemist_runtime.engine.context import Context
    from alchemist_runtime.engine.local import Done, Result
    from alchemist_runtime.schema.plan import Check, Node, NowNode, Plan, TrainSpec

    from alchemist_dsl.project.workspace import Compiled


@click.command(name="compile")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the plan to this file.")
@format_option()
@click.option("--portable", is_flag=True, help="Only what is the same on every machine: no actions.")
@recipe_options("upto", "limit", "locked")
def compile_(recipe: Path, output: Path | None, format_: str, portable: bool, options: RecipeOptions) -> None:
    """Print the plan of RECIPE: its steps, what they would cost, what a run would do and why. `-` is standard input."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code

    result = compiled_or_exit(recipe, here=not portable, **options.arguments())
    if result.plan is None:
        sys.exit(exit_code(result))
    if not options.locked and options.limit is None and str(recipe) != "-":
        remember(result)
    _write(result, result.plan, output, format_)
    sys.exit(exit_code(result))


def remember(result: Compiled) -> None:
    """Add what the lock did not know. A project that may not be written is compiled all the same."""
    from alchemist_dsl.project.workspace import add_facts

    try:
        add_facts(result)
    except OSError as error:
        click.echo(f"note: recipe.lock cannot be written ({error.strerror})", err=True)


def _write(result: Compiled, plan: Plan, output: Path | None, format_: str) -> None:
    from alchemist_runtime.schema.plan import dump

    if output is not None:
        output.write_text(dump(plan), "utf-8")
    if format_ == "json":
        if output is None:
            click.echo(dump(plan), nl=False)
        return
    click.echo(plan_text(result))
    if output is not None:
        click.echo(f"\nplan     {output}")


def plan_text(result: Compiled, width: int | None = None) -> str:
    """The plan of a compiled recipe for people."""
    assert result.plan is not None
    wide = width or terminal_width()
    return "\n".join([*plan_lines(result.plan, wide), *drift_lines(result, wide)])


def drift_lines(result: Compiled, width: int, *, after_run: bool = False) -> list[str]:
    """Return the facts that differ from recipe.lock: before a run what it would write, after it what it wrote."""
    from alchemist_dsl.document.text import wrap
    from alchemist_dsl.project.lockfile import sentence

    found = () if result.resources is None else result.resources.changes
    said = [line for c in found if c.kind == "changed" for line in wrap(sentence(c), width - 11)]
    if not said:
        return []
    head = "recipe.lock changed:" if after_run else "differs from recipe.lock; a complete run updates it:"
    return ["", f"lock     {head}", *(f"           {line}" for line in said)]


def terminal_width() -> int:
    import shutil

    return max(60, min(160, shutil.get_terminal_size((100, 24)).columns))


def plan_lines(plan: Plan, width: int) -> list[str]:
    """Head, table of nodes, totals, checks."""
    out = [*_head(plan), "", *_table(plan, width), "", *_totals(plan)]
    if plan.checks:
        out += ["", *_checks(plan.checks)]
    return out


def _head(plan: Plan) -> list[str]:
    from alchemist_dsl.explain.wording import short

    name = plan.recipe.get("path", "")
    facts = [f"plan {short(plan.digest)}", f"seed {plan.seed}"]
    if plan.variant:
        facts.insert(0, f"variant {plan.variant}")
    facts += [f"{p.name} = {p.value} ({p.origin})" for p in plan.params if p.origin != "default"]
    title = f"{plan.title}\n" if plan.title else ""
    return [f"{title}{name} · {' · '.join(facts)}"]


def _table(plan: Plan, width: int) -> list[str]:
    from alchemist_runtime.schema.planning import not_run

    from alchemist_dsl.document.text import format_table

    doing = {n.id: n for n in plan.now.nodes} if plan.now else {}
    stuck = not_run(plan.nodes, lambda n: n.id in doing and doing[n.id].action == "reuse")
    rows = [_row(n, doing.get(n.id), stuck) for n in plan.nodes]
    return format_table(("step", "kind", "rows", "calls", "cost", "action", "why"), rows, width, right={2, 3, 4})


def _closing(node: Node) -> str:
    """How the rows of a step that was built came about: `of 2,000: short 12, not chosen 600, + 40 changed copies`."""
    from alchemist_dsl.explain.wording import count

    e = node.estimate
    reported = [(name.partition("."), x) for name, x in e.items()]
    words = [f"{why} {count(x)}" for (part, _, why), x in reported if part == "left_out"]
    words += [f"+ {count(x)} {what}" for (part, _, what), x in reported if part == "added"]
    return f"of {count(e['rows_in'])}: {', '.join(words)}" if "rows_in" in e and words else ""


def _row(node: Node, doing: NowNode | None, stuck: set[str]) -> tuple[str, ...]:
    from alchemist_dsl.explain.wording import count, dollars, reason, skip_reason

    why = "; ".join(reason(r) for r in doing.reasons) if doing else ""
    why = why or _closing(node)
    action = doing.action if doing else ""
    if action == "skip":
        why = skip_reason(node, stuck)
    e = node.estimate
    return (node.id, node.kind, count(e.get("rows")), count(e.get("calls")), dollars(e.get("usd")), action, why)


def _totals(plan: Plan) -> list[str]:
    from alchemist_runtime.schema.plan import TrainSpec

    from alchemist_dsl.explain.wording import count, dollars_range
    from alchemist_dsl.project.consent import keys_that_leave

    calls, usd = plan.totals.get("calls"), plan.totals.get("usd")
    out = []
    if plan.now is not None:
        counted = [(a, sum(n.action == a for n in plan.now.nodes)) for a in ("build", "extend", "reuse", "skip")]
        out.append("now      " + ", ".join(f"{n} {a}" for a, n in counted if n))
    if usd is not None and calls is not None:
        out.append(f"in all   {count(calls)} teacher calls, {dollars_range(usd)} from scratch")
    out += [*_covered(plan), *keys_that_leave(plan)]
    for node, spec in plan.of(TrainSpec):
        out += [*_training(node, spec), _template(node, spec)]
    if any(e.basis == "declared" for n in plan.nodes for e in n.estimate.values()):
        out.append("~ and ≤ are estimates; a token counts as 4 characters until a run has measured it")
    return out


def _covered(plan: Plan) -> list[str]:
    """How much of each mixture is there, where sources are declared missing."""
    from fractions import Fraction

    out = []
    for node in plan.nodes:
        if "covered" in node.estimate:
            gone = [t.name for t in getattr(node.spec, "take", []) if t.missing]
            share = Fraction(node.estimate["covered"].value or 1)
            out.append(f"covered  {node.id}: {covered(share, gone)}")
    return out


def _template(node: Node, spec: TrainSpec) -> str:
    """Which chat template a training takes, and the day that it writes."""
    match spec.chat_template:
        case {"training": name}:
            words = f'training("{name}")'
        case {"file": path}:
            words = path
        case {"model": str(model), "revision": str(commit)}:
            words = f"that of {model} at {commit[:12]}"
        case {"model": model}:
            words = f"that of {model}"
        case {"text": _}:
            words = "the recipe's own"
        case _:
            words = "that of the byte tokenizer" if spec.init.name == "scratch" else "the base's own"
    day = f", with the day {spec.date}" if spec.date is not None else ""
    return f"template {node.id}: {words}{day}"


def _training(node: Node, spec: TrainSpec) -> list[str]:
    """How a training will go, what its last run left out and cut, and what it takes on each GPU."""
    from alchemist_dsl.estimate.training import gigabytes
    from alchemist_dsl.explain.wording import count

    e = node.estimate
    what = f"packs of {spec.max_length:,} tokens" if spec.packing != "none" else "rows"
    steps, epoch, each = (count(e.get(n)) for n in ("steps", "steps_per_epoch", "tokens_per_step"))
    number = count(e.get("packs") or e.get("sequences"))
    out = [f"training {node.id}: {number} {what}, {epoch} steps an epoch, {each} tokens a step, {steps} steps in all"]
    if "trained" in e:
        words = [f"trained {count(e['trained'])} rows"]
        words += [f"held out {count(e['held_out'])}"] if "held_out" in e else []
        words += [f"cut {count(e['cut'])} at {spec.max_length:,} tokens"] if "cut" in e else []
        left = {n.partition(".")[2]: x for n, x in e.items() if n.startswith("left_out.")}
        words += [f"left out {count(x)} ({why})" for why, x in left.items()]
        out.append(f"         its last run {', '.join(words)}")
    if spec.packing != "none":
        out.append("         before step 1 it is proved on the model that no row of a pack sees another, else A814")
    if "memory" in e:
        size = {n: gigabytes(int(x.value or 0)) for n, x in e.items() if n.startswith("memory")}
        parts = ", ".join(f"{n.partition('.')[2]} {x}" for n, x in size.items() if n != "memory")
        out.append(f"         about {size['memory']} on each GPU under {spec.parallel}: {parts}")
    return out


def _checks(checks: list[Check]) -> list[str]:
    from alchemist_dsl.document.text import format_table

    rows = [(c.id, c.verdict if c.verdict != "unknown" else "open", c.text, c.value or "") for c in checks]
    return format_table(("check", "verdict", "promise", "expected"), rows, terminal_width(), right=set())


# --- summary ---------------------------------------------------------------------------------------------------------


def nothing_to_do(result: Result) -> bool:
    return all(d.action == "reused" for d in result.done)


def lines(ctx: Context, result: Result, seconds: float, width: int) -> list[str]:
    """The summary as lines of text, at most `width` columns wide."""
    out: list[str] = []
    if nothing_to_do(result):
        out.append(f"nothing to do: every result is there ({took(seconds)}, 0 teacher calls)")
    else:
        out += steps(ctx, result, width)
        out += calls(result)
    for done in result.done:
        if "entries" in done.figures and done.action in ("built", "equal"):
            out += ["", *mixture(done, width)]
    out += ["", *places(ctx, result)]
    return out


def steps(ctx: Context, result: Result, width: int) -> list[str]:
    """One line a step: rows in and out, and what each rule dropped."""
    from alchemist_runtime.storage.store import closing

    rows = []
    for done in result.done:
        f = done.figures
        text, out = closing(f), _rows(done)
        if f.get("last_loss") is not None:
            text, out = training(f), f.get("rows")
        elif "calls_new" in f:
            requested = f"{f['calls_new']:,} calls, {f['calls_cached']:,} cached"
            text = f"{text}; {requested}" if text else requested
        elif "path" in f:
            text = str(f["path"] or "")
        rows.append((done.node, done.kind, amount(f.get("rows_in")), amount(out), text, _state(done)))
    return format_table(("step", "kind", "rows in", "rows out", "left out, called", ""), rows, width, right={2, 3})


def _rows(done: Done) -> int | None:
    """Rows that leave a step: those of its port, or of the files that it wrote."""
    splits: Mapping[str, int] = done.figures.get("splits", {})
    return sum(splits.values()) if done.rows is None and splits else done.rows


def training(figures: Mapping[str, Any]) -> str:
    """What was trained, left out and cut, and the loss, in words."""
    from alchemist_runtime.storage.store import trained

    world = figures.get("world_size", 1)
    layout = figures.get("prepared", {}).get("layout")
    found = f", replies as {layout} lays them out" if layout else ""
    rows = f"{trained(figures['prepared'])}; " if "prepared" in figures else ""
    steps, packs = figures.get("steps", 0), figures.get("prepared", {}).get("packs")
    part = steps * figures.get("per_step", 0) / packs if packs else 1
    passes = f" ({part:.2g} of a pass)" if part < 1 else ""
    return (
        f"{rows}loss {figures['first_loss']:.3f} to {figures['last_loss']:.3f} in {steps:,} steps{passes}"
        f" on {world} process{'es' if world != 1 else ''}{found}"
    )


def _state(done: Done) -> str:
    return {"built": took(done.seconds), "reused": "as before", "equal": "equal, not rebuilt"}.get(
        done.action, done.action
    )


def calls(result: Result) -> list[str]:
    """Teacher calls and money of the run."""
    requested = [d for d in result.done if "calls_new" in d.figures and d.action == "built"]
    if not requested:
        return ["", "teacher calls: 0"]
    new = sum(d.figures["calls_new"] for d in requested)
    cached = sum(d.figures["calls_cached"] for d in requested)
    money = sum((Fraction(str(d.figures.get("usd") or 0)) for d in requested), Fraction(0))
    failed = sum(d.figures.get("calls_failed", 0) for d in requested)
    text = f"teacher calls: {new:,} new, {cached:,} from the cache; {dollar_amount(money)}"
    passing = sum(d.figures.get("calls_passing", 0) for d in result.done)
    refused = sum(d.figures.get("calls_refused", 0) for d in result.done)
    out = ["", text + (f"; {failed:,} failed" if failed else "")]
    if passing:
        rows = f"{passing:,} rows" if passing > 1 else "one row"
        out.append(f"{rows} failed for a reason that may pass: the next run asks again")
    if refused:
        rows = f"{refused:,} rows were" if refused > 1 else "one row was"
        out.append(f"{rows} refused: `run --retry refused` asks again")
    return out


def mixture(done: Done, width: int) -> list[str]:
    """Realised shares of a mixture, as a table with bars."""
    entries: Sequence[Mapping[str, Any]] = done.figures.get("entries", [])
    total = max(1, done.figures.get("rows", 0) or sum(e["rows"] for e in entries))
    tokens = max(1, sum(e.get("tokens") or 0 for e in entries))
    rows = []
    for e in entries:
        share = e["rows"] / total
        of_tokens = f"{100 * e['tokens'] / tokens:.1f}%" if e.get("tokens") else ""
        rows.append(
            (
                e["name"],
                e.get("asked", ""),
                amount(e["rows"]),
                f"{100 * share:.1f}%",
                of_tokens,
                f"{e.get('epochs', 1):.2f}",
                "█" * round(20 * share),
            )
        )
    head = ("entry", "asked", "rows", "share", "of tokens", "epochs", "")
    out = [f"mixture {done.node}", *format_table(head, rows, width, right={2, 3, 4, 5})]
    gone = [e["name"] for e in entries if e.get("missing")]
    if gone:
        out.append(f"covered  {covered(Fraction(done.figures.get('covered', 1)), gone)}")
    return out


def covered(share: Fraction, gone: Sequence[str]) -> str:
    """How much of a mixture is there, and what is declared missing."""
    named = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
    verb = "are" if len(gone) > 1 else "is"
    return f"{100 * float(share):.3g}% of the recipe; {named} {verb} declared missing"


def places(ctx: Context, result: Result) -> list[str]:
    """Where results lie, relative to the project."""
    from alchemist_runtime.engine import local

    out = []
    for done in result.done:
        if done.figures.get("path"):
            out.append(f"dataset  {done.node}: {done.figures['path']}")
        if done.kind == "train" and done.action != "not run":
            folder = local.outputs_of(ctx.plan).as_posix()
            out.append(f"model    {done.node}: .alchemist/outputs/{folder}/{done.node}/model")
    return out


def checks(verdicts: Sequence[tuple[Any, str, str | None]], stuck: Collection[str]) -> list[str]:
    """One line a check: its verdict, its text, the value found, or the step that was not run and leaves it open."""
    if not verdicts:
        return []
    out = [""]
    for check, verdict, value in verdicts:
        found = f"  (it is {value})" if value is not None else ""
        open_ = [name for name in check.reads if name in stuck]
        if open_:
            found = f"  (`{open_[0]}` is not run)"
        out.append(f"check    {verdict:<7} {check.id}: {check.text}{found}")
    return out


def data(result: Result, verdicts: Sequence[tuple[Any, str, str | None]], seconds: float) -> dict[str, Any]:
    """The summary as data, for `--format json`."""
    return {
        "run": result.run,
        "seconds": round(seconds, 3),
        "nodes": [
            {
                "node": d.node,
                "kind": d.kind,
                "action": d.action,
                "key": d.key,
                "rows": d.rows,
                "figures": dict(d.figures),
            }
            for d in result.done
        ],
        "checks": [{"id": c.id, "expr": c.text, "verdict": v, "value": x} for c, v, x in verdicts],
    }
