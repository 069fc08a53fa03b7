"""`alchemist check`: every mistake of one or more recipes, without network and without running anything."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from alchemist_dsl.diagnostics.model import Diagnostic
    from alchemist_dsl.ir import Block, Program
    from alchemist_dsl.project.facts_on_disk import Resources
    from alchemist_dsl.project.folder import Folder
    from alchemist_dsl.source import SourceFile

ENVIRONMENT: Final = "ALCHEMIST_PARAM_"
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
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "concise", "json", "sarif", "github"]),
    default="text",
    help="For people, one line a message, JSON, SARIF 2.1.0, or annotations of GitHub.",
)
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="Value of a parameter.")
@click.option("--variant", metavar="NAME", help="A variant of the recipe.")
def check(recipes: tuple[Path, ...], format_: str, sets: tuple[str, ...], variant: str | None) -> None:
    """Check recipes: every mistake, with its place and a way out. `-` is standard input, a folder all recipes in it."""
    from alchemist_dsl.diagnostics.model import severity
    from alchemist_dsl.diagnostics.render import sort_unique

    begun = time.perf_counter()
    outside = outside_values(sets)
    found = Found()
    for recipe in _expanded(recipes):
        check_one(recipe, outside, variant, found)
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


def outside_values(sets: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Values of parameters from outside: name -> (text, where from)."""
    out = {
        variable.removeprefix(ENVIRONMENT).lower(): (text, "environment")
        for variable, text in sorted(os.environ.items())
        if variable.startswith(ENVIRONMENT) and variable != ENVIRONMENT
    }
    for item in sets:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"`--set {item}` has no value; write `--set NAME=VALUE`")
        out[name.strip()] = (text.strip(), "set")
    return out


def _expanded(recipes: Sequence[Path]) -> list[Path]:
    """The recipes named, a folder as all recipes in it, each once."""
    out: dict[Path, None] = {}
    for path in recipes:
        inside = sorted(path.glob("*.recipe")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no recipe in the folder `{path}`")
        out.update(dict.fromkeys(inside))
    return list(out)


def check_one(path: Path, outside: Mapping[str, tuple[str, str]], variant: str | None, found: Found) -> None:
    """Check one recipe of the file system and add what was found."""
    from alchemist_dsl.check import check as check_recipe
    from alchemist_dsl.project.folder import folder_of
    from alchemist_dsl.source import SourceFile
    from alchemist_dsl.syntax.decode import decode

    stdin = str(path) == "-"
    data = sys.stdin.buffer.read() if stdin else formatted_bytes(path)
    folder = folder_of(Path.cwd() / "-" if stdin else path)
    shown = "-" if stdin else folder.relative(path.resolve())
    found.recipes += 1
    found.roots[shown] = folder.root
    file, problems = decode(shown, data)
    if file is None:
        found.diagnostics += problems
        found.sources[shown] = SourceFile(shown, "")
        return
    facts = _Facts(folder)
    root = folder.relative(Path.cwd()) if stdin else ""
    program, problems = check_recipe(
        file,
        folder.read,
        root="" if root == "." else root,
        sets=outside,
        variant=variant,
        columns=facts.columns,
        listing=folder.listing,
    )
    found.diagnostics += problems
    found.sources[shown] = file
    if program is not None:
        found.sources |= program.files
        found.roots |= dict.fromkeys(program.files, folder.root)
        found.diagnostics += facts.problems(program)
        _count(program, found)
    facts.save()


def formatted_bytes(path: Path) -> bytes:
    from alchemist_dsl.project.folder import read_recipe

    try:
        return read_recipe(path)
    except FileNotFoundError:
        from alchemist_dsl.diagnostics.suggest import near

        others = near(path.name, (p.name for p in path.parent.glob("*.recipe")), 1)
        hint = f"; did you mean `{path.parent / others[0]}`?" if others else ""
        raise click.UsageError(f"there is no recipe `{path}`{hint}") from None
    except OSError as error:
        raise click.UsageError(f"`{path}` cannot be opened: {error.strerror}") from None


class _Facts:
    """Columns of local files, from the lock or their first records. What reads files is loaded when a source has
    some.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._resources: Resources | None = None

    def columns(self, block: Block) -> Mapping[str, str] | None:
        if block.get("files") is None or block.get("hub") is not None:
            return None
        return self._open().columns(block)

    def problems(self, program: Program) -> list[Diagnostic]:
        """Patterns that match no file, files that cannot be read, models that are none."""
        from alchemist_dsl.lowering.resources import own_model

        blocks = program.blocks.values()
        places = (b for b in blocks if b.kind in ("source", "suite"))
        local = (b for b in places if b.get("files") is not None and b.get("hub") is None)
        bases = (self._open().base(b) for b in blocks if own_model(b) is not None)
        return [p for b in local for p in self._open().source(b).problems] + [p for p in bases if p]

    def save(self) -> None:
        if self._resources is not None:
            self._resources.cache.save()

    def _open(self) -> Resources:
        if self._resources is None:
            from alchemist_dsl.project import lockfile as locks
            from alchemist_dsl.project.facts_on_disk import FileCache, Resources
            from alchemist_dsl.project.folder import LOCK, STATE, library, read_file

            root = self.folder.root
            try:
                lock = locks.loads(read_file(root / LOCK, root).decode("utf-8"))
            except (OSError, ValueError):
                lock = locks.Lock()  # `compile` says what is wrong with it
            self._resources = Resources(root, lock, FileCache(root / STATE / "files"), std=library())
        return self._resources


def _count(program: Program, found: Found) -> None:
    for key, block in program.blocks.items():
        if block.kind == "source" and block.get("hub") is not None:
            schema = program.schemas.get((key, "rows"))
            found.unknown_columns += schema is not None and schema.open
        found.promises += block.kind == "check"


def _print(problems: Sequence[Diagnostic], found: Found, format_: str) -> None:
    from typing import cast

    from alchemist_dsl.cli.output import colored
    from alchemist_dsl.diagnostics.render import Format, render

    some = problems[:SHOWN] if format_ == "text" else problems
    color = format_ == "text" and colored(sys.stdout)
    text = render(some, found.sources, cast(Format, format_), color, _shown(found.roots))
    click.echo(text if format_ == "text" else text.rstrip("\n"))
    if len(some) < len(problems):
        click.echo(f"… and {len(problems) - len(some)} more; `--format concise` lists all\n")


def _shown(roots: Mapping[str, Path]) -> Callable[[str], str]:
    """Paths of the project as one would write them in the current folder."""

    def shown(path: str) -> str:
        root = roots.get(path)
        if root is None or path == "-" or path.startswith("std:"):
            return path
        file = root / path
        return min(os.path.relpath(file), str(file), key=len)

    return shown


def _summary(found: Found, errors: int, warnings: int, seconds: float) -> list[str]:
    what = _counted(found.recipes, "recipe")
    parts = [_counted(errors, "error")] * bool(errors) + [_counted(warnings, "warning")] * bool(warnings)
    lines = [f"checked {what}: {', '.join(parts) or 'no problems'} in {seconds:.1f} s"]
    if not errors and found.unknown_columns:
        lines.append(f"the columns of {_counted(found.unknown_columns, 'source')} are not known before the first run")
    if not errors and found.promises:
        lines.append(f"{_counted(found.promises, 'check')} of cost and rows: judged by `alchemist compile`")
    return lines


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
