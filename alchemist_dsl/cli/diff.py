"""`alchemist diff`: what a change of recipes means in rows, teacher calls, dollars and training."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.cli.diff_data import Results
    from alchemist_dsl.cli.diff_operands import Comparison
    from alchemist_dsl.diff.model import Diff, RecipeDiff
    from alchemist_dsl.diff.side import Side


@click.command()
@click.argument("sides", metavar="[A] [B]", nargs=-1)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="Form of what is printed.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 2 where the sides differ.")
@click.option("--all", "all_", is_flag=True, help="Show also what only looks different.")
@click.option(
    "--variant", metavar="NAME", help="With one recipe: what the variant changes in it; with two sides: of both."
)
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Value of a parameter, on both sides.")
@click.option("--params", type=click.Path(path_type=Path), help="File with values of parameters, TOML or JSON.")
@click.option(
    "--data",
    "data_",
    is_flag=True,
    help="Compare also the rows of the results: those of two sides, of two exported folders, of two files.",
)
@click.option("--samples", type=click.IntRange(0, 100), metavar="N", help="With --data: show N rows of each sort (3).")
def diff(
    sides: tuple[str, ...],
    format_: str,
    exit_code: bool,
    all_: bool,
    variant: str | None,
    sets: tuple[str, ...],
    params: Path | None,
    data_: bool,
    samples: int | None,
) -> None:
    """Compare two sides by meaning: which rows, calls and dollars a change is, and what trains again.

    A side is a recipe, a plan file, REV:path, or a git revision for all recipes that changed since. Without B, A is
    compared with what lies here; without both, the last commit is. A..B compares two revisions.
    """
    from alchemist_runtime.schema.errors import NOT_CARRIED_OUT, OK, SAID_NO, USAGE

    from alchemist_dsl.cli.compiling import WORLD
    from alchemist_dsl.cli.diff_operands import BadOperand, Settings, comparison

    if samples is not None and not data_:
        raise click.UsageError("--samples is about --data: give both")
    if data_:
        from alchemist_dsl.cli import diff_data

        paths = diff_data.paths(sides)
        if paths is not None:
            sys.exit(diff_data.show_paths(*paths, 3 if samples is None else samples, format_, exit_code))
    try:
        found = comparison(sides, Settings(sets, params, variant))
    except BadOperand as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    made = compared(found)
    rows = diff_data.recipes(found, 3 if samples is None else samples) if data_ else None
    _print(made, format_, all_, rows)
    unread = [d["code"] for r in made.recipes if r.status == "unreadable" for d in r.diagnostics]
    if any(r.status == "unreadable" for r in made.recipes):
        sys.exit(NOT_CARRIED_OUT if unread and set(unread) <= WORLD else SAID_NO)
    if rows is not None and any(r.outcome == "incomplete" for _, r in rows):
        sys.exit(NOT_CARRIED_OUT)
    different = made.changed or any(r.outcome == "different" for _, r in rows or ())
    sys.exit(2 if exit_code and different else OK)


def compared(found: Comparison) -> Diff:
    """The whole comparison as a value."""
    from alchemist_dsl.diff.project_diff import whole

    recipes = [_recipe(b, a) for b, a in found.pairs]
    return whole(found.before, found.after, recipes, found.same)


def _recipe(before: Side | None, after: Side | None) -> RecipeDiff:
    from alchemist_dsl.diff.compare import compare
    from alchemist_dsl.diff.project_diff import one_sided, unreadable

    if before is None or after is None:
        some = after or before
        assert some is not None
        if some.plan is None:
            return unreadable(before, after)
        return one_sided(before, _looked_at(None, after) if after is not None else None)
    if before.plan is None or after.plan is None:
        return unreadable(before, after)
    looked = _looked_at(before.plan, after)
    if looked.ahead is not None:
        before = _with_store(before, looked)
    return compare(before, looked)


def _looked_at(before: Plan | None, side: Side) -> Side:
    """The side with what its store says of the questions that a run would ask, and of results that lie there."""
    plan = side.plan
    if side.ahead is None or side.root is None or plan is None or plan.now is None:
        return side
    from alchemist_runtime.engine.preview_calls import ahead
    from alchemist_runtime.schema.errors import RunError
    from alchemist_runtime.schema.plan import TeacherStepSpec

    from alchemist_dsl.diff.impact import Ahead
    from alchemist_dsl.project.workspace import Project

    project = Project(side.root)
    doing = {n.id for n in plan.now.nodes if n.action in ("build", "extend")}
    nodes = [n for n in plan.nodes if n.id in doing and isinstance(n.spec, TeacherStepSpec)]
    try:
        found = ahead(plan, project.root, project.state, nodes) if nodes else {}
        stored = {n.key for n in (before.nodes if before else []) if project.store.manifest(n.key)}
    except (RunError, OSError) as error:
        text = error.problem.headline if isinstance(error, RunError) else str(error)
        click.echo(f"note: the store cannot be looked at ({text}); new calls are estimates", err=True)
        return replace(side, ahead=None)
    looked = {k: Ahead(a.new, a.cached, a.least, a.most, a.rows) for k, a in found.items()}
    return _with_store(replace(side, ahead=looked, stored=frozenset(stored)), side)


def _with_store(side: Side, here: Side) -> Side:
    """The side with figures of results that lie in the store, where `recipe.lock` has none of them."""
    from alchemist_dsl.project.workspace import Project, measured

    if side.plan is None or side.measured is None or here.root is None:
        return side
    store, nodes, known = (Project(here.root).store, {n.key: n for n in side.plan.nodes}, side.measured)

    def figures(key: str) -> Mapping[str, Any] | None:
        fact = known(key)
        return measured(nodes[key], store) if fact is None and key in nodes else fact

    return replace(side, measured=figures)


def _print(made: Diff, format_: str, all_: bool, rows: Results | None) -> None:
    """Print the comparison, and behind it that of the rows where there is one."""
    if rows is not None:
        from alchemist_dsl.cli import diff_data
    if format_ == "json":
        if rows is None:
            click.echo(made.model_dump_json(indent=2, exclude_none=True))
        else:
            found = diff_data.published(made, rows)
            click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if format_ == "markdown":
        from alchemist_dsl.diff.markdown import markdown

        page = [] if rows is None else diff_data.page(rows)
        click.echo("\n".join([*markdown(made), *page]))
        return
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.cli.output import colored
    from alchemist_dsl.diff.text import lines

    width, color = terminal_width(), colored(sys.stdout)
    shown: Sequence[str] = lines(made, width, color=color, everything=all_)
    more = [] if rows is None else diff_data.lines(rows, width, color)
    click.echo("\n".join([*shown, *more]))
