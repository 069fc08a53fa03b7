"""`alchemist export`: a `train` block for another training tool: an axolotl YAML, or a script with TRL."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from alchemist_dsl.cli.options import RecipeOptions, recipe_options

if TYPE_CHECKING:
    from alchemist_dsl.ir import Program
    from alchemist_dsl.source import SourceFile


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("train", required=False)
@click.option(
    "--to",
    "tool",
    type=click.Choice(["axolotl", "trl"]),
    required=True,
    help="axolotl: a YAML. trl: a Python script with SFTTrainer.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to this file, which must not be there yet.",
)
@click.option(
    "--gpus",
    type=click.IntRange(1),
    metavar="N",
    help="Devices among which a batch is shared out; default: what the block says, else 1.",
)
@recipe_options()
def export(
    recipe: Path, train: str | None, tool: str, output: Path | None, gpus: int | None, options: RecipeOptions
) -> None:
    """Print what RECIPE's block TRAIN says for another tool; the only one need not be named.

    It reads the rows that an `export` with `format = messages` wrote. What the other tool does not say stands in it as
    a comment, and is a warning. `-` is standard input.
    """
    from alchemist_dsl.cli.output import show
    from alchemist_dsl.diagnostics.render import sort_unique
    from alchemist_dsl.migrate import to_axolotl, to_trl
    from alchemist_dsl.migrate.training import NoTraining, find, trained

    if output is not None and output.exists():
        raise click.UsageError(f"`{output}` is there already and is not written over; name another file with `-o`")
    if output is not None and not output.parent.is_dir():
        raise click.UsageError(f"there is no folder `{output.parent}`")
    program, sources = _program(recipe, options)
    try:
        block = find(program, train)
        name = "recipe" if str(recipe) == "-" else recipe.name
        result = trained(program, block, name, _folder(recipe, output), gpus)
    except NoTraining as error:
        _refuse(error.headline, error.help)
    text = to_axolotl.write(result) if tool == "axolotl" else to_trl.write(result)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
    show(sort_unique(result.problems, sources), sources)
    if output is not None:
        click.echo(f"wrote {output}")


def _refuse(headline: str, help_: str | None) -> NoReturn:
    click.echo(f"error: {headline}" + (f"\nhelp: {help_}" if help_ else ""), err=True)
    sys.exit(1)


def _program(recipe: Path, options: RecipeOptions) -> tuple[Program, Mapping[str, SourceFile]]:
    """The checked recipe; exits where it is wrong."""
    from alchemist_dsl.cli.check import unopened_is_usage
    from alchemist_dsl.cli.output import show
    from alchemist_dsl.diagnostics.model import severity
    from alchemist_dsl.project.folder import outside_values
    from alchemist_dsl.project.running import check_file

    with unopened_is_usage(recipe):
        result = check_file(recipe, outside_values(options.sets, options.params_file), options.variant, look=False)
    if result.program is None or not result.ok:
        show([p for p in result.diagnostics if severity(p) == "error"], result.sources)
        sys.exit(1)
    return result.program, result.sources


def _folder(recipe: Path, output: Path | None) -> str:
    """From the folder of what is written, or the current one, to that of the recipe; "" where they are the same."""
    start = Path.cwd() if output is None else output.resolve().parent
    end = Path.cwd() if str(recipe) == "-" else recipe.resolve().parent
    found = Path(os.path.relpath(end, start)).as_posix()
    return "" if found == "." else found


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:  # never over a file that came in the meantime
            file.write(text)
    except OSError as error:
        click.echo(f"error: `{out}` cannot be written: {error.strerror}", err=True)
        sys.exit(3)
