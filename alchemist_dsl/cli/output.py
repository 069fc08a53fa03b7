"""How commands print diagnostics of a recipe and problems of a run: in one style, with the recipe's own line where
there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from alchemist_dsl.document.text import colored
from alchemist_dsl.project.folder import unopened

if TYPE_CHECKING:
    from alchemist_runtime.schema.codes import Problem
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.project.workspace import Compiled
    from alchemist_dsl.source import SourceFile, Span


def show(
    diagnostics: Sequence[Diagnostic],
    sources: Mapping[str, SourceFile],
    format_: Literal["text", "concise", "json"] = "text",
) -> None:
    """Print diagnostics to standard error."""
    if not diagnostics:
        return
    from alchemist_dsl.diagnostics.render import render

    click.echo(render(diagnostics, sources, format=format_, color=colored(sys.stderr)).rstrip("\n") + "\n", err=True)


def worst(diagnostics: Sequence[Diagnostic]) -> int:
    """The exit code that diagnostics ask for: 1 where one is an error."""
    from alchemist_runtime.schema.codes import CODES

    def severity(d: Diagnostic) -> str:
        return str(d.severity or CODES[d.code].severity)

    return int(any(severity(d) == "error" for d in diagnostics))


def report(compiled: Compiled) -> int:
    """Print a recipe's diagnostics; returns 1 where one is an error."""
    show(compiled.diagnostics, compiled.sources)
    return worst(compiled.diagnostics)


def show_problem(compiled: Compiled, problem: Problem) -> None:
    """Print what went wrong while a plan was carried out, at the block that it concerns."""
    from alchemist_dsl.diagnostics.model import Diagnostic, Severity

    span = _span(compiled, problem)
    if span is None:
        click.echo(format_problem(problem, _at(compiled, problem)), err=True)
        return
    found = Diagnostic(
        problem.code,
        problem.headline,
        span,
        label=problem.place or "",
        note=problem.note,
        help=problem.help,
        severity=Severity(problem.severity),
    )
    show([found], compiled.sources)


def _span(compiled: Compiled, problem: Problem) -> Span | None:
    if problem.node is None or compiled.program is None:
        return None
    block = compiled.program.blocks.get(problem.node)
    if block is None:
        return None
    entry = next((e.span for e in block.entries if e.name == problem.entry), None)
    return entry or block.name_span


def _at(compiled: Compiled, problem: Problem) -> str | None:
    """The place that a plan tells of, where its recipe is not at hand."""
    nodes = () if compiled.plan is None else compiled.plan.nodes
    at = next((n.at for n in nodes if n.id == problem.node), None)
    return None if at is None else f"{at.file}:{at.line}:{at.column}"


def format_problem(problem: Problem, at: str | None = None) -> str:
    """A problem as text without the recipe's line; `at` names its place there."""
    lines = [f"{problem.severity}[{problem.code} {problem.slug}]: {problem.headline}"]
    lines += [f" --> {place}" for place in (at, problem.place) if place]
    if problem.note:
        lines.append(f"note: {problem.note}")
    if problem.help:
        lines.append(f"help: {problem.help}")
    return "\n".join(lines)


# --- compiling -------------------------------------------------------------------------------------------------------

#: Problems of the world, not of the recipe: they exit with 3.
WORLD: Final = frozenset({"A306", "A309", "A702", "A708", "A902"})


def compiled_or_exit(recipe: Path, *, warnings: bool = True, **options: Any) -> Compiled:
    """Compile and print the diagnostics; exits where there is no such recipe or an option cannot be read."""
    from alchemist_runtime.schema.codes import USAGE

    from alchemist_dsl.compiler import severity
    from alchemist_dsl.project.folder import ParamsError
    from alchemist_dsl.project.workspace import compile_recipe

    try:
        result = compile_recipe(recipe, **options)
    except ParamsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        click.echo(f"error: {unopened(recipe, error)}", err=True)
        sys.exit(USAGE)
    show([d for d in result.diagnostics if warnings or severity(d) == "error"], result.sources)
    return result


def exit_code(result: Compiled) -> int:
    """0 fine; 1 the recipe is wrong or a check says no; 3 something could not be evaluated."""
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK, SAID_NO

    from alchemist_dsl.compiler import severity

    codes = {d.code for d in result.diagnostics if severity(d) == "error"}
    if not codes:
        return OK
    return NOT_CARRIED_OUT if codes <= WORLD else SAID_NO


def plan_or_exit(path: Path) -> Plan:
    """A plan file; exits with a message where it is none, or one that is not to be trusted."""
    from alchemist_runtime.schema.codes import USAGE, RunError
    from alchemist_runtime.schema.plan import NotAPlan, load

    try:
        return load(path.read_bytes(), str(path))
    except OSError as error:
        click.echo(f"error: {unopened(path, error, 'plan')}", err=True)
    except NotAPlan as error:
        click.echo(f"error: `{path}` is no plan: {error}", err=True)
    except RunError as error:
        click.echo(format_problem(error.problem), err=True)
        sys.exit(error.exit_code)
    sys.exit(USAGE)


def only_recipe(folder: Path) -> Path | None:
    """The one recipe of a folder, None where there are none or several."""
    found: Iterable[Path] = sorted(folder.glob("*.recipe"))
    names = list(found)
    return names[0] if len(names) == 1 else None
