"""`alchemist diff`: what a change of recipes means in rows, teacher calls, dollars and training."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from alchemist_dsl.cli.diff_data import Results
    from alchemist_dsl.comparison.model import Diff


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

    from alchemist_dsl.cli.output import WORLD
    from alchemist_dsl.project.operands import BadOperand, Settings, compared, comparison

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
    made = compared(found, lambda text: click.echo(f"note: {text}", err=True))
    rows = diff_data.recipes(found, 3 if samples is None else samples) if data_ else None
    _print(made, format_, all_, rows)
    unread = [d["code"] for r in made.recipes if r.status == "unreadable" for d in r.diagnostics]
    if any(r.status == "unreadable" for r in made.recipes):
        sys.exit(NOT_CARRIED_OUT if unread and set(unread) <= WORLD else SAID_NO)
    if rows is not None and any(r.outcome == "incomplete" for _, r in rows):
        sys.exit(NOT_CARRIED_OUT)
    different = made.changed or any(r.outcome == "different" for _, r in rows or ())
    sys.exit(2 if exit_code and different else OK)


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
        from alchemist_dsl.comparison.markdown import markdown

        page = [] if rows is None else diff_data.page(rows)
        click.echo("\n".join([*markdown(made), *page]))
        return
    from alchemist_dsl.cli.compile import terminal_width
    from alchemist_dsl.cli.output import colored
    from alchemist_dsl.comparison.text import lines

    width, color = terminal_width(), colored(sys.stdout)
    shown: Sequence[str] = lines(made, width, color=color, everything=all_)
    more = [] if rows is None else diff_data.lines(rows, width, color)
    click.echo("\n".join([*shown, *more]))
