"""`alchemist diff --data`: the sides of a comparison -> what the rows of their results differ in, as it is printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

if TYPE_CHECKING:
    from alchemist_runtime.engine.compare import DataDiff
    from alchemist_runtime.schema.plan import Node

    from alchemist_dsl.comparison.model import Diff
    from alchemist_dsl.comparison.side import Side
    from alchemist_dsl.project.operands import Comparison

#: For each recipe what it is called, and what its results differ in.
Results: TypeAlias = "list[tuple[str, DataDiff]]"
_FILES: Final = (".parquet", ".jsonl")


def paths(operands: Sequence[str]) -> tuple[Path, Path] | None:
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


def show_paths(before: Path, after: Path, samples: int, format_: str, exit_code: bool) -> int:
    """Compare two folders or files and print what differs; returns the exit code."""
    from alchemist_runtime.engine.compare import compare_paths
    from alchemist_runtime.schema.errors import NOT_CARRIED_OUT, OK, RunError

    from alchemist_dsl.cli.datadiff import data_json, data_lines, data_markdown
    from alchemist_dsl.cli.output import plain

    try:
        found = compare_paths(before, after, samples=samples)
    except RunError as error:
        click.echo(plain(error.problem), err=True)
        return error.exit_code
    if format_ == "json":
        click.echo(_json(data_json(found)))
    elif format_ == "markdown":
        click.echo("\n".join(data_markdown(found)))
    else:
        from alchemist_dsl.cli.compile import terminal_width
        from alchemist_dsl.cli.output import colored

        click.echo("\n".join(data_lines(found, terminal_width(), colored(sys.stdout))))
    if found.outcome == "incomplete":
        return NOT_CARRIED_OUT
    return 2 if exit_code and found.outcome == "different" else OK


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


# --- recipes, plans, revisions ----------------------------------------------------------------------------------------


def recipes(found: Comparison, samples: int) -> Results:
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

    from alchemist_dsl.comparison.matching import matched

    old, new = before or after, after or before
    assert old is not None and new is not None
    assert old.plan is not None and new.plan is not None
    if before is None:
        pairs: list[tuple[str | None, str | None]] = [(None, n.id) for n in new.plan.nodes]
    elif after is None:
        pairs = [(n.id, None) for n in old.plan.nodes]
    else:
        steps = matched(old.plan, new.plan)
        pairs = [(_id(m.before), _id(m.after)) for m in steps]
    stores = _store(old), _store(new)
    return compare_plans(stores[0], old.plan, new.plan, pairs, samples=samples, after_store=stores[1])


def _id(node: Node | None) -> str | None:
    return None if node is None else node.id


def _store(side: Side) -> Any:
    from alchemist_dsl.project.workspace import Project

    return Project(side.root or Path.cwd()).store


def lines(results: Results, width: int, colour: bool) -> list[str]:
    """The results of all recipes as lines, behind what `diff` says of the recipes."""
    from alchemist_dsl.cli.datadiff import data_lines

    out: list[str] = []
    for name, found in results:
        out += ["", *([f"{name}:"] if len(results) > 1 else []), *data_lines(found, width, colour)]
    return out


def page(results: Results) -> list[str]:
    """The same as Markdown."""
    from alchemist_dsl.cli.datadiff import data_markdown

    out: list[str] = []
    for name, found in results:
        out += ["", *([f"#### `{name}`", ""] if len(results) > 1 else []), *data_markdown(found)]
    return out


def published(made: Diff, results: Results) -> dict[str, Any]:
    """The whole comparison as `docs/schemas/diff.json` describes it."""
    from alchemist_dsl.cli.datadiff import data_model

    out = made.model_dump(mode="json", exclude_none=True)
    rows = [data_model(found, name) for name, found in results]
    return {**out, "data": [r.model_dump(mode="json") for r in rows]}
