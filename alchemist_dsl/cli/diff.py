"""`alchemist diff`: what a change of recipes means in rows, teacher calls, dollars and training."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from alchemist_dsl.cli.options import format_option
from alchemist_dsl.document.blocks import Block, Heading, markdown, terminal
from alchemist_dsl.document.text import colored

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff
    from alchemist_runtime.schema.plan import Node

    from alchemist_dsl.comparison.model import Diff
    from alchemist_dsl.comparison.side import Side
    from alchemist_dsl.project.operands import Comparison

#: For each recipe what it is called, and what its results differ in.
Results: TypeAlias = "list[tuple[str, DataDiff]]"
_FILES: Final = (".parquet", ".jsonl")


@click.command()
@click.argument("sides", metavar="[A] [B]", nargs=-1)
@format_option("markdown", "json")
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
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK, SAID_NO, USAGE

    from alchemist_dsl.cli.output import WORLD
    from alchemist_dsl.project.operands import BadOperand, Settings, compared, comparison

    if samples is not None and not data_:
        raise click.UsageError("--samples is about --data: give both")
    if data_:
        paths = _paths(sides)
        if paths is not None:
            sys.exit(_compare_paths(*paths, 3 if samples is None else samples, format_, exit_code))
    try:
        found = comparison(sides, Settings(sets, params, variant))
    except BadOperand as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    result = compared(found, lambda text: click.echo(f"note: {text}", err=True))
    rows = _recipes(found, 3 if samples is None else samples) if data_ else None
    _print(result, format_, all_, rows)
    unread = [d["code"] for r in result.recipes if r.status == "unreadable" for d in r.diagnostics]
    if any(r.status == "unreadable" for r in result.recipes):
        sys.exit(NOT_CARRIED_OUT if unread and set(unread) <= WORLD else SAID_NO)
    if rows is not None and any(r.outcome == "incomplete" for _, r in rows):
        sys.exit(NOT_CARRIED_OUT)
    different = result.changed or any(r.outcome == "different" for _, r in rows or ())
    sys.exit(2 if exit_code and different else OK)


def _print(result: Diff, format_: str, all_: bool, rows: Results | None) -> None:
    """Print the comparison, and behind it that of the rows where there is one."""
    if format_ == "json":
        data = result.model_dump(mode="json", exclude_none=True)
        _echo_json(data if rows is None else {**data, "data": [_row_data(found, name) for name, found in rows]})
        return
    from alchemist_dsl.comparison.report import document, sides

    blocks = document(result, everything=all_ or format_ == "markdown")
    if format_ == "markdown":
        blocks.append(sides(result))
    for name, found in rows or ():
        head = [Heading([("name", name)])] if len(rows or ()) > 1 else []
        blocks += [*head, *_row_document(found)]
    click.echo("\n".join(_rendered(blocks, format_)))


def _echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _row_data(result: DataDiff, name: str | None = None) -> dict[str, Any]:
    from alchemist_dsl.cli.data_report import data_model

    return data_model(result, name).model_dump(mode="json")


def _row_document(result: DataDiff) -> list[Block]:
    from alchemist_dsl.cli.data_report import data_document

    return data_document(result)


def _rendered(blocks: Sequence[Block], format_: str) -> list[str]:
    from alchemist_dsl.cli.compile import terminal_width

    return markdown(blocks) if format_ == "markdown" else terminal(blocks, terminal_width(), colored(sys.stdout))


# --- rows of results --------------------------------------------------------------------------------------------------


def _paths(operands: Sequence[str]) -> tuple[Path, Path] | None:
    """Two exported folders or two files of rows; None where the operands are recipes, plans or revisions."""
    found = [Path(o) for o in operands]
    if not any(map(_rows, found)):
        return None
    if len(found) != 2:
        raise click.UsageError("name two exported folders, or two files of rows")
    for path in found:
        if not _rows(path) and path.is_file():
            raise click.UsageError(f"`{path}` holds no rows: it cannot be compared with rows")
    return found[0], found[1]


def _rows(path: Path) -> bool:
    """Whether a path is data: a file of rows, or a folder without a recipe in it."""
    if path.suffix in _FILES:
        return True
    return path.is_dir() and next(path.rglob("*.recipe"), None) is None


def _compare_paths(before: Path, after: Path, samples: int, format_: str, exit_code: bool) -> int:
    """Compare two folders or files and print what differs; returns the exit code."""
    from alchemist_runtime.engine.compare import compare_paths
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK, RunError

    from alchemist_dsl.cli.output import format_problem

    try:
        found = compare_paths(before, after, samples=samples)
    except RunError as error:
        click.echo(format_problem(error.problem), err=True)
        return error.exit_code
    if format_ == "json":
        _echo_json(_row_data(found))
    else:
        click.echo("\n".join(_rendered(_row_document(found), format_)))
    if found.outcome == "incomplete":
        return NOT_CARRIED_OUT
    return 2 if exit_code and found.outcome == "different" else OK


def _recipes(found: Comparison, samples: int) -> Results:
    """The results of every pair of sides that both compile."""
    out: Results = []
    for before, after in found.pairs:
        some = after or before
        if some is None or any(s is not None and s.plan is None for s in (before, after)):
            continue  # what does not compile is said already
        out.append((some.path, _compared(before, after, samples)))
    return out


def _compared(before: Side | None, after: Side | None, samples: int) -> DataDiff:
    from alchemist_runtime.engine.compare import compare_plans

    from alchemist_dsl.comparison.steps import match_steps

    old, new = before or after, after or before
    assert old is not None and new is not None
    assert old.plan is not None and new.plan is not None
    if before is None:
        pairs: list[tuple[str | None, str | None]] = [(None, n.id) for n in new.plan.nodes]
    elif after is None:
        pairs = [(n.id, None) for n in old.plan.nodes]
    else:
        steps = match_steps(old.plan, new.plan)
        pairs = [(_id(m.before), _id(m.after)) for m in steps]
    stores = _store(old), _store(new)
    return compare_plans(stores[0], old.plan, new.plan, pairs, samples=samples, after_store=stores[1])


def _id(node: Node | None) -> str | None:
    return None if node is None else node.id


def _store(side: Side) -> Any:
    from alchemist_dsl.project.workspace import Project

    return Project(side.root or Path.cwd()).store
