"""`alchemist graph`: the steps of a recipe or a plan as a drawing, on the terminal or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from alchemist_dsl.cli.options import RecipeOptions, recipe_options

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.graph.model import Graph

FORMATS: Final = ("text", "mermaid", "svg", "html", "json")
#: The format that the end of a file's name asks for.
_ENDINGS: Final = {".txt": "text", ".mmd": "mermaid", ".svg": "svg", ".html": "html", ".htm": "html", ".json": "json"}


@click.command()
@click.argument("plan", metavar="RECIPE|PLAN", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Form of the drawing; else by the end of FILE's name, else text.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the drawing to this file.")
@click.option(
    "--against", metavar="SIDE", help="Draw what changed since SIDE: a recipe, a plan, REV:path or a git revision."
)
@recipe_options("upto")
def graph(plan: Path, format_: str | None, output: Path | None, against: str | None, options: RecipeOptions) -> None:
    """Draw the steps of RECIPE, or of a plan file: what each reads, its rows and cost, and what a run would do with it.

    `-` is a recipe on standard input. SVG and HTML are one file each that loads nothing."""
    form = _format(format_, output)
    if output is not None and _same(plan, output):
        raise click.UsageError(f"`{output}` is the input; choose another output file")
    if against is not None:
        if options.upto:
            raise click.UsageError("--against compares whole plans: leave --upto out")
        found = _compared(against, plan, options)
    else:
        found = _graph(plan, options)
    _write(render(found, form, color=output is None), output)


def _compared(against: str, plan: Path, options: RecipeOptions) -> Graph:
    """The graph with what changed since another side; exits where one of the two cannot be compared."""
    from alchemist_runtime.schema.codes import SAID_NO, USAGE

    from alchemist_dsl.comparison.compare import compare, unreadable
    from alchemist_dsl.graph.model import Mark, compared, graph_of
    from alchemist_dsl.project.operands import BadOperand, Settings, comparison

    try:
        pairs = comparison((against, str(plan)), Settings(options.sets, options.params_file, options.variant)).pairs
    except BadOperand as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    before, after = pairs[0]
    assert before is not None and after is not None  # both are named
    if before.plan is None or after.plan is None:
        click.echo("\n".join(unreadable(before, after).messages), err=True)
        sys.exit(SAID_NO)
    marks: dict[str, Mark] = {}
    for n in compare(before, after).nodes:
        if n.status != "changed":
            marks[n.id] = n.status
        elif n.category not in ("cosmetic", "metadata"):
            marks[n.id] = "changed" if n.direct else "indirect"
    return compared(graph_of(before.plan), graph_of(after.plan), marks)


def _format(requested: str | None, output: Path | None) -> str:
    if requested is not None:
        return requested
    return "text" if output is None else _ENDINGS.get(output.suffix.lower(), "text")


def _same(plan: Path, output: Path) -> bool:
    try:
        return output.samefile(plan)
    except OSError:  # one of them is not there
        return False


def _graph(path: Path, options: RecipeOptions) -> Graph:
    """The graph of a recipe or of a plan file; exits where there is none."""
    from alchemist_dsl.cli.output import compiled_or_exit, exit_code
    from alchemist_dsl.graph.model import graph_of
    from alchemist_dsl.project.folder import is_plan

    if is_plan(path):
        if options.of_recipe:
            raise click.UsageError("--set, --params and --variant belong to a recipe; a plan holds their result")
        return _of_plan(path, options.upto)
    result = compiled_or_exit(path, warnings=False, **options.arguments())
    if result.plan is None:
        sys.exit(exit_code(result))
    return graph_of(result.plan)


def _of_plan(path: Path, names: tuple[str, ...]) -> Graph:
    from alchemist_dsl.cli.output import plan_or_exit
    from alchemist_dsl.cli.show import find_node
    from alchemist_dsl.graph.model import graph_of, upto

    plan = plan_or_exit(path)
    _whole(plan, path)
    wanted = [find_node(plan, name).id for name in names]
    found = graph_of(plan)
    return upto(found, wanted) if wanted else found


def _whole(plan: Plan, path: Path) -> None:
    """Exits where the steps of a plan file do not hang together: it was written by hand, or cut."""
    from alchemist_runtime.schema.codes import USAGE

    from alchemist_dsl.passes import IllegalPlan, verify_plan

    try:
        verify_plan(plan)
    except IllegalPlan as error:
        click.echo(f"error: `{path}` is no plan: {error}", err=True)
        sys.exit(USAGE)


def render(graph: Graph, form: str, *, color: bool = False) -> str:
    """A graph in one of the formats."""
    match form:
        case "mermaid":
            from alchemist_dsl.graph.mermaid import flowchart

            return flowchart(graph)
        case "svg":
            from alchemist_dsl.graph.svg import image

            return image(graph)
        case "html":
            from alchemist_dsl.graph.page import page

            return page(graph)
        case "json":
            import json

            from alchemist_dsl.graph.mermaid import data

            return json.dumps(data(graph), indent=2, ensure_ascii=False) + "\n"
        case _:
            from alchemist_dsl.cli.compile import terminal_width
            from alchemist_dsl.document.text import colored
            from alchemist_dsl.graph.text import draw

            return draw(graph, terminal_width(), color=color and colored(sys.stdout))


def _write(drawn: str, output: Path | None) -> None:
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT

    if output is None:
        click.echo(drawn, nl=False)
        return
    try:
        output.write_text(drawn, "utf-8")
    except OSError as error:
        click.echo(f"error: `{output}` cannot be written: {error.strerror}", err=True)
        sys.exit(NOT_CARRIED_OUT)
