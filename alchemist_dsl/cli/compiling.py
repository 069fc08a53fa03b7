"""What commands that compile a recipe share: messages for what cannot even be opened, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from alchemist_dsl.project.folder import unopened

if TYPE_CHECKING:
    from alchemist_runtime.schema.plan import Plan

    from alchemist_dsl.project.workspace import Compiled

#: Problems of the world, not of the recipe: they exit with 3.
WORLD: Final = frozenset({"A306", "A309", "A702", "A708", "A902"})


def compiled_or_exit(recipe: Path, *, warnings: bool = True, **options: Any) -> Compiled:
    """Compile and print the diagnostics; exits where there is no such recipe or an option cannot be read."""
    from alchemist_runtime.schema.errors import USAGE

    from alchemist_dsl.cli.output import show
    from alchemist_dsl.compiler import severity
    from alchemist_dsl.project.params import ParamsError
    from alchemist_dsl.project.workspace import compile_recipe

    try:
        made = compile_recipe(recipe, **options)
    except ParamsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        click.echo(f"error: {unopened(recipe, error)}", err=True)
        sys.exit(USAGE)
    show([d for d in made.diagnostics if warnings or severity(d) == "error"], made.sources)
    return made


def exit_code(made: Compiled) -> int:
    """0 fine; 1 the recipe is wrong or a check says no; 3 something could not be evaluated."""
    from alchemist_runtime.schema.errors import NOT_CARRIED_OUT, OK, SAID_NO

    from alchemist_dsl.compiler import severity

    codes = {d.code for d in made.diagnostics if severity(d) == "error"}
    if not codes:
        return OK
    return NOT_CARRIED_OUT if codes <= WORLD else SAID_NO


def plan_or_exit(path: Path) -> Plan:
    """A plan file; exits with a message where it is none, or one that is not to be trusted."""
    from alchemist_runtime.schema.errors import USAGE, RunError
    from alchemist_runtime.schema.plan import NotAPlan, load

    from alchemist_dsl.cli.output import plain

    try:
        return load(path.read_bytes(), str(path))
    except OSError as error:
        click.echo(f"error: {unopened(path, error, 'plan')}", err=True)
    except NotAPlan as error:
        click.echo(f"error: `{path}` is no plan: {error}", err=True)
    except RunError as error:
        click.echo(plain(error.problem), err=True)
        sys.exit(error.exit_code)
    sys.exit(USAGE)


def only_recipe(folder: Path) -> Path | None:
    """The one recipe of a folder, None where there are none or several."""
    found: Iterable[Path] = sorted(folder.glob("*.recipe"))
    names = list(found)
    return names[0] if len(names) == 1 else None
