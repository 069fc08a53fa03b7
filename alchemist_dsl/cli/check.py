"""`alchemist check`: every mistake of one or more recipes, without network and without running anything."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from alchemist_dsl.cli.options import RecipeOptions, format_option, recipe_options
from alchemist_dsl.document.text import plural
from alchemist_dsl.project.folder import unopened

if TYPE_CHECKING:
    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.ir import Program
    from alchemist_dsl.source import SourceFile

#: Messages in the text form; a file that is no recipe at all can give thousands.
SHOWN: Final = 100


@dataclass(slots=True)
class Found:
    """What was found in all recipes of the command line."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, SourceFile] = field(default_factory=dict)
    roots: dict[str, Path] = field(default_factory=dict)  # path of a file -> root of its project
    recipes: int = 0
    unknown_columns: int = 0
    promises: int = 0


@click.command()
@click.argument("recipes", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@format_option(
    "concise",
    "json",
    "sarif",
    "github",
    help="For people, one line a message, JSON, SARIF 2.1.0, or annotations of GitHub.",
)
@recipe_options()
def check(recipes: tuple[Path, ...], format_: str, options: RecipeOptions) -> None:
    """Check recipes: every mistake, with its place and a way out. `-` is standard input, a folder all recipes in it."""
    from alchemist_dsl.diagnostics.model import severity
    from alchemist_dsl.diagnostics.render import sort_unique
    from alchemist_dsl.project.folder import outside_values

    begun = time.perf_counter()
    with unopened_is_usage(recipes[0]):
        outside = outside_values(options.sets, options.params_file)
    found = Found()
    for recipe in expand_recipes(recipes):
        add(recipe, outside, options.variant, found)
    problems = sort_unique(found.diagnostics, found.sources)
    data = format_ in ("json", "sarif")
    if data or problems:
        _print(problems, found, format_)
    errors = sum(severity(d) == "error" for d in problems)
    if not data:
        seconds = time.perf_counter() - begun
        for line in _summary(found, errors, len(problems) - errors, seconds):
            click.echo(line, err=format_ != "text")
    sys.exit(1 if errors else 0)


@contextmanager
def unopened_is_usage(recipe: Path) -> Iterator[None]:
    """A recipe that cannot be read, or a value that cannot, is a mistake of the command line."""
    from alchemist_dsl.project.folder import ParamsError

    try:
        yield
    except ParamsError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(unopened(recipe, error)) from None


def expand_recipes(recipes: Sequence[Path]) -> list[Path]:
    """Return the recipes named, a folder as all recipes in it, each once; without any, those of the current folder."""
    out: dict[Path, None] = {}
    for path in recipes or (Path(),):
        inside = sorted(path.glob("*.recipe")) if path.is_dir() else [path]
        if not inside:
            where = f"the folder `{path}`" if recipes else "the current folder"
            raise click.UsageError(f"there is no recipe in {where}")
        out.update(dict.fromkeys(inside))
    return list(out)


def add(path: Path, outside: Mapping[str, tuple[str, str]], variant: str | None, found: Found) -> None:
    """Check one recipe of the file system and add what was found."""
    from alchemist_dsl.project.running import check_file

    with unopened_is_usage(path):
        result = check_file(path, outside, variant)
    found.recipes += 1
    found.diagnostics += result.diagnostics
    found.sources |= result.sources
    found.roots |= dict.fromkeys(result.sources, result.root)
    if result.program is not None:
        _count(result.program, found)


def _count(program: Program, found: Found) -> None:
    for key, block in program.blocks.items():
        if block.kind == "source" and block.get("hub") is not None:
            schema = program.schemas.get((key, "rows"))
            found.unknown_columns += schema is not None and schema.open
        found.promises += block.kind == "check"


def _print(problems: Sequence[Diagnostic], found: Found, format_: str) -> None:
    from typing import cast

    from alchemist_dsl.diagnostics.render import Format, render
    from alchemist_dsl.document.text import colored

    some = problems[:SHOWN] if format_ == "text" else problems
    color = format_ == "text" and colored(sys.stdout)
    text = render(some, found.sources, cast(Format, format_), color, display_path(found.roots))
    click.echo(text if format_ == "text" else text.rstrip("\n"))
    if len(some) < len(problems):
        click.echo(f"… and {len(problems) - len(some)} more; `--format concise` lists all\n")


def display_path(roots: Mapping[str, Path]) -> Callable[[str], str]:
    """Return what shows a path of a project as one would write it in the current folder; `roots`: by file."""

    def shown(path: str) -> str:
        root = roots.get(path)
        if root is None or path == "-" or path.startswith("std:"):
            return path
        file = root / path
        return min(os.path.relpath(file), str(file), key=len)

    return shown


def _summary(found: Found, errors: int, warnings: int, seconds: float) -> list[str]:
    what = plural(found.recipes, "recipe")
    parts = [plural(errors, "error")] * bool(errors) + [plural(warnings, "warning")] * bool(warnings)
    lines = [f"checked {what}: {', '.join(parts) or 'no problems'} in {seconds:.1f} s"]
    if not errors and found.unknown_columns:
        lines.append(f"the columns of {plural(found.unknown_columns, 'source')} are not known before the first run")
    if not errors and found.promises:
        lines.append(f"{plural(found.promises, 'check')} of cost and rows: judged by `alchemist compile`")
    return lines


# --- lsp -------------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--stdio", is_flag=True, help="Over standard input and output; there is no other way.")
def lsp(stdio: bool) -> None:
    """Serve an editor: problems while typing, completion, hover, navigation, renaming, formatting."""
    try:
        import pygls  # noqa: F401
    except ImportError:
        raise click.ClickException(
            "the language server needs `pygls`; install it with `pip install 'alchemist-dsl[lsp]'`"
        ) from None
    from alchemist_dsl.lsp.server import serve

    sys.exit(serve())
