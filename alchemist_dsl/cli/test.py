"""`alchemist test`: carries out the `test` blocks of recipes, offline, with a mock in the place of the teacher."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alchemist_dsl.cli.options import format_option

if TYPE_CHECKING:
    from alchemist_dsl.cli.test_runner import Tested


@click.command()
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "name", metavar="NAME", help="Only tests whose name or step contains this text.")
@format_option(help="For people, or JSON.")
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write JUnit XML for CI as well."
)
def test(recipes: tuple[Path, ...], name: str | None, format_: str, junit: Path | None) -> None:
    """Carry out the `test` blocks of RECIPES: each one step over the rows that the test gives.

    Without RECIPE those of the current folder; a folder stands for all recipes in it."""
    from alchemist_dsl.cli.check import expand_recipes

    begun = time.perf_counter()
    found = [_tested(path, name) for path in expand_recipes(recipes)]
    seconds = time.perf_counter() - begun
    if name is not None and not any(one.results or one.wrong for one in found):
        _nothing_called(name, found)
    _print(found, format_, seconds)
    if junit is not None:
        _write(junit, found, seconds)
    sys.exit(_code(found))


def _tested(path: Path, name: str | None) -> Tested:
    from alchemist_dsl.cli.check import unopened_is_usage
    from alchemist_dsl.cli.output import show
    from alchemist_dsl.cli.test_runner import run_tests
    from alchemist_dsl.compiler import severity

    with unopened_is_usage(path):
        checked = run_tests(path, name)
    if checked.wrong:
        show([d for d in checked.diagnostics if severity(d) == "error"], checked.sources)
    return checked


def _nothing_called(name: str, found: list[Tested]) -> None:
    from alchemist_dsl.diagnostics.model import near

    known = [n for one in found for n in one.found]
    close = near(name, known, 3) or known[:3]
    hint = "; there are " + ", ".join(f"`{n}`" for n in close) if close else ""
    raise click.UsageError(f"no test has `{name}` in its name or the name of its step{hint}")


def _print(found: list[Tested], format_: str, seconds: float) -> None:
    from alchemist_dsl.cli import test_report
    from alchemist_dsl.document.text import colored

    if format_ == "json":
        import json

        text = json.dumps(test_report.data(found, _display(found), seconds), indent=2, ensure_ascii=False)
        click.echo(text)
        return
    on = colored(sys.stdout)

    def paint(colour: str, text: str) -> str:
        return click.style(text, fg=colour) if on else text

    for line in test_report.lines(found, _display(found), paint):
        click.echo(line)
    click.echo()
    click.echo(test_report.total(found, seconds))


def _write(path: Path, found: list[Tested], seconds: float) -> None:
    from alchemist_dsl.cli.test_report import junit

    try:
        path.write_bytes(junit(found, _display(found), seconds))
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be written: {error.strerror}") from None


def _display(found: list[Tested]) -> Callable[[str], str]:
    """Return what shows a path of the recipes' projects as one would write it in the current folder."""
    from alchemist_dsl.cli.check import display_path

    return display_path({file: one.project.root for one in found for file in (one.recipe, *one.sources)})


def _code(found: list[Tested]) -> int:
    """0 all hold; 1 one does not, or a recipe is wrong; 3 one could not be carried out."""
    from alchemist_runtime.schema.codes import NOT_CARRIED_OUT, OK, SAID_NO

    outcomes = {r.outcome for one in found for r in one.results}
    if "failed" in outcomes or any(one.wrong for one in found):
        return SAID_NO
    return NOT_CARRIED_OUT if "error" in outcomes else OK
